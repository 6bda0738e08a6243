from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_fakes import make_context, make_labels, make_view

from wsss_bench.contract.artifacts import LabelWriter
from wsss_bench.errors import LeakError
from wsss_plugins.supervised.plugin import plugin


def test_the_true_masks_are_handed_on(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 3)
    masks = make_labels(view)
    masks["im1"][0] = 255
    seen = []
    ctx = make_context(
        tmp_path,
        masks=masks.__getitem__,
        progress=lambda what, done, total: seen.append((done, total)),
    )
    labels = plugin.refine(
        view, LabelWriter(tmp_path / "out", view, "supervised", tags=False), ctx
    )
    assert all((labels[i.id] == masks[i.id]).all() for i in view)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_finished_masks_are_not_asked_for_again(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 2)
    masks = make_labels(view)
    out = LabelWriter(tmp_path / "out", view, "supervised", tags=False)
    out.write("im0", np.zeros((32, 40), np.uint8))
    asked = []
    ctx = make_context(tmp_path, masks=lambda i: asked.append(i) or masks[i])
    assert plugin.refine(view, out, ctx)["im0"].max() == 0
    assert asked == ["im1"]


def test_without_masks_it_refuses(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 1)
    with pytest.raises(LeakError, match="supervised: the harness handed over no masks"):
        plugin.refine(
            view,
            LabelWriter(tmp_path / "out", view, "supervised"),
            make_context(tmp_path),
        )


def test_the_card_says_what_it_looks_at() -> None:
    card = plugin.method_card()
    assert card.supervision == ("image labels", "masks")
    assert card.recipe == "-/_/_"
    assert card.stages == ("refine",)
