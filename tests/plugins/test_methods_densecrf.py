from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_fakes import make_context, make_view
from PIL import Image

from wsss_bench.contract.artifacts import LabelWriter, Seed, SeedWriter
from wsss_bench.errors import RecipeError
from wsss_bench.io.images import read_image
from wsss_bench.toolbox.crf import dense_crf
from wsss_bench.toolbox.crf_presets import PRESETS
from wsss_plugins.densecrf.plugin import _label, plugin

PARAMS = {
    "mode": "labels",
    "threshold": 0.15,
    "alpha": 16.0,
    "preset": "irn",
    "gt_prob": 0.7,
}


def seeds_of(folder: Path, view: Any) -> Any:
    out = SeedWriter(folder / "seeds", view, "test")
    for image in view:
        scores = np.zeros((len(image.present), 8, 10), np.float32)
        scores[:, 2:6, 2:6] = 1
        out.write(image.id, Seed(np.array(image.present, np.int64), scores, (32, 40)))
    return out.close()


def flat_view(folder: Path) -> tuple[Any, list[np.ndarray]]:
    """Two photographs of one flat object on flat ground, and their masks."""
    view, masks = make_view(folder, 2), []
    for n, image in enumerate(view):
        mask = np.zeros((32, 40), np.uint8)
        mask[8:24, 6 + n : 24 + n] = 1 + n
        pixels = np.full((32, 40, 3), 60, np.uint8)
        pixels[mask > 0, n] = 240
        Image.fromarray(pixels).save(image.path)
        masks.append(mask)
    return view, masks


@pytest.mark.parametrize("mode", ["labels", "alpha"])
def test_blocks_of_cams_become_masks_along_the_objects_edge(
    tmp_path: Path, mode: str
) -> None:
    view, masks = flat_view(tmp_path / "images")
    out = LabelWriter(tmp_path / "out", view, "densecrf")
    labels = plugin.refine(
        view,
        seeds_of(tmp_path, view),
        out,
        make_context(tmp_path, {**PARAMS, "mode": mode}),
    )
    for n, image in enumerate(view):
        assert (labels[image.id] == masks[n]).mean() > 0.97
        assert set(np.unique(labels[image.id])) == {0, 1 + n}


def test_labels_mode_is_irns_unary(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 1)
    scores = np.random.default_rng(0).random((1, 32, 40)).astype(np.float32)
    seed = Seed(np.array([2]), scores, (32, 40))
    found = _label((view[0].path, seed), PARAMS)
    # card: of two labels, -ln 0.7 for the labelled one and -ln 0.3 for the other
    marked = scores[0] > 0.15
    unary = np.where(np.stack([~marked, marked]), -np.log(0.7), -np.log(0.3)).astype(
        np.float32
    )
    expected = dense_crf(read_image(view[0].path), unary, PRESETS["irn"]).argmax(0) * 2
    assert (found == expected).all()


def test_alpha_mode_sharpens_the_background() -> None:
    # card: un-normalised scores [(1 - m)^alpha, m]; with m = 0.5 and alpha = 4 the energies are 2.7726 and 0.6931
    from wsss_bench.toolbox.crf import unary_from_probabilities

    m = np.full((1, 2, 2), 0.5, np.float32)
    assert unary_from_probabilities(np.concatenate([(1 - m) ** 4, m]))[
        :, 0, 0
    ] == pytest.approx([2.7726, 0.6931], abs=1e-4)


def test_alpha_decides_how_much_is_background(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 1)
    scores = np.tile(np.linspace(0, 1, 40, dtype=np.float32), (1, 32, 1))
    seed = Seed(np.array([1]), scores, (32, 40))
    areas = [
        (
            _label(
                (view[0].path, seed),
                {**PARAMS, "mode": "alpha", "alpha": a, "preset": "deeplab"},
            )
            == 1
        ).sum()
        for a in (1, 32)
    ]
    assert areas[0] < areas[1]


def test_an_image_without_tags_is_background(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 1, tags=lambda n: ())
    labels = plugin.refine(
        view,
        seeds_of(tmp_path, view),
        LabelWriter(tmp_path / "out", view, "densecrf"),
        make_context(tmp_path, PARAMS),
    )
    assert (labels["im0"] == 0).all()


@pytest.mark.parametrize(
    ("changed", "text"),
    [({"preset": "sharp"}, "irn"), ({"mode": "hard"}, "labels or alpha")],
)
def test_unknown_choices_are_refused(
    tmp_path: Path, changed: dict[str, str], text: str
) -> None:
    view = make_view(tmp_path / "images", 1)
    with pytest.raises(RecipeError, match=text):
        plugin.refine(
            view,
            seeds_of(tmp_path, view),
            LabelWriter(tmp_path / "out", view, "t"),
            make_context(tmp_path, {**PARAMS, **changed}),
        )
