from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsss_bench.data import open_dataset, verify_dataset
from wsss_bench.data.shapes import draw
from wsss_bench.data.shapes.classes import BACKGROUNDS, CLASSES, NAMES
from wsss_bench.data.truth import truth_warning
from wsss_bench.errors import DataError, LeakError
from wsss_bench.io.images import voc_palette
from wsss_bench.rng import generator

SMALL = {"train": 16, "val": 4, "size": 64}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Any:
    dataset = open_dataset("shapes", tmp_path_factory.mktemp("shapes"), **SMALL)
    dataset.prepare()
    return dataset


def test_same_options_give_the_same_bytes(small: Any, tmp_path: Path) -> None:
    again = open_dataset("shapes", tmp_path, **SMALL)
    again.prepare()
    assert contents(again.root) == contents(small.root)
    assert len(contents(small.root)) == 2 * 20 + 3


def test_another_seed_gives_other_images_in_another_folder(
    small: Any, tmp_path: Path
) -> None:
    other = open_dataset("shapes", tmp_path, **SMALL, seed=1)
    other.prepare()
    assert other.root.name != small.root.name
    ours, theirs = contents(small.root), contents(other.root)
    assert all(ours[name] != theirs[name] for name in ours if name.endswith(".jpg"))


def test_a_larger_set_begins_with_the_smaller_one(small: Any, tmp_path: Path) -> None:
    larger = open_dataset("shapes", tmp_path, **{**SMALL, "train": 18})
    larger.prepare()
    ours, theirs = contents(small.root), contents(larger.root)
    assert all(
        ours[name] == theirs[name] for name in ours if name.endswith((".jpg", ".png"))
    )


def test_layout_palette_and_labels(small: Any) -> None:
    assert small.classes == NAMES
    assert len(NAMES) >= 9
    assert NAMES[0] == "background"
    assert (small.splits.train, small.splits.seeds, small.splits.val) == (
        "train",
        "train",
        "val",
    )
    view, masks = small.weak_view("train"), small.masks("train")
    assert [i.id for i in view] == list(masks.ids)
    for image in view:
        mask = masks[image.id]
        assert image.read().shape == (64, 64, 3)
        assert mask.shape == (64, 64)
        assert tuple(sorted(set(np.unique(mask).tolist()) - {0, 255})) == image.present
        assert 1 <= len(image.present) <= 3
        with Image.open(masks.path(image.id)) as handle:
            assert handle.mode == "P"
            assert handle.getpalette() == voc_palette()
    assert [f.level for f in verify_dataset(small)] == ["info", "info"]


def test_each_class_leads_equally_often(small: Any) -> None:
    leads = [image.present for image in small.weak_view("train")]
    assert all(k % 8 + 1 in present for k, present in enumerate(leads))


def test_val_labels_are_nowhere_but_in_the_masks(small: Any) -> None:
    with pytest.raises(LeakError, match="training splits only"):
        small.weak_view("val")
    assert "val_" not in (small.root / "cls_labels.csv").read_text()
    assert all(image.labels is None for image in small.image_view("val"))


def test_outline_is_one_pixel_on_either_side() -> None:
    instance = np.zeros((5, 7), np.uint8)
    instance[:, 4:] = 1
    expected = np.zeros((5, 7), bool)
    expected[:, 3:5] = True
    np.testing.assert_array_equal(draw.outline(instance), expected)


def test_backgrounds_are_skewed_but_not_determined_by_the_class() -> None:
    rng = generator("test")
    boat = NAMES.index("boat")
    kinds = [draw._choose_background(rng, boat) for _ in range(2000)]
    shares = {kind: kinds.count(kind) / 2000 for kind in BACKGROUNDS}
    assert abs(shares["water"] - 0.6) < 0.05
    assert all(0.06 < shares[kind] < 0.14 for kind in BACKGROUNDS if kind != "water")


@pytest.mark.parametrize("shape", CLASSES, ids=lambda c: c.name)
def test_the_part_is_small_against_the_object(shape: Any) -> None:
    item = draw.Placed(
        CLASSES.index(shape) + 1, np.array([[40.0, 0, 60], [0, 40.0, 60]])
    )
    fine = 120 * draw.OVERSAMPLING
    part = draw._coverage(shape.part, item, fine) > 0
    whole = draw._coverage((*shape.body, *shape.part), item, fine) > 0
    assert 0.08 < part.sum() / whole.sum() < 0.45


def test_objects_range_from_tiny_to_large() -> None:
    shares = []
    for k in range(60):
        objects, _ = draw._arrange(generator("sizes", k), 96, k % 8 + 1)
        shares += [
            abs(np.linalg.det(item.matrix[:, :2])) * 4 / 96**2 for item in objects
        ]
        assert 1 <= len(objects) <= 3
    assert min(shares) < 0.08
    assert max(shares) > 0.6


def test_colour_alone_does_not_tell_classes_apart(tmp_path: Path) -> None:
    dataset = open_dataset("shapes", tmp_path, train=64, val=1, size=64)
    view, masks = dataset.weak_view("train"), dataset.masks("train")
    colours = np.concatenate([image.read().reshape(-1, 3) for image in view]).astype(
        np.float64
    )
    truth = np.concatenate([masks[image.id].ravel() for image in view])
    means = np.stack([colours[truth == c].mean(0) for c in range(1, 9)])
    inside = (truth > 0) & (truth < 255)
    nearest = ((colours[inside][:, None] - means) ** 2).sum(2).argmin(1) + 1
    assert (nearest == truth[inside]).mean() < 0.3


def test_an_interrupted_drawing_is_not_taken_for_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = draw.draw_scene, []

    def stops(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*args)

    dataset = open_dataset("shapes", tmp_path, **SMALL)
    monkeypatch.setattr(draw, "draw_scene", stops)
    with pytest.raises(KeyboardInterrupt):
        dataset.prepare()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(draw, "draw_scene", real)
    assert len(open_dataset("shapes", tmp_path, **SMALL).weak_view("train")) == 16


def test_names_are_told_without_a_drawing(tmp_path: Path) -> None:
    dataset = open_dataset("shapes", tmp_path / "root", **SMALL)
    assert not dataset.ready()
    assert dataset.available_splits() == ("train", "val")
    assert dataset._ids("val") == ("val_00000", "val_00001", "val_00002", "val_00003")
    assert not (tmp_path / "root").exists()
    dataset.prepare()
    assert dataset.ready()
    assert dataset._ids("val") == ("val_00000", "val_00001", "val_00002", "val_00003")


def test_a_preview_has_the_same_fingerprints_and_leaves_nothing(tmp_path: Path) -> None:
    dataset = open_dataset("shapes", tmp_path / "root", **SMALL)
    preview = dataset.preview()
    assert preview.root != dataset.root
    assert not (tmp_path / "root").exists()
    for split in ("train", "val"):
        assert len(preview.image_view(split)[0].read()) == 64
    dataset.prepare()
    train = preview.weak_view("train")
    assert train.fingerprint == dataset.weak_view("train").fingerprint
    assert preview.masks("val").fingerprint == dataset.masks("val").fingerprint
    # What is there needs no preview, and an edited list is read as it is.
    assert dataset.preview() is dataset


def test_a_preview_is_deleted_when_the_process_ends(tmp_path: Path) -> None:
    code = (
        "from wsss_bench.data import open_dataset; from pathlib import Path; import sys; "
        "made = open_dataset('shapes', Path(sys.argv[1]), train=1, val=1, size=48); "
        "print(made.preview().root.parent)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "root")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert not Path(done.stdout.strip()).exists()
    assert not (tmp_path / "root").exists()


def test_the_truth_has_a_border_and_says_so(small: Any) -> None:
    assert small.truth("val").endswith("border 255 ignored")
    assert truth_warning(small) is None


def test_prepare_reports_progress_and_is_idempotent(tmp_path: Path) -> None:
    dataset, seen = open_dataset("shapes", tmp_path, train=2, val=1, size=48), []
    dataset.prepare(lambda what, done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    dataset.prepare(lambda what, done, total: pytest.fail("drawn twice"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": "many"}, "not an integer"),
        ({"size": "12"}, "must lie in 48..1024"),
        ({"sise": 96}, "Did you mean 'size'"),
        ({"labels": "masks"}, "no option 'labels'"),
    ],
)
def test_bad_options_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset("shapes", tmp_path, **options)


def test_a_root_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written.*--data-root"):
        open_dataset("shapes", tmp_path / "file", **SMALL).prepare()


def test_default_root_lies_under_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WSSS_BENCH_DATA_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert open_dataset("shapes").root.parent == tmp_path / "work_dirs" / "data"
    monkeypatch.setenv("WSSS_BENCH_DATA_ROOT", str(tmp_path / "elsewhere"))
    assert open_dataset("shapes", name="toy").root.parent == tmp_path / "elsewhere"


def test_unknown_kind_suggests_the_known_ones() -> None:
    with pytest.raises(DataError, match="Did you mean 'shapes'"):
        open_dataset("shape")
