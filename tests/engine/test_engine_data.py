from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_fakes import make_labels, make_view
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_bench.engine.loading import Augment, ScheduleSampler, TrainingSet, nearest
from wsss_bench.engine.mixing import CutMix
from wsss_bench.engine.training import loader
from wsss_bench.errors import RecipeError
from wsss_bench.rng import generator
from wsss_bench.toolbox.sec import to_image_size

MEAN = (123.0, 116.0, 103.0)


def rng(*parts: object) -> np.random.Generator:
    return generator("test", *parts)


def picture(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A smooth ramp from left to right, and a label that says which tenth of the ramp a pixel is in."""
    ramp = np.linspace(20, 220, width, dtype=np.float32)
    image = np.repeat(np.repeat(ramp[None, :, None], height, 0), 3, 2).astype(np.uint8)
    return image, (image[:, :, 0] // 25).astype(np.uint8)


def test_warp_fills_the_crop_and_never_pads() -> None:
    image, label = picture(30, 50)
    pixels, labels = Augment("warp", 24, flip=False, mean=MEAN)(image, label, rng(0))
    assert labels is not None
    assert pixels.shape == (24, 24, 3)
    assert pixels.dtype == np.float32
    assert labels.shape == (24, 24)
    assert (labels != 255).all()
    assert pixels[:, 0].mean() < 30
    assert pixels[:, -1].mean() > 210


def test_resize_long_sets_the_long_side_and_pads_with_the_mean_and_255() -> None:
    image, label = picture(30, 60)
    for number in range(5):
        pixels, labels = Augment("resize_long", 48, (40, 40), flip=False, mean=MEAN)(
            image, label, rng(number)
        )
        assert labels is not None
        inside = labels != 255
        rows, columns = inside.any(1), inside.any(0)
        assert (rows.sum(), columns.sum()) == (20, 40)
        assert (pixels[~inside] == np.float32(MEAN)).all()
        assert inside.sum() == 800


def test_scale_multiplies_the_size_and_crops_what_is_too_large() -> None:
    image, label = picture(30, 60)
    pixels, labels = Augment("scale", 40, (2.0, 2.0), flip=False, mean=MEAN)(
        image, label, rng(0)
    )
    assert labels is not None
    assert (labels != 255).all()
    ramp = pixels[0, :, 0]
    # Of 120 columns 40 are seen: a third of the ramp of 200 grey levels.
    assert 55 < ramp[-1] - ramp[0] < 75
    starts = {
        float(
            Augment("scale", 40, (2.0, 2.0), flip=False)(image, None, rng(n))[0][
                0, 0, 0
            ]
        )
        for n in range(8)
    }
    assert len(starts) > 4


def test_sizes_are_drawn_between_the_bounds() -> None:
    image, label = picture(40, 40)
    seen = [
        int(
            (
                Augment("resize_long", 64, (20, 60), flip=False)(image, label, rng(n))[
                    1
                ]
                != 255
            )
            .any(1)
            .sum()
        )  # type: ignore[union-attr]
        for n in range(30)
    ]
    assert min(seen) >= 20
    assert max(seen) <= 60
    assert max(seen) - min(seen) > 20


@pytest.mark.parametrize("mode", ["warp", "resize_long", "scale"])
def test_mirror_takes_image_and_label_along(mode: str) -> None:
    image, label = picture(32, 32)
    sizes = {"warp": (1.0, 1.0), "resize_long": (32, 32), "scale": (1.0, 1.0)}[mode]
    mirrored = 0
    for number in range(12):
        pixels, labels = Augment(mode, 32, sizes, mean=MEAN)(
            image, label, rng("flip", number)
        )
        assert labels is not None
        assert np.abs(labels.astype(int) - pixels[:, :, 0] // 25).max() <= 1
        falling = pixels[0, 0, 0] > pixels[0, -1, 0]
        assert falling == (labels[0, 0] > labels[0, -1])
        mirrored += int(falling)
    assert 2 <= mirrored <= 10


def test_jitter_changes_pixels_within_bounds_and_leaves_padding_alone() -> None:
    image, label = picture(20, 20)
    plain, _ = Augment("resize_long", 32, (20, 20), flip=False, mean=MEAN)(
        image, label, rng(1)
    )
    jittered, labels = Augment(
        "resize_long", 32, (20, 20), flip=False, jitter=0.3, mean=MEAN
    )(image, label, rng(1))
    assert labels is not None
    inside = labels != 255
    assert (jittered[~inside] == np.float32(MEAN)).all()
    assert jittered.min() >= 0
    assert jittered.max() <= 255
    assert not np.allclose(
        np.sort(jittered[inside], axis=None), np.sort(plain[labels != 255], axis=None)
    )


def test_an_items_augmentation_depends_on_seed_epoch_and_id_alone(
    tmp_path: Path,
) -> None:
    view = make_view(tmp_path, 4)
    augment = Augment("resize_long", 24, (24, 48), mean=MEAN)
    one = TrainingSet(view, augment, 7, make_labels(view), (6, 6), cache_mb=1)
    other = TrainingSet(
        view.filter(lambda i: i.id != "im0"), augment, 7, make_labels(view), (6, 6)
    )
    forwards = [one[p] for p in range(8)]
    backwards = [one[p] for p in reversed(range(8))][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        assert torch.equal(a["inputs"], b["inputs"])
        assert torch.equal(a["labels"], b["labels"])
    # im2 in epoch 1, at another place of another list
    assert torch.equal(one[1 * 4 + 2]["inputs"], other[1 * 3 + 1]["inputs"])
    assert not torch.equal(one[2]["inputs"], one[4 + 2]["inputs"])
    assert not torch.equal(one[2]["inputs"], TrainingSet(view, augment, 8)[2]["inputs"])


def test_cutmix_pastes_a_square_of_another_image_with_its_labels_and_tags(
    tmp_path: Path,
) -> None:
    view = make_view(tmp_path, 2, tags=lambda n: (1 + n,))
    shade = {"im0": 1, "im1": 2}
    augment = Augment("warp", 24, flip=False)
    labels = lambda name: np.full((32, 40), shade[name], np.uint8)  # noqa: E731
    plain = [TrainingSet(view, augment, 3, labels)[n] for n in (0, 1)]
    mixed = TrainingSet(view, augment, 3, labels, mixer=CutMix(1.0))
    areas = set()
    for position in range(40):
        item, own = mixed[position], position % 2
        pasted = item["labels"] == 2 - own
        if not pasted.any():  # the image drew itself
            assert torch.equal(item["inputs"], plain[own]["inputs"])
            continue
        rows, columns = (pasted.any(axis).nonzero()[:, 0] for axis in (1, 0))
        side = int(rows[-1] - rows[0]) + 1
        assert pasted[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert pasted.sum() == side**2
        assert 0.25 - 0.05 <= side**2 / 24**2 <= 0.5 + 0.05
        assert torch.equal(
            item["inputs"][:, pasted], plain[1 - own]["inputs"][:, pasted]
        )
        assert torch.equal(item["inputs"][:, ~pasted], plain[own]["inputs"][:, ~pasted])
        assert item["tags"].tolist() == [1, 1, 1]
        areas.add((side, int(rows[0]), int(columns[0])))
    assert len(areas) > 5
    again = TrainingSet(view, augment, 3, labels, mixer=CutMix(1.0))
    assert torch.equal(again[7]["inputs"], mixed[7]["inputs"])


def test_cutmix_leaves_some_alone_and_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    view = make_view(tmp_path, 4)
    augment = Augment("warp", 24)
    plain = TrainingSet(view, augment, 0, make_labels(view))
    half = TrainingSet(view, augment, 0, make_labels(view), mixer=CutMix(0.5))
    same = sum(torch.equal(plain[n]["inputs"], half[n]["inputs"]) for n in range(200))
    assert (
        90 <= same <= 160
    )  # half are left alone; a quarter of the others draw themselves, augmented anew
    with pytest.raises(RecipeError, match="from 0 to 1"):
        TrainingSet(view, augment, 0, make_labels(view), mixer=CutMix(1.5))
    with pytest.raises(RecipeError, match="image-level labels only"):
        TrainingSet(view, augment, 0, mixer=CutMix(0.5))


def test_items_have_the_promised_types(tmp_path: Path) -> None:
    view = make_view(tmp_path, 2, tags=lambda n: (1, 2) if n else ())
    item = TrainingSet(
        view, Augment("warp", 24), 0, lambda _: np.zeros((32, 40), np.uint8), (6, 6)
    )[0]
    assert item["inputs"].shape == (3, 24, 24)
    assert item["inputs"].dtype == torch.float32
    assert item["inputs"].max() > 200
    assert item["labels"].shape == (6, 6)
    assert item["labels"].dtype == torch.uint8
    assert item["tags"].tolist() == [1, 0, 0]
    assert TrainingSet(view, Augment("warp", 24), 0)[1]["tags"].tolist() == [1, 1, 1]
    assert "labels" not in TrainingSet(view, Augment("warp", 24), 0)[1]


@pytest.mark.parametrize("start", [0, 1, 4, 5, 6, 13])
def test_skipping_equals_dropping_the_first(start: int) -> None:
    whole, later = ScheduleSampler(5, 3), ScheduleSampler(5, 3)
    later.skip(start)
    assert list(islice(later, 11)) == list(islice(whole, start, start + 11))


def test_the_schedule_is_a_reshuffled_permutation_per_epoch() -> None:
    stream = list(islice(ScheduleSampler(6, 0), 18))
    epochs = [stream[i : i + 6] for i in (0, 6, 12)]
    for number, epoch in enumerate(epochs):
        assert sorted(epoch) == list(range(6 * number, 6 * number + 6))
    orders = [[p % 6 for p in epoch] for epoch in epochs]
    assert orders[0] != orders[1] or orders[1] != orders[2]
    assert list(islice(ScheduleSampler(6, 1), 6)) != epochs[0]
    assert len(ScheduleSampler(6, 0)) == 6


def test_nearest_samples_cell_centres() -> None:
    row = np.arange(8, dtype=np.uint8)[None]
    assert nearest(row, (1, 2)).tolist() == [[2, 6]]
    assert nearest(row, (1, 8)).tolist() == row.tolist()
    assert nearest(row[:, :3], (1, 6)).tolist() == [[0, 0, 1, 1, 2, 2]]
    assert nearest(np.arange(5, dtype=np.uint8)[None], (1, 3)).tolist() == [[0, 2, 4]]


@settings(max_examples=40, deadline=None)
@given(
    grid=st.integers(1, 48),
    height=st.integers(2, 12),
    width=st.integers(2, 12),
    extra=st.integers(0, 30),
)
def test_a_cue_grid_survives_the_photographs_size(
    grid: int, height: int, width: int, extra: int
) -> None:
    cues = np.random.default_rng(grid).integers(0, 21, (grid, grid)).astype(np.uint8)
    size = (grid * height + extra, grid * width + extra // 2)
    assert (nearest(to_image_size(cues, size), (grid, grid)) == cues).all()


@pytest.mark.parametrize(
    ("size", "grid", "crop"),
    [((375, 500), 41, 321), ((333, 500), 41, 321), ((96, 96), 24, 96)],
)
def test_a_cue_grid_survives_warping_and_mirroring_in_training(
    size: tuple[int, int], grid: int, crop: int
) -> None:
    cues = np.random.default_rng(0).integers(0, 21, (grid, grid)).astype(np.uint8)
    image = np.zeros((*size, 3), np.uint8)
    seen = set()
    for number in range(6):
        _, label = Augment("warp", crop)(image, to_image_size(cues, size), rng(number))
        assert label is not None
        back = nearest(label, (grid, grid))
        straight, mirrored = (
            bool((back == cues).all()),
            bool((back == cues[:, ::-1]).all()),
        )
        assert straight != mirrored
        seen.add(straight)
    assert seen == {True, False}


SCRIPT = """
import multiprocessing, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
print("begins", flush=True)
# What newer versions of Python do by themselves: workers that import this script.
multiprocessing.set_start_method("spawn", force=True)
from itertools import islice
from engine_fakes import make_view
from wsss_bench.engine.loading import Augment, TrainingSet
from wsss_bench.engine.training import loader
data = TrainingSet(make_view(Path(sys.argv[2]), 4), Augment("warp", 16), 0)
for batch in islice(loader(data, 2, 0, workers=1), 2):
    print("batch", tuple(batch["inputs"].shape), flush=True)
"""


def test_workers_do_not_run_the_callers_script_again(tmp_path: Path) -> None:
    """The script has no main guard, as scripts that call `wsss_bench.run` may not."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    fakes = Path(__file__).parents[1] / "fakes"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, fakes, tmp_path / "images"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if "OneDL" not in line]
    assert told == ["begins", *["batch (2, 3, 16, 16)"] * 2]


def test_workers_give_the_batches_that_one_process_gives(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 5)
    data = TrainingSet(view, Augment("resize_long", 16, (16, 24)), 3)
    alone = list(islice(loader(data, 2, 7, workers=0), 6))
    helped = list(islice(loader(data, 2, 7, workers=2), 6))
    for one, two in zip(alone, helped, strict=True):
        assert torch.equal(one["inputs"], two["inputs"])
        assert torch.equal(one["tags"], two["tags"])
