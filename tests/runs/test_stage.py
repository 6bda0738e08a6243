"""The one runner of stages, without a store around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_fakes import TinyDataset, write_plugin

from wsss_bench.contract.artifacts import LabelSet, SeedSet, Segmentor, read_segmentor
from wsss_bench.errors import ArtifactError, LeakError, PluginError
from wsss_bench.methods.catalog import Catalog
from wsss_bench.methods.profiles import defaults
from wsss_bench.runs.plan import mapped_test
from wsss_bench.runs.stage import ENGINE, REFUSED, StageCall, in_force, run_stage

HEAD = "\nfrom wsss_bench import LabelSet, SeedSet\n"


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dataset = TinyDataset(folder / "data")
        self.dataset.prepare()

    def call(self, hook: str, extra: str = "", **more: Any) -> StageCall:
        path = write_plugin(self.folder, "alpha", extra=HEAD + extra)
        method = Catalog(local=[path], entry_points=[]).load("alpha")
        folder = self.folder / hook
        for name in ("out", "scratch"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        params, view = defaults(method, hook), self.dataset.weak_view("train")
        return StageCall(method, hook, params, view, folder, **more)

    def seeds(self) -> SeedSet:
        result = run_stage(self.call("localize"))
        assert isinstance(result, SeedSet)
        return result


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_each_hook_gets_its_inputs_and_gives_its_result(bench: Bench) -> None:
    seeds = bench.seeds()
    labels = run_stage(bench.call("refine", inputs={"seeds": seeds}))
    assert isinstance(labels, LabelSet)
    assert len(labels) == 8
    given = {"seeds": seeds, "labels": labels}
    segmentor = run_stage(bench.call("segment", inputs=given))
    assert isinstance(segmentor, Segmentor)
    out = bench.folder / "segment" / "out"
    assert segmentor == read_segmentor(out)
    assert segmentor.checkpoint == out / "weights.pth"


def test_facts_go_into_the_manifest(bench: Bench) -> None:
    call = bench.call("localize", facts={"key": "k", "by": "alpha"})
    result = run_stage(call)
    assert isinstance(result, SeedSet)
    assert (result.fingerprint, result.manifest["by"]) == ("k", "alpha")


def test_the_writer_can_be_prepared_before_the_plugin_gets_it(bench: Bench) -> None:
    seen: list[Any] = []
    run_stage(bench.call("localize", prepare=seen.append))
    assert [writer.path for writer in seen] == [bench.folder / "localize" / "out"]


def test_results_of_another_folder_are_refused(bench: Bench) -> None:
    bench.seeds()
    other = bench.folder / "other"
    (bench.folder / "localize" / "out").rename(other)
    extra = f"All.localize = hookimpl(lambda self, out: SeedSet(Path({str(other)!r})))"
    with pytest.raises(PluginError, match="returned SeedSet of another folder"):
        run_stage(bench.call("localize", extra))


def test_the_result_of_another_hook_is_refused(bench: Bench) -> None:
    extra = "All.refine = hookimpl(lambda self, seeds: seeds)"
    inputs = {"seeds": bench.seeds()}
    call = bench.call("refine", extra, inputs=inputs)
    with pytest.raises(PluginError, match=r"refine: returned SeedSet\. Write every"):
        run_stage(call)


def test_a_segmentor_without_its_files_is_refused(bench: Bench) -> None:
    extra = "All.segment = hookimpl(lambda self, ctx: Segmentor(ctx.scratch / 'c.py', ctx.scratch / 'w'))"
    with pytest.raises(ArtifactError, match=r"the config .*c\.py does not exist"):
        run_stage(bench.call("segment", extra))


@pytest.mark.parametrize("swallows", [True, False])
def test_sealed_files_stay_shut_while_the_plugin_runs(
    swallows: bool, bench: Bench
) -> None:
    secret = bench.folder / "secret"
    secret.write_text("masks")
    read = f"open({str(secret)!r}).read()"
    if swallows:
        body = f"try:\n        {read}\n    except Exception:\n        pass"
    else:
        body = read
    extra = f"""
_localize = All.localize
def localize(self, view, out, ctx):
    {body}
    return _localize(self, view, out, ctx)
All.localize = hookimpl(localize)
"""
    with pytest.raises(LeakError, match="secret"):
        run_stage(bench.call("localize", extra, sealed=[secret]))
    assert (bench.folder / "localize" / REFUSED).read_text() == "secret\n"
    assert secret.read_text() == "masks"


def test_the_context_is_what_the_call_says(bench: Bench) -> None:
    call = bench.call("localize", seed=5, round=2, test_settings=("scales",))
    ctx = call.context()
    assert (ctx.seed, ctx.round) == (5, 2)
    assert ctx.trainer is ENGINE
    assert "scales" in ctx.params
    assert "scales" not in ctx.training_params
    assert (ctx.scratch, ctx.out_dir) == (call.folder / "scratch", call.out)


def test_test_settings_overrule_what_the_segmentor_says() -> None:
    segmentor = Segmentor(Path("c"), Path("w"), {"scales": [1.0], "merge": "logits"})
    names = ("test_scales", "crf", "threshold")
    params = {"test_scales": [2.0], "crf": "", "test_flip": True, "threshold": 0.1}
    test = mapped_test(params, names)
    assert test == {"scales": [2.0], "crf": ""}
    assert in_force(segmentor, test).test == {
        "scales": [2.0],
        "merge": "logits",
        "crf": "",
    }
    assert in_force(segmentor, {}) == segmentor


def test_the_names_of_test_settings_are_those_of_the_engine() -> None:
    from wsss_bench.contract.names import TEST_NAMES
    from wsss_bench.engine.inference import TestSettings

    assert set(TEST_NAMES.values()) == set(TestSettings.__dataclass_fields__)
