"""The kit runs a stage as the pipeline does; trainings are kept and killed, saliency is drawn, params are passed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from training_fakes import write_training

from wsss_bench.testing import check_method
from wsss_bench.testing.kit import stages_of
from wsss_bench.testing.sandbox import draw_saliency, make_sandbox
from wsss_bench.testing.worker import _Job, _kills

STAGES = ("localize", "refine")
SALIENCY = ("image labels", "saliency")


def test_a_method_with_kept_trainings_passes_and_is_killed_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "calls.log"
    monkeypatch.setenv("FAKE_LOG", str(log))
    check_method(write_training(tmp_path, "alpha", stages=STAGES)).require()
    lines = log.read_text().splitlines()
    # Twice undisturbed; the third time it is killed before its third step is reported, and goes on where it was.
    assert lines.count("alpha localize step 0") == 3
    assert lines.count("alpha trains for localize") == 4
    assert lines.count("alpha trains for refine") == 4


# Undisturbed, the steps of this process and those of the training are the same.
FORGETS = """
import itertools
_steps = itertools.count()
def reach(what, number, reach=reach):
    reach(what, number)
    if "step" in what:
        DEFAULT["drift"] = next(_steps) - number
DEFAULT = {"drift": 0}
def learn(stage, view, ctx, learn=learn):
    weights = learn(stage, view, ctx)
    if DEFAULT["drift"] and stage == "localize":
        weights.write_text("0.5")
    return weights
"""


def test_a_training_that_does_not_resume_is_found_though_the_maps_do(
    tmp_path: Path,
) -> None:
    path = write_training(tmp_path, "alpha", stages=STAGES, extra=FORGETS)
    report = check_method(path)
    assert {(c.name, c.stage) for c in report.failures} == {("resumes", "localize")}
    assert "killed and run again, wrote other bytes" in report.failures[0].message


def test_kills_are_planned_in_each_training_and_further_on() -> None:
    plain = {"events": 20, "seconds": 5.0, "trainings": [[0, 4], [6, 7], [8, 12]]}
    assert [kill.event for kill in _kills(plain)] == [3, 11, 8, 8]
    assert _kills(None) == []
    quiet = {"events": 0, "seconds": 5.0, "trainings": [[0, 0]]}
    assert [(kill.event, kill.after) for kill in _kills(quiet)] == [(0, 2.0)] * 2


LOOKS = """
from PIL import Image
_localize = Method.localize
def localize(self, view, out, ctx):
    folder = ctx.params["saliency_dir"]
    note(f"saliency {folder}")
    for image in view if folder else ():
        with Image.open(Path(folder) / f"{image.id}.png") as map:
            assert map.mode == "L" and map.size == image.read().shape[1::-1]
    return _localize(self, view, out, ctx)
Method.localize = hookimpl(localize)
"""


@pytest.mark.parametrize("declared", [True, False])
def test_saliency_maps_are_there_for_a_method_that_declares_them(
    declared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "calls.log"
    monkeypatch.setenv("FAKE_LOG", str(log))
    supervision = SALIENCY if declared else SALIENCY[:1]
    path = write_training(
        tmp_path,
        "alpha",
        stages=STAGES[:1],
        supervision=supervision,
        extra=LOOKS,
    )
    check_method(path).require()
    lines = log.read_text().splitlines()
    seen = {line.split(" ")[1] for line in lines if line.startswith("saliency")}
    assert len(seen) == 1
    assert all(folder.endswith("/saliency") == declared for folder in seen)


def test_saliency_stands_out_where_the_objects_are_and_knows_no_class(
    tmp_path: Path,
) -> None:
    sandbox = make_sandbox(tmp_path)
    folder = draw_saliency(sandbox)
    masks = sandbox.dataset.masks("train")
    for image in sandbox.train(masks=True):
        grey = np.asarray(Image.open(folder / f"{image.id}.png"))
        mask = masks[image.id]
        assert grey.dtype == np.uint8
        assert grey.shape == mask.shape
        objects = (mask > 0) & (mask < 255)
        assert grey[objects].mean() > grey[~objects].mean() + 60


def test_parameters_are_passed_by_stage_and_checked_like_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "calls.log"
    monkeypatch.setenv("FAKE_LOG", str(log))
    path = write_training(tmp_path, "alpha", stages=STAGES[:1])
    check_method(path, params={"localize": {"steps": 6}}).require()
    assert "alpha localize step 5" in log.read_text().splitlines()
    report = check_method(path, params={"localize": {"step": 6}})
    assert not report.ok
    assert "has no" in report.table() or "Did you mean" in report.table()


def test_more_rounds_may_be_asked_for(tmp_path: Path) -> None:
    from wsss_bench.methods.catalog import Catalog

    loaded = Catalog(local=[write_training(tmp_path, "alpha")]).load("alpha")
    first = ["localize", "refine", "segment"]
    assert stages_of(loaded) == first
    twice = stages_of(loaded, {"segment": {"rounds": 2}})
    assert twice == [*first, "refine.2", "segment.2"]


def test_a_second_round_is_given_what_the_first_one_left(tmp_path: Path) -> None:
    def given(stages: list[str], name: str) -> dict[str, Any]:
        job = object.__new__(_Job)
        job.root = tmp_path
        job.job = {"stages": stages, "masks": None, "given": str(tmp_path / "given")}
        paths = job._inputs(name)
        return {
            role: path.relative_to(tmp_path).as_posix()
            for role, path in paths.items()
            if path is not None
        }

    every = ["localize", "refine", "segment", "refine.2", "segment.2"]
    assert given(every, "refine.2") == {
        "seeds": "plain/localize/out",
        "previous": "plain/segment/out",
        "previous_labels": "plain/refine/out",
    }
    assert given(every, "segment.2") == {
        "seeds": "plain/localize/out",
        "labels": "plain/refine.2/out",
        "previous": "plain/segment/out",
        "previous_labels": "plain/refine/out",
    }
    assert given(["segment", "segment.2"], "segment.2") == {
        "seeds": "given/seeds",
        "labels": "given/labels",
        "previous": "plain/segment/out",
        "previous_labels": "given/labels",
    }
