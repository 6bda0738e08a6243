"""Batches of inference: formed from the view alone, the same results as one by one, halved where memory ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_fakes import SMALL_CLASSIFIER, SMALL_SEGMENTOR, make_context
from PIL import Image
from torch import Tensor

from wsss_bench.contract.artifacts import SeedSet, SeedWriter
from wsss_bench.contract.view import WeakImage, WeakView
from wsss_bench.engine.batching import (
    Halvings,
    InBatches,
    batch_size,
    batches,
    out_of_memory,
    scaled,
)
from wsss_bench.engine.inference import TestSettings as Settings
from wsss_bench.engine.inference import predict_probabilities, probabilities_of
from wsss_bench.engine.models import WeakSegmentor
from wsss_bench.engine.segmentor import segmentor_config
from wsss_bench.errors import WsssError
from wsss_bench.toolbox.classifier import (
    build_classifier,
    grad_cam,
    in_batches,
    linear_cam,
    multi_scale,
    write_seeds,
)

SIZES = [(40, 56), (56, 40), (40, 56), (40, 56), (33, 47), (56, 40), (40, 56), (33, 47)]
TAGS = [(1,), (1, 2), (), (2,), (1, 2), (2,), (1,), ()]


@pytest.fixture
def view(tmp_path: Path) -> WeakView:
    """Eight photographs of three sizes, two of them without a tag."""
    images = []
    for number, (size, tags) in enumerate(zip(SIZES, TAGS, strict=True)):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        path = tmp_path / f"p{number}.png"
        Image.fromarray(coarse).resize(size[::-1]).save(path)
        images.append(WeakImage(f"p{number}", path, tags))
    return WeakView("made", "train", ("background", "a", "b"), images)


def ids(batch: Any) -> list[str]:
    return [image.id for image in batch.images]


def test_groups_have_one_size_and_follow_from_the_view(view: WeakView) -> None:
    found = batches(view, 2)
    assert [ids(b) for b in found] == [
        ["p0", "p2"],
        ["p1", "p5"],
        ["p3", "p6"],
        ["p4", "p7"],
    ]
    assert [(b.shape, b.number) for b in found] == [
        ("40x56", 0),
        ("56x40", 0),
        ("40x56", 1),
        ("33x47", 0),
    ]
    alike = batches(view, 5, lambda image: (64, 64))
    assert [len(b.images) for b in alike] == [5, 3]
    assert [ids(b) for b in batches(view, 1)] == [[image.id] for image in view]


def test_the_size_of_a_batch_is_the_users_or_the_devices() -> None:
    assert batch_size(7, "cpu") == 7
    assert batch_size(0, "cpu") == 1
    assert batch_size(0, "cuda") == 16
    # 81 labels of a large photograph: a gibibyte holds few.
    assert batch_size(0, "cuda", 81 * 640 * 640) == 8
    assert batch_size(0, "cuda", 2**30) == 1


def test_sides_may_be_rounded_to_the_stride() -> None:
    assert scaled((375, 500), 0.5, 16) == (188, 250)
    assert scaled((375, 500), 0.5, 16, 32) == (192, 256)
    assert scaled((10, 20), 0.5, 16, 32) == (32, 32)


def seeds_of(view: WeakView, folder: Path, maps: Any, **params: Any) -> SeedSet:
    torch.manual_seed(0)
    model = build_classifier(SMALL_CLASSIFIER, 2).eval()
    ctx = make_context(folder, {**SMALL_CLASSIFIER, "scales": (1.0, 0.5), **params})
    out = SeedWriter(folder / "seeds", view, "test")
    return write_seeds(model, view, out, ctx, maps)


def flattened(
    model: Any, pixels: Tensor, classes: list[int], power: float = 1.0
) -> Tensor:
    """A method's own function, that takes one image."""
    assert len(pixels) == 1
    return linear_cam(model, pixels, classes) ** power


def rows(model: Any, pixels: Tensor, chosen: Tensor, power: float = 1.0) -> Tensor:
    maps = model.head.cam(model.features(pixels)).relu()
    found: Tensor = maps[chosen[:, 0], chosen[:, 1]] ** power
    return found


@in_batches(rows)
def bent(model: Any, pixels: Tensor, classes: list[int], power: float = 1.0) -> Tensor:
    raise AssertionError("the form for batches is there")


@pytest.mark.parametrize(
    "maps", [linear_cam, grad_cam, partial(flattened, power=0.5)], ids=str
)
@pytest.mark.parametrize("changed", [{}, {"warp": 48, "flip_merge": "max"}], ids=str)
def test_maps_in_batches_are_those_of_one_by_one(
    view: WeakView, tmp_path: Path, maps: Any, changed: dict[str, Any]
) -> None:
    alone = seeds_of(view, tmp_path / "one", maps, test_batch=1, **changed)
    together = seeds_of(view, tmp_path / "many", maps, test_batch=3, **changed)
    assert alone.ids == together.ids
    for (name, one), (_, many) in zip(alone, together, strict=True):
        assert one.size == many.size
        assert one.class_ids.tolist() == many.class_ids.tolist()
        # Stored in half precision, whose steps are 5e-4 below 1.
        assert many.scores == pytest.approx(one.scores, abs=5.1e-4), name
    torch.manual_seed(0)
    model = build_classifier(SMALL_CLASSIFIER, 2).eval()
    direct = multi_scale(
        model,
        view[1].read(),
        [0, 1],
        (1.0, 0.5),
        "cpu",
        maps,
        flip_merge=changed.get("flip_merge", "sum"),
        warp=changed.get("warp", 0),
    )
    assert together["p1"].scores == pytest.approx(direct.numpy(), abs=5.1e-4)


def test_a_methods_own_form_for_batches_is_taken_with_its_options(
    view: WeakView, tmp_path: Path
) -> None:
    one = seeds_of(view, tmp_path / "one", partial(flattened, power=0.5), test_batch=4)
    many = seeds_of(view, tmp_path / "many", partial(bent, power=0.5), test_batch=4)
    for (name, first), (_, second) in zip(one, many, strict=True):
        assert second.scores == pytest.approx(first.scores, abs=5.1e-4), name


def segmentor() -> WeakSegmentor:
    torch.manual_seed(1)
    config = segmentor_config(SMALL_SEGMENTOR, 3)
    return WeakSegmentor(config.model, None, config.normalize).eval()


@pytest.mark.parametrize(
    "settings",
    [
        {"scales": (1.0, 0.75), "flip": True},
        {"scales": (0.75, 1.25), "merge": "logits"},
        {"warp": 48},
        {"step": 16},
    ],
    ids=str,
)
def test_predictions_in_batches_are_those_of_one_by_one(
    view: WeakView, settings: dict[str, Any]
) -> None:
    model = segmentor()
    alone = Settings(**settings)
    together = Settings(**settings, batch=3)
    results = probabilities_of(
        model, view, together, "cpu", done=lambda image_id: False, workers=2
    )
    found = {image.id: probabilities for image, probabilities in results}
    assert sorted(found) == sorted(image.id for image in view)
    for image in view:
        expected = predict_probabilities(model, image.read(), alone, "cpu")
        assert found[image.id].shape == expected.shape
        assert found[image.id] == pytest.approx(expected, abs=1e-5)


class Memory:
    """Stands for a device: sums pixel values, remembers batches, and is full beyond `room` images."""

    def __init__(self, room: int, error: Callable[[], Exception]) -> None:
        self.room, self.error = room, error
        self.computed: list[list[str]] = []

    def prepare(self, image: WeakImage) -> int:
        return int(image.read().astype(int).sum())

    def compute(self, images: Sequence[WeakImage], sums: Sequence[int]) -> list[int]:
        if len(images) > self.room:
            raise self.error()
        self.computed.append([image.id for image in images])
        return list(sums)

    def finish(self, images: Sequence[WeakImage], made: list[int]) -> list[int]:
        return made

    def over(
        self, view: WeakView, done: set[str], keep: Path | None = None
    ) -> list[str]:
        how: InBatches[int, int] = InBatches(
            self.prepare, self.compute, self.finish, 2, keep
        )
        found = []
        for image, total in how.over(batches(view, 4), done.__contains__):
            assert total == self.prepare(image)
            found.append(image.id)
        return found


def cuda_is_full() -> Exception:
    return torch.OutOfMemoryError("CUDA out of memory")


def cpu_is_full() -> Exception:
    return RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to")


@pytest.mark.parametrize("error", [cuda_is_full, cpu_is_full, MemoryError])
def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(
    view: WeakView, error: Callable[[], Exception]
) -> None:
    device = Memory(2, error)
    found = device.over(view, set())
    assert sorted(found) == sorted(image.id for image in view)
    assert len(found) == len(set(found))
    assert device.computed[:2] == [["p0", "p2"], ["p3", "p6"]]


def test_a_halved_batch_is_remembered_beyond_the_process(
    view: WeakView, tmp_path: Path
) -> None:
    keep = tmp_path / "batches.json"
    whole = Memory(3, cuda_is_full)
    whole.over(view, set(), keep)
    # Taken up again where everything would fit, with one image missing: its batch is the halved one.
    again = Memory(99, cuda_is_full)
    everything = {image.id for image in view}
    assert again.over(view, everything - {"p3"}, keep) == ["p3"]
    assert again.computed == [["p3", "p6"]]
    assert ["p3", "p6"] in whole.computed


def test_memory_that_ends_in_the_middle_of_a_batch_leaves_what_came_before(
    view: WeakView, tmp_path: Path
) -> None:
    batch = batches(view, 4)[0]
    halvings = Halvings(tmp_path / "batches.json")
    halvings.halve(batch, 0, 4)
    halvings.halve(batch, 2, 2)
    for known in (halvings, Halvings(tmp_path / "batches.json")):
        pieces = [[i.id for i in known.piece(batch, start)] for start in (0, 2, 3)]
        assert pieces == [["p0", "p2"], ["p3"], ["p6"]]


def test_an_image_that_fits_nowhere_is_named(view: WeakView) -> None:
    with pytest.raises(WsssError, match=r"image 'p0': the memory does not hold it"):
        Memory(0, cuda_is_full).over(view, set())


def test_other_errors_are_not_taken_for_a_full_memory(view: WeakView) -> None:
    wrong = RuntimeError("shapes cannot be multiplied")
    assert not out_of_memory(wrong)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        Memory(0, lambda: wrong).over(view, set())


def test_a_group_of_which_one_image_is_missing_is_computed_again_whole(
    view: WeakView,
) -> None:
    device = Memory(99, cuda_is_full)
    everything = {image.id for image in view}
    assert device.over(view, everything - {"p6"}) == ["p6"]
    assert device.computed == [["p0", "p2", "p3", "p6"]]


def test_an_unreadable_photograph_is_named(view: WeakView, tmp_path: Path) -> None:
    (tmp_path / "p5.png").write_bytes(b"not a picture")
    with pytest.raises(WsssError, match=r"p5\.png"):
        seeds_of(view, tmp_path / "seeds", linear_cam, test_batch=1)
