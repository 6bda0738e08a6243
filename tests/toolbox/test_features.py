"""Features of a whole set: computed once an image, whatever interrupts, and checked as they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_fakes import make_context, make_view

from wsss_bench.contract.view import WeakImage
from wsss_bench.errors import ArtifactError
from wsss_bench.toolbox.features import collect


class Counted:
    """Mean colour of an image; notes which images it saw, and fails at the one called `broken`."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.seen: list[str] = []

    def __call__(self, image: WeakImage) -> dict[str, np.ndarray]:
        self.seen.append(image.id)
        if image.id == self.broken:
            raise KeyboardInterrupt
        pixels = image.read().astype(np.float32)
        return {"mean": pixels.mean((0, 1)), "corner": pixels[:2, :2]}


def test_every_image_has_its_arrays(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 4)
    reported: list[tuple[str, int, int]] = []

    def progress(*what: Any) -> None:
        reported.append(what)

    ctx = make_context(tmp_path, progress=progress)
    extract = Counted()
    found = collect(view, ctx, extract, "means")
    assert extract.seen == [image.id for image in view]
    assert len(found) == 4
    for image in view:
        pixels = image.read().astype(np.float32)
        arrays = found[image.id]
        assert set(arrays) == {"mean", "corner"}
        np.testing.assert_array_equal(arrays["mean"], pixels.mean((0, 1)))
        np.testing.assert_array_equal(arrays["corner"], pixels[:2, :2])
    assert reported == [("means", number, 4) for number in (1, 2, 3, 4)]
    assert [path.name for path in ctx.scratch.iterdir()] == ["means"]


def test_an_interrupted_set_goes_on_where_it_stopped(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 4)
    ctx = make_context(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        collect(view, ctx, Counted("im2"), "means")
    again = Counted()
    found = collect(view, ctx, again, "means")
    assert again.seen == ["im2", "im3"]
    whole = collect(view, make_context(tmp_path / "whole"), Counted(), "means")
    for image in view:
        for name, array in whole[image.id].items():
            np.testing.assert_array_equal(found[image.id][name], array)


def test_a_finished_set_is_read_again(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 3)
    ctx = make_context(tmp_path)
    collect(view, ctx, Counted(), "means")
    again = Counted()
    assert len(collect(view, ctx, again, "means")) == 3
    assert again.seen == []
    # Another round's set is computed anew.
    collect(view, ctx, again, "means of round 2")
    assert again.seen == ["im0", "im1", "im2"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mean": np.array([1, np.nan])}, "mean holds NaN or infinity"),
        ({"mean": np.array([np.inf], np.float32)}, "mean holds NaN or infinity"),
        ({"mean": [1.0, 2.0]}, "mean must be a plain NumPy array, not list"),
        ({"mean": np.array([None])}, "mean must be a plain NumPy array"),
        ({}, "there is no array"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    arrays: Any, message: str, tmp_path: Path
) -> None:
    view = make_view(tmp_path / "images", 3)
    good = Counted()

    def extract(image: WeakImage) -> Any:
        return arrays if image.id == "im1" else good(image)

    ctx = make_context(tmp_path)
    with pytest.raises(ArtifactError, match=message) as caught:
        collect(view, ctx, extract, "means")
    assert "means" in str(caught.value)
    assert "im1" in str(caught.value)
    # The refused image is not there, so a mended extraction goes on with it.
    mended = Counted()
    collect(view, ctx, mended, "means")
    assert mended.seen == ["im1", "im2"]
