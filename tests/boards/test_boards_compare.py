"""`compare`: point values from the counts, intervals, images, settings; names that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from boards_fakes import CLASSES, add_run

from wsss_bench.boards.comparison import as_json, compare_runs
from wsss_bench.cli import main
from wsss_bench.errors import ArtifactError, DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    add_run(folder, "dsrg", error=0.3, params={"segment": {"lr": 0.1}})
    add_run(folder, "dsrg", error=0.31, seed=1, params={"segment": {"lr": 0.1}})
    add_run(folder, "cam", error=0.5, params={"segment": {"lr": 0.2}})
    return folder


def test_the_values_are_those_of_the_counts(folder: Path) -> None:
    found = compare_runs(folder, "cam", "dsrg", n=500)
    cam, dsrg = found.first.counts, found.second.counts
    assert (found.dataset, found.what, found.n_images) == ("shapes", "val", 30)
    assert len(dsrg) == 2
    assert found.miou.value == pytest.approx(
        np.mean([c.miou() for c in dsrg]) - cam[0].miou(), abs=1e-15
    )
    assert 0 < found.miou.low < found.miou.value < found.miou.high
    assert [c.name for c in found.classes] == list(CLASSES)
    for k, change in enumerate(found.classes):
        assert change.first == pytest.approx(cam[0].per_class_iou()[k])
        assert change.second == pytest.approx(
            np.mean([c.per_class_iou()[k] for c in dsrg])
        )
        assert change.difference.value == pytest.approx(change.second - change.first)


def test_turned_round_everything_changes_sign(folder: Path) -> None:
    there, back = (
        compare_runs(folder, "dsrg-0", "cam-0", n=400),
        compare_runs(folder, "cam-0", "dsrg-0", n=400),
    )
    assert there.miou.value == -back.miou.value
    assert there.miou.low == pytest.approx(-back.miou.high)
    assert there.miou.p == back.miou.p


def test_a_run_against_itself_does_not_differ(folder: Path) -> None:
    found = compare_runs(folder, "cam", "cam", n=200)
    assert (found.miou.value, found.miou.p) == (0.0, 1.0)
    assert found.images == ()
    assert found.settings == {}


def test_the_images_that_moved_most_come_first_and_last(folder: Path) -> None:
    found = compare_runs(folder, "cam-0", "dsrg-0", n=50, top=3)
    gains = [i.second - i.first for i in found.images]
    assert gains == sorted(gains, reverse=True)
    all_gains = found.second.counts[0].image_miou() - found.first.counts[0].image_miou()
    assert gains[:3] == pytest.approx(sorted(all_gains, reverse=True)[:3])


def test_what_is_set_differently_is_listed(folder: Path) -> None:
    found = compare_runs(folder, "cam", "dsrg", n=50)
    assert found.settings == {
        "pick localize": ("cam", "dsrg"),
        "segment.lr": ("0.2", "0.1"),
    }


def test_other_scores_can_be_compared(folder: Path) -> None:
    found = compare_runs(folder, "cam", "dsrg", what="labels", n=50)
    assert found.first.miou() == found.first.records[0].load_counts("labels").miou()  # type: ignore[union-attr]


def test_unknown_and_ambiguous_names_are_explained(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        DataError, match=r"no run or recipe 'drsg'.*Did you mean 'dsrg'"
    ):
        compare_runs(folder, "cam", "drsg")
    add_run(tmp_path, "one", images=3)
    add_run(tmp_path, "one", images=3, run_id="again", profile="full")
    add_run(tmp_path, "two", images=4, dataset={"name": "other"})
    with pytest.raises(
        DataError, match=r"'one' stands for 2 rows: one \(full\), one \(quick\)"
    ):
        compare_runs(tmp_path, "one", "one")
    with pytest.raises(DataError, match="did not run on the same dataset"):
        compare_runs(tmp_path, "again", "two")


def test_other_images_are_refused(tmp_path: Path) -> None:
    add_run(tmp_path, "one", images=3)
    add_run(tmp_path, "two", images=4)
    with pytest.raises(ArtifactError, match="scored on different images"):
        compare_runs(tmp_path, "one", "two")


def test_the_verb_prints_text_and_json(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "compare",
        "cam",
        "dsrg",
        "--leaderboard-dir",
        str(folder),
        "--resamples",
        "300",
    ]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "they differ" in text
    assert "mean of 2 seeds" in text
    assert all(name in text for name in CLASSES)
    assert main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    found = as_json(compare_runs(folder, "cam", "dsrg", n=300))
    assert printed["difference"]["value"] == pytest.approx(
        found["difference"]["value"], abs=1e-6
    )
    assert list(printed) == list(found)
