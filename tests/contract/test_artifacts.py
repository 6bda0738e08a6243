"""What passes between stages: written whole, checked at both ends, resumable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_fakes import TinyDataset

from wsss_bench.contract.artifacts import (
    ArraySet,
    ArrayWriter,
    LabelSet,
    LabelWriter,
    Seed,
    SeedSet,
    SeedWriter,
    Segmentor,
    read_segmentor,
    write_segmentor,
)
from wsss_bench.contract.view import WeakView
from wsss_bench.errors import ArtifactError


@pytest.fixture
def view(tmp_path: Path) -> WeakView:
    dataset = TinyDataset(tmp_path / "data")
    dataset.prepare()
    return dataset.weak_view("train")


def seed(**changes: Any) -> Seed:
    facts: dict[str, Any] = {
        "class_ids": np.array([1]),
        "scores": np.full((1, 4, 5), 0.5, np.float32),
        "size": (16, 20),
    }
    return Seed(**{**facts, **changes})


def test_seeds_come_back_as_they_were_written(tmp_path: Path, view: WeakView) -> None:
    out = SeedWriter(tmp_path / "out", view, "me", {"key": "k"})
    grid = np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5)
    for image in view:
        ids = np.array(image.present)
        out.write(image.id, seed(class_ids=ids, background=grid, rank=grid[None]))
    read = out.close()
    assert isinstance(read, SeedSet)
    assert read.ids == tuple(image.id for image in view)
    assert read.fingerprint == "k"
    found = read["im00"]
    assert found.scores.dtype == np.float32
    assert found.size == (16, 20)
    assert found.background is not None
    assert np.allclose(found.background, grid, atol=1e-3)
    assert found.rank is not None
    assert [image_id for image_id, _ in read] == list(read.ids)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_ids": np.array([1.0])}, "must be a 1-D integer array"),
        ({"class_ids": np.array([[1]])}, "must be a 1-D integer array"),
        ({"class_ids": np.array([2, 1])}, "must increase strictly, not [2, 1]"),
        ({"scores": np.zeros((2, 4, 5), np.float32)}, "[1, h, w] for 1 class ids"),
        ({"scores": np.zeros((1, 0, 5), np.float32)}, "not [1, 0, 5]"),
        ({"size": (16, 0)}, "size must be (height, width)"),
        ({"scores": np.zeros((1, 4, 5), np.uint8)}, "must be floating point"),
        ({"scores": np.full((1, 4, 5), np.nan)}, "scores hold NaN or infinity"),
        ({"scores": np.full((1, 4, 5), 1.1)}, "scores must lie in [0, 1]"),
        ({"scores": np.full((1, 4, 5), -0.1)}, "scores must lie in [0, 1]"),
        ({"background": np.full((4, 5), 2.0)}, "background must lie in [0, 1]"),
        ({"background": np.zeros((5, 4))}, "background must have shape [4, 5]"),
        ({"rank": np.zeros((4, 5))}, "rank must have shape [1, 4, 5]"),
        ({"class_ids": np.array([2])}, "classes [2] are not among"),
        ({"class_ids": np.array([2])}, "labelled classes [1] have no score map"),
    ],
)
def test_every_broken_rule_of_a_seed_is_named(
    changes: dict[str, Any], message: str
) -> None:
    assert message in " ".join(seed(**changes).problems((1,)))


def test_a_sound_seed_has_no_problem_and_a_hair_above_one_is_none() -> None:
    assert seed().problems((1,)) == []
    assert seed(scores=np.full((1, 4, 5), 1.0005, np.float32)).problems((1,)) == []
    nothing = seed(class_ids=np.array([], int), scores=np.zeros((0, 4, 5), np.float32))
    assert nothing.problems(()) == []
    assert seed(class_ids=np.array([2])).problems(None) == []


def test_upsampling_is_bilinear_between_cell_centres() -> None:
    scores = np.array([[[0.0, 1.0]]], np.float32)
    wide = Seed(np.array([1]), scores, (1, 4)).upsampled()
    assert wide.tolist() == [[[0.0, 0.25, 0.75, 1.0]]]
    same = Seed(np.array([1]), scores, (1, 2))
    assert same.upsampled() is same.scores


def test_a_writer_knows_what_is_done_and_closes_only_when_all_is(
    tmp_path: Path, view: WeakView
) -> None:
    out = LabelWriter(tmp_path / "out", view, "me: refine")
    for image in view[:7]:
        out.write(image.id, np.zeros((16, 20), np.uint8))
    # Another process goes on where this one stopped.
    out = LabelWriter(tmp_path / "out", view, "me: refine")
    assert [image.id for image in view if not out.done(image.id)] == ["im07"]
    with pytest.raises(ArtifactError, match=r"1 of 8 images were not.*'im07'"):
        out.close()
    with pytest.raises(ArtifactError, match=r"manifest\.json is missing"):
        LabelSet(tmp_path / "out")
    with pytest.raises(ArtifactError, match="'im08', which is not in the view"):
        out.write("im08", np.zeros((16, 20), np.uint8))
    out.write("im07", np.zeros((16, 20), np.uint8))
    assert "im07" in out.close()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.zeros((16, 20), np.int64), "must be uint8 [H, W], not int64 [16, 20]"),
        (np.zeros((16, 20, 1), np.uint8), "not uint8 [16, 20, 1]"),
        (np.zeros((20, 16), np.uint8), "photograph's size [16, 20], not [20, 16]"),
        (np.full((16, 20), 2, np.uint8), "values [2] are not allowed"),
        (np.full((16, 20), 77, np.uint8), "values [77] are not allowed"),
    ],
)
def test_every_broken_rule_of_a_label_is_named(
    label: Any, message: str, tmp_path: Path, view: WeakView
) -> None:
    out = LabelWriter(tmp_path, view, "me: refine")
    with pytest.raises(ArtifactError) as caught:
        out.write("im00", label)
    assert str(caught.value).startswith("me: refine: image 'im00': ")
    assert message in str(caught.value)
    assert not out.done("im00")


def test_without_tags_every_class_of_the_data_is_allowed(
    tmp_path: Path, view: WeakView
) -> None:
    out = LabelWriter(tmp_path, view, "me", tags=False)
    out.write("im00", np.full((16, 20), 2, np.uint8))
    with pytest.raises(ArtifactError, match=r"values \[3\] are not allowed"):
        out.write("im01", np.full((16, 20), 3, np.uint8))


def test_arrays_come_back_by_name(tmp_path: Path, view: WeakView) -> None:
    out = ArrayWriter(tmp_path, view, "me")
    for number, image in enumerate(view):
        features = np.full((2, 3), number, np.float32)
        out.write(image.id, {"features": features, "count": np.array(number)})
    read = out.close()
    assert isinstance(read, ArraySet)
    assert read["im03"]["features"].tolist() == [[3, 3, 3], [3, 3, 3]]
    assert read["im05"]["count"].tolist() == [5]
    with pytest.raises(ArtifactError, match="'arrays', a 'seeds' folder was expected"):
        SeedSet(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "there is no array"),
        ({"x": [1, 2]}, "x must be a plain NumPy array, not list"),
        ({"x": np.array([None])}, "x must be a plain NumPy array"),
        ({"x": np.array([1.0, np.inf])}, "x holds NaN or infinity"),
    ],
)
def test_what_is_no_plain_array_is_refused(
    arrays: Any, message: str, tmp_path: Path, view: WeakView
) -> None:
    with pytest.raises(ArtifactError, match=message):
        ArrayWriter(tmp_path, view, "me").write("im00", arrays)


def test_a_damaged_item_is_named_with_what_to_do(
    tmp_path: Path, view: WeakView
) -> None:
    out = LabelWriter(tmp_path / "out", view, "me")
    for image in view:
        out.write(image.id, np.zeros((16, 20), np.uint8))
    labels = out.close()
    labels.file("im02").write_bytes(labels.file("im02").read_bytes()[:40])
    with pytest.raises(
        ArtifactError, match=r"label .*im02\.png cannot be read.*Delete"
    ):
        labels["im02"]
    with pytest.raises(ArtifactError, match="holds nothing for image 'im09'"):
        labels["im09"]
    with pytest.raises(ArtifactError, match="keeps no file 'net'"):
        labels.kept("net")


def test_a_segmentors_files_may_not_lie_elsewhere(tmp_path: Path) -> None:
    for name in ("config.py", "w.pth"):
        (tmp_path / name).write_text("1")
    segmentor = Segmentor(
        tmp_path / "config.py", tmp_path / "w.pth", {"scales": [1.0]}, {"backbone": "x"}
    )
    write_segmentor(segmentor, tmp_path)
    assert read_segmentor(tmp_path) == segmentor
    path = tmp_path / "segmentor.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "checkpoint": "../w.pth"}))
    with pytest.raises(ArtifactError, match="lies outside"):
        read_segmentor(tmp_path)
    path.write_text(json.dumps({**content, "test": []}))
    with pytest.raises(ArtifactError, match="lacks config, checkpoint, test, facts"):
        read_segmentor(tmp_path)
