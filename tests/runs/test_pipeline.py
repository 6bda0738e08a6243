from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_fakes import TinyDataset, fake_predict, write_plugin

from wsss_bench.contract.artifacts import LabelSet
from wsss_bench.errors import ArtifactError, PluginError, WsssError
from wsss_bench.evaluate import Counts, ThresholdCurve
from wsss_bench.methods.catalog import Catalog
from wsss_bench.methods.params import parse_options, resolve
from wsss_bench.methods.profiles import Profile
from wsss_bench.methods.recipe import parse_recipe
from wsss_bench.results.records import load_records
from wsss_bench.runs import pipeline
from wsss_bench.runs.pipeline import CellFailed, CellRunner, Finished, Settings
from wsss_bench.runs.plan import Cell, plan_cell, states
from wsss_bench.runs.recording import record_run
from wsss_bench.runs.source import Source
from wsss_bench.runs.store.explain import explain
from wsss_bench.runs.store.folders import DONE, TODO, UNFINISHED, Store


class Bench:
    """A work dir, a dataset, some plugin files, and the log in which the fakes note their calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")
        self.log = folder / "calls.log"
        self.plugins: list[Path] = []
        self.dataset = TinyDataset(folder / "data")
        self.dataset.prepare()

    def plugin(self, name: str, *arguments: Any, **options: Any) -> Path:
        self.plugins = [path for path in self.plugins if path.stem != name]
        self.plugins.append(write_plugin(self.folder, name, *arguments, **options))
        return self.plugins[-1]

    def cell(self, recipe: str, seed: int = 0, options: tuple[str, ...] = ()) -> Cell:
        catalog = Catalog(local=self.plugins, entry_points=[])
        return plan_cell(
            resolve(
                parse_recipe(recipe), catalog, Profile("paper"), parse_options(options)
            ),
            self.source,
            seed,
            "paper",
        )

    @property
    def source(self) -> Source:
        return Source(self.dataset)

    def run(
        self,
        recipe: str,
        seed: int = 0,
        options: tuple[str, ...] = (),
        broken: dict[str, Exception] | None = None,
    ) -> Finished:
        return CellRunner(
            self.cell(recipe, seed, options),
            self.source,
            self.store,
            Settings(),
            broken=broken,
        ).run()

    def calls(self) -> list[str]:
        """Calls noted since the last look, images left out."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line for line in lines if " image " not in line]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "calls.log"))
    monkeypatch.setattr(pipeline, "predict_images", fake_predict)
    return Bench(tmp_path)


def failure(caught: pytest.ExceptionInfo[CellFailed]) -> tuple[str, BaseException]:
    assert caught.value.__cause__ is not None
    return caught.value.step.name, caught.value.__cause__


def test_every_stage_is_computed_scored_and_right(bench: Bench) -> None:
    bench.plugin("alpha")
    done = bench.run("alpha")
    assert bench.calls() == [
        "alpha localize",
        "alpha refine round 1 previous False seeds True",
        "alpha segment round 1 previous False",
    ]
    assert list(done.folders) == [
        "localize",
        "refine",
        "segment",
        "score_seeds",
        "score_labels",
        "predict",
        "score_val",
    ]
    # The object's channel is 230/255 = 0.902, everything else 60/255 = 0.235: any threshold between separates them.
    curve = ThresholdCurve.load(done.folders["score_seeds"].out / "curve.npz")
    assert curve.miou()[50] == 1.0
    assert curve.best()[0] == pytest.approx(0.24)
    assert curve.miou()[95] < 0.3
    for name, file in (
        ("score_labels", "labels"),
        ("score_val", "val"),
        ("score_val", "val_crf"),
    ):
        assert Counts.load(done.folders[name].out / f"{file}.npz").miou() == 1.0
    assert len(Counts.load(done.folders["score_val"].out / "val.npz")) == 4
    assert (
        json.loads((done.folders["score_seeds"].out / "summary.json").read_text())[
            "fixed"
        ]
        == 0.3
    )


def test_stages_of_different_methods_mix(bench: Bench) -> None:
    for name in ("alpha", "beta", "gamma"):
        bench.plugin(name)
    bench.run("alpha/beta/gamma")
    assert [line.split(" round")[0] for line in bench.calls()] == [
        "alpha localize",
        "beta refine",
        "gamma segment",
    ]


def test_a_second_run_computes_nothing(bench: Bench) -> None:
    bench.plugin("alpha")
    bench.run("alpha")
    bench.calls()
    again = bench.run("alpha")
    assert bench.calls() == []
    assert set(states(again.cell, bench.store).values()) == {DONE}


def test_a_shared_prefix_is_computed_once(bench: Bench) -> None:
    for name in ("alpha", "beta", "gamma"):
        bench.plugin(name)
    for recipe in ("alpha", "alpha/beta/gamma", "alpha/gamma/beta"):
        bench.run(recipe)
    assert bench.calls().count("alpha localize") == 1


def test_rounds_return_to_the_segment_owners_refine(bench: Bench) -> None:
    bench.plugin("alpha")
    bench.plugin("beta", ("refine",))
    done = bench.run("alpha/beta/alpha[rounds=3]")
    assert bench.calls() == [
        "alpha localize",
        "beta refine round 1 previous False seeds True",
        "alpha segment round 1 previous False",
        "alpha refine round 2 previous True seeds True",
        "alpha segment round 2 previous True",
        "alpha refine round 3 previous True seeds True",
        "alpha segment round 3 previous True",
    ]
    predict = done.cell.step("predict")
    assert predict is not None
    assert predict.inputs == {"segmentor": "segment.3"}


def test_the_first_round_is_shared_with_a_run_of_one_round(bench: Bench) -> None:
    bench.plugin("alpha")
    bench.run("alpha")
    bench.calls()
    bench.run("alpha[rounds=2]")
    assert bench.calls() == [
        "alpha refine round 2 previous True seeds True",
        "alpha segment round 2 previous True",
    ]


def test_rounds_use_the_picked_refine_where_the_owner_has_none(bench: Bench) -> None:
    bench.plugin("alpha")
    bench.plugin("delta", ("segment",))
    bench.run("alpha/alpha/delta[rounds=2]")
    assert "alpha refine round 2 previous True seeds True" in bench.calls()


MASKS = "\nfrom dataclasses import replace\n_card = Method.method_card\nclass Masked(All):\n    @hookimpl\n    def method_card(self):\n        return replace(super().method_card(), supervision=('image labels', 'masks'), recipe='-/_/_')\nplugin = Masked()\n"  # noqa: E501


def test_localize_can_be_left_out_and_masks_are_for_those_who_declare_them(
    bench: Bench,
) -> None:
    bench.plugin("alpha")
    bench.plugin("upper", ("refine",), extra=MASKS)
    done = bench.run("-/upper/alpha")
    assert bench.calls()[0] == "upper refine round 1 previous False seeds False"
    assert "score_seeds" not in done.folders
    labels = LabelSet(done.folders["refine"].out)
    truth = bench.dataset.masks("train")
    assert all(np.array_equal(label, truth[image_id]) for image_id, label in labels)


def test_masks_stay_sealed_for_everybody_else(bench: Bench) -> None:
    bench.plugin(
        "alpha",
        extra="\nAll.localize = hookimpl(lambda self, view, out, ctx: 1 / 0 if ctx.masks is None else None)\n",
    )
    with pytest.raises(CellFailed) as caught:
        bench.run("alpha")
    assert "division by zero" in str(failure(caught)[1])


@pytest.mark.parametrize(
    ("stage", "body", "message"),
    [
        ("localize", "None", r"alpha \(alpha\.py local\): localize: returned None"),
        ("refine", "None", r"refine: returned None"),
        ("segment", "None", r"segment: returned None"),
        ("localize", "'seeds'", r"localize: returned str\. Write every image"),
        ("segment", "3", r"segment: returned int\. Return ctx\.segmentor"),
        ("refine", "{}['x']", r"refine: raised KeyError: 'x'"),
        ("refine", "out.close()", r"8 of 8 images were not written"),
    ],
)
def test_what_a_plugin_does_wrong_is_laid_at_its_door(
    stage: str, body: str, message: str, bench: Bench
) -> None:
    takes = {
        "localize": "view, out, ctx",
        "refine": "view, out, ctx",
        "segment": "view, ctx",
    }[stage]
    bench.plugin(
        "alpha", extra=f"\nAll.{stage} = hookimpl(lambda self, {takes}: {body})\n"
    )
    with pytest.raises(CellFailed) as caught:
        bench.run("alpha")
    where, error = failure(caught)
    assert where == stage
    assert isinstance(error, WsssError)
    with pytest.raises(type(error), match=message):
        raise error


def test_a_failure_is_not_cached_and_the_stage_resumes_inside(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.plugin("alpha")
    monkeypatch.setenv("FAKE_DIE", "alpha:5")
    with pytest.raises(CellFailed) as caught:
        bench.run("alpha")
    assert isinstance(failure(caught)[1], PluginError)
    assert "the GPU fell off" in str(failure(caught)[1])
    found = states(bench.cell("alpha"), bench.store)
    assert (found["localize"], found["refine"]) == (UNFINISHED, TODO)
    images = [line for line in bench.log.read_text().splitlines() if " image " in line]
    bench.calls()
    monkeypatch.delenv("FAKE_DIE")
    done = bench.run("alpha")
    more = [line for line in bench.log.read_text().splitlines() if " image " in line]
    assert images == [f"alpha image im{n:02d}" for n in range(5)]
    assert more == [f"alpha image im{n:02d}" for n in range(5, 8)]
    assert Counts.load(done.folders["score_val"].out / "val.npz").miou() == 1.0


def test_a_stage_that_failed_in_this_process_fails_at_once_for_the_next_cell(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.plugin("alpha")
    bench.plugin("beta")
    monkeypatch.setenv("FAKE_DIE", "alpha:0")
    broken: dict[str, Exception] = {}
    for recipe in ("alpha", "alpha/beta/beta"):
        with pytest.raises(CellFailed, match="localize"):
            bench.run(recipe, broken=broken)
    assert bench.calls() == ["alpha localize"]


def test_work_that_was_done_but_not_committed_is_not_done_again(bench: Bench) -> None:
    bench.plugin("alpha")
    done = bench.run("alpha")
    bench.calls()
    folder = done.folders["segment"]
    (folder.path / "commit.json").unlink()
    bench.run("alpha")
    assert bench.calls() == []
    assert folder.state() == DONE
    (folder.path / "commit.json").unlink()
    (folder.out / "weights.pth").write_text("half of it")
    bench.run("alpha")
    assert bench.calls() == ["alpha segment round 1 previous False"]
    assert folder.problems() == []


def test_scratch_is_dropped_at_commit(bench: Bench) -> None:
    bench.plugin("alpha")
    done = bench.run("alpha")
    folder = done.folders["segment"]
    assert not folder.scratch.exists()
    assert sorted(p.name for p in folder.out.iterdir()) == [
        "config.py",
        "segmentor.json",
        "weights.pth",
    ]


def keys(cell: Cell) -> dict[str, str]:
    return {step.name: step.spec.key for step in cell.steps}


def changed(old: Cell, new: Cell) -> list[str]:
    return [name for name, key in keys(old).items() if keys(new)[name] != key]


AFTER_REFINE = ["refine", "segment", "score_labels", "predict", "score_val"]
AFTER_SEGMENT = ["segment", "predict", "score_val"]


def test_keys_follow_what_a_stage_depends_on(bench: Bench) -> None:
    bench.plugin("alpha")
    base = bench.cell("alpha")
    everything = list(keys(base))
    assert changed(base, bench.cell("alpha")) == []
    assert changed(base, bench.cell("alpha", seed=1)) == everything
    assert (
        changed(base, bench.cell("alpha", options=("refine.threshold=0.4",)))
        == AFTER_REFINE
    )
    assert (
        changed(base, bench.cell("alpha", options=("segment.iterations=4",)))
        == AFTER_SEGMENT
    )
    assert changed(base, bench.cell("alpha", options=("segment.iterations=3",))) == []
    bench.plugin("alpha", extra="# another comment\n")
    assert changed(base, bench.cell("alpha")) == []
    bench.plugin("alpha", extra="ANOTHER = 1\n")
    assert changed(base, bench.cell("alpha")) == everything


def test_keys_follow_the_data(bench: Bench) -> None:
    bench.plugin("alpha")
    base = bench.cell("alpha")
    with (bench.dataset.root / "im11.png").open("ab") as handle:
        handle.write(b"more")
    assert changed(base, bench.cell("alpha")) == ["predict", "score_val"]
    with (bench.dataset.root / "im00.png").open("ab") as handle:
        handle.write(b"more")
    assert changed(base, bench.cell("alpha")) == list(keys(base))


def test_a_weights_file_counts_by_content_not_by_place(bench: Bench) -> None:
    bench.plugin("alpha")
    one, two = bench.folder / "w.pth", bench.folder / "elsewhere" / "w.pth"
    two.parent.mkdir()
    one.write_text("1")
    two.write_text("1")
    base = bench.cell("alpha", options=(f"localize.weights={one}",))
    assert (
        changed(base, bench.cell("alpha", options=(f"localize.weights={two}",))) == []
    )
    two.write_text("2")
    assert changed(
        base, bench.cell("alpha", options=(f"localize.weights={two}",))
    ) == list(keys(base))


def test_explain_names_the_part_that_changed(bench: Bench) -> None:
    bench.plugin("alpha")
    bench.run("alpha")
    cell = bench.cell("alpha", options=("refine.threshold=0.4",))
    steps = [
        {"name": s.name, "stage": s.stage, "parts": s.spec.parts} for s in cell.steps
    ]
    found = {entry["step"]: entry for entry in explain(steps, bench.store)}
    assert (found["localize"]["state"], found["localize"]["changes"]) == (DONE, [])
    assert found["refine"]["changes"] == ["params.threshold: 0.5 -> 0.4"]
    assert found["segment"]["changes"][0].startswith("inputs.labels: ")


def test_the_record_holds_what_a_board_needs_and_no_path_of_this_machine(
    bench: Bench,
) -> None:
    bench.plugin("alpha")
    weights = bench.folder / "w.pth"
    weights.write_text("1")
    done = bench.run("alpha", options=(f"localize.weights={weights}",))
    boards = bench.folder / "boards"
    command = [
        "run",
        "--methods",
        "alpha",
        "--cfg-options",
        f"localize.weights={weights}",
        "--data-root",
        str(bench.folder),
    ]
    path = record_run(done, bench.source, boards, command, "cpu")
    (record,) = load_records(boards)
    assert path.parent.name == record.run_id
    assert str(bench.folder) not in path.read_text()
    assert record.command == (
        "wsss-bench",
        "run",
        "--methods",
        "alpha",
        "--cfg-options",
        "localize.weights=w.pth",
        "--data-root",
        bench.folder.name,
    )
    assert dict(record.picks) == {
        "localize": "alpha",
        "refine": "alpha",
        "segment": "alpha",
    }
    assert record.passed == {"localize": {"weights": "w.pth"}}
    assert set(record.counts) == {
        "seeds_best",
        "seeds_fixed",
        "labels",
        "val",
        "val_crf",
    }
    counts = record.load_counts("val")
    assert counts is not None
    assert counts.miou() == 1.0
    assert record.dataset["sizes"] == {"train": 8, "seeds": 8, "val": 4}
    assert record.columns["crf"] == "tiny"
    assert record.columns["rounds"] == 1
    assert record.cost["localize"]["seconds"] >= 0
    assert record.cost["localize"]["peak_mb"] > 1
    before = path.read_bytes()
    record_run(
        bench.run("alpha", options=(f"localize.weights={weights}",)),
        bench.source,
        boards,
        ["run", "another"],
        "cpu",
    )
    assert path.read_bytes() == before


def test_a_damaged_artifact_is_found_by_hashing_it_again(bench: Bench) -> None:
    bench.plugin("alpha")
    folder = bench.run("alpha").folders["refine"]
    assert folder.problems() == []
    victim = folder.out / "items" / "im03.png"
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    (folder.out / "items" / "im04.png").unlink()
    (folder.out / "items" / "new.png").write_bytes(b"")
    assert folder.problems() == [
        "items/im04.png is missing.",
        "items/new.png was added after the commit.",
        "items/im03.png has changed.",
    ]


def test_a_work_dir_that_cannot_be_written_is_said_to_be_so(bench: Bench) -> None:
    bench.plugin("alpha")
    (bench.folder / "store").write_text("a file where a folder should be")
    with pytest.raises(CellFailed) as caught:
        bench.run("alpha")
    assert isinstance(failure(caught)[1], ArtifactError)
    assert "--work-dir" in str(failure(caught)[1])


def test_time_of_interrupted_attempts_adds_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.plugin("alpha")
    monkeypatch.setenv("FAKE_SLEEP", "0.15")
    monkeypatch.setenv("FAKE_DIE", "alpha:5")
    with pytest.raises(CellFailed):
        bench.run("alpha")
    monkeypatch.delenv("FAKE_DIE")
    assert bench.run("alpha").commits["localize"]["seconds"] >= 0.3


def test_a_removed_stage_is_locked_meanwhile_and_computed_again(bench: Bench) -> None:
    bench.plugin("alpha")
    folder = bench.run("alpha").folders["localize"]
    with folder.lock():
        assert not bench.store.read(folder.path).remove()
    assert bench.store.read(folder.path).remove()
    assert folder.state() == TODO
    assert not os.path.exists(f"{folder.path}.lock")
    bench.calls()
    bench.run("alpha")
    assert bench.calls() == ["alpha localize"]


def test_a_shapes_run_has_a_gallery(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.setattr(TinyDataset, "kind", "shapes")
    bench.plugin("alpha")
    path = record_run(
        bench.run("alpha"), bench.source, bench.folder / "boards", ["run"], "cpu"
    )
    names = sorted(p.name for p in (path.parent / "gallery").iterdir())
    train = [
        f"im{n:02d}_{what}.png"
        for n in (0, 2, 4)
        for what in ("image", "labels", "seeds", "truth")
    ]
    val = [
        f"im{n:02d}_{what}.png"
        for n in (8, 9, 10)
        for what in ("image", "prediction", "truth")
    ]
    assert names == sorted(train + val)
    maps = [
        np.asarray(Image.open(path.parent / "gallery" / f"im04_{what}.png"))
        for what in ("seeds", "labels", "truth")
    ]
    assert np.array_equal(maps[0], maps[2])
    assert np.array_equal(maps[1], maps[2])


def test_a_stage_of_other_harness_code_is_another_stage(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsss_bench.methods import modules

    bench.plugin("alpha")
    base = bench.cell("alpha")
    real = modules.file_syntax

    def edited(file: Path, without: tuple[str, ...] = ()) -> str:
        found = real(file, without)
        return "0" * 64 if file.match("toolbox/prediction.py") else found

    monkeypatch.setattr(modules, "file_syntax", edited)
    # The plugin computes without it.
    assert changed(base, bench.cell("alpha")) == ["predict", "score_val"]


def test_a_parameter_called_rounds_is_the_harness_s_own_in_segment_alone() -> None:
    from wsss_bench.methods.params import StageParams
    from wsss_bench.runs.plan import plugin_params

    params = StageParams({"rounds": 3, "lr": 0.1}, {})
    assert plugin_params("segment", params) == {"lr": 0.1}
    assert plugin_params("localize", params) == {"rounds": 3, "lr": 0.1}
