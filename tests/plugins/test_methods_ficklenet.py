from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_fakes import SMALL_CLASSIFIER, make_context, make_view
from torch.nn import functional as F

from wsss_bench.contract.artifacts import LabelWriter, Seed, SeedWriter
from wsss_bench.engine.training import seeded
from wsss_bench.errors import RecipeError
from wsss_plugins.ficklenet import maths
from wsss_plugins.ficklenet.head import FickleHead
from wsss_plugins.ficklenet.plugin import _label, plugin

OWN = {
    "dropout": "centre",
    "rate": 0.5,
    "kernel": 3,
    "draws": 6,
    "warp": 0,
    "saliency_dir": "",
    "saliency_stage": 1,
}
PARAMS = {**SMALL_CLASSIFIER, **OWN, "iterations": 2, "threshold": 0.35, "flip": False}
REFINE = {
    "grid": 4,
    "threshold": 0.35,
    "background_fraction": 0.25,
    "background_max": 0.06,
    "foreground": 0.2,
}


def head_of(**changes: Any) -> FickleHead:
    return seeded(lambda: FickleHead(4, 3, {**PARAMS, **changes}), 0, "test")


def features(batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 4, 6, 5, generator=torch.Generator().manual_seed(0))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_scores_are_those_of_the_papers_expanded_map() -> None:
    head, x = head_of(), features()
    mask = maths.centre_preserving_mask(generator(), 2, 6, 5, 3, 0.5)
    expected = maths.expanded_scores(x, head.weight, mask).mean((2, 3))
    assert torch.allclose(head.scores(x, generator()), expected, atol=1e-6)


def test_the_loss_is_that_of_one_draw_from_the_seeded_generator() -> None:
    head, x, targets = (
        head_of(),
        features(),
        torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]),
    )
    torch.manual_seed(3)
    loss = head.loss(x, targets)["loss_cls"]
    mask = maths.centre_preserving_mask(generator(3), 2, 6, 5, 3, 0.5)
    scores = maths.expanded_scores(x, head.weight, mask).mean((2, 3))
    assert loss.item() == pytest.approx(
        F.binary_cross_entropy_with_logits(scores, targets).item(), abs=1e-6
    )
    torch.manual_seed(4)
    assert head.loss(x, targets)["loss_cls"] != loss


def test_draws_depend_on_the_generator_alone() -> None:
    head, x = head_of(), features(1)
    with torch.no_grad():
        one = head.draws(x, [0, 2], generator(5), 7)
        torch.rand(3)
        again = head.draws(x, [0, 2], generator(5), 7, chunk=2)
        other = head.draws(x, [0, 2], generator(6), 7)
    assert one.shape == (7, 2, 6, 5)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])
    assert one.max() == 1
    assert one.min() >= 0


def test_the_deterministic_variant_draws_once_and_keeps_everything() -> None:
    head, x = head_of(dropout="deterministic"), features(1)
    with torch.no_grad():
        maps = head.draws(x, [1], generator(), 200)
        assert maps.shape == (1, 1, 6, 5)
        assert torch.allclose(
            maps[0], maths.normalise_draws(head.cam(x).relu())[:, 1], atol=1e-6
        )
        plain = F.conv2d(x, head.weight, padding=1).mean((2, 3))
        assert torch.allclose(head.scores(x), plain, atol=1e-5)
        assert torch.equal(head.scores(x, generator(1)), head.scores(x, generator(2)))


def test_the_general_variant_runs_and_may_drop_centres() -> None:
    head, x = head_of(dropout="general", rate=1.0), features(1)
    with torch.no_grad():
        assert (
            head.scores(x, generator()).abs().max() == 0
        )  # everything is dropped, centres included
        assert head_of(rate=1.0).scores(x, generator()).abs().max() > 0
        half = head_of(dropout="general", rate=0.5)
        maps = half.draws(x, [0, 1], generator(), 3)
        assert torch.equal(maps, half.draws(x, [0, 1], generator(), 3))
    assert maps.shape == (3, 2, 6, 5)
    assert not torch.equal(maps[0], maps[1])
    with pytest.raises(RecipeError, match="centre, general, deterministic"):
        head_of(dropout="spatial")


def label_of(
    scores: list[Any],
    rank: list[Any] | None = None,
    background: Any = None,
    **changes: Any,
) -> np.ndarray:
    array = np.array(scores, np.float32)
    mean = None if rank is None else np.array(rank, np.float32)
    seed = Seed(np.arange(1, len(array) + 1), array, (4, 4), background, mean)
    return _label(seed, {**REFINE, **changes}, False)


def test_a_cell_gets_the_class_that_fired_and_of_several_the_one_of_highest_mean() -> (
    None
):
    rows = np.zeros((2, 4, 4), np.float32)
    mean = np.zeros((2, 4, 4), np.float32)
    rows[:, 0, 0] = (0.9, 0.3)  # only the first fires
    rows[:, 0, 1] = (
        0.9,
        0.4,
    )  # both fire; the second has the higher mean, though the lower maximum
    mean[:, 0, 1] = (0.05, 0.10)
    rows[:, 0, 2] = (0.35, 0.0)  # at the threshold: no
    rows[:, 0, 3] = (
        0.3,
        0.36,
    )  # the second alone, though the first has the higher mean
    mean[:, 0, 3] = (0.3, 0.1)
    label = label_of(rows.tolist(), mean.tolist())
    assert label[0].tolist() == [1, 2, 255, 2]
    assert (label[1:] == 255).all()


def test_the_cards_aggregation_of_two_draws() -> None:
    a = torch.tensor([[0.9, 0.10, 0.36, 0.20], [0.2, 0.10, 0.10, 0.20]])
    b = torch.tensor([[0.1, 0.20, 0.50, 0.34], [0.1, 0.40, 0.10, 0.34]])
    draws = torch.stack([a, b], 1).view(2, 2, 2, 2)
    seed = Seed(
        np.array([3, 8]), draws.amax(0).numpy(), (2, 2), None, draws.mean(0).numpy()
    )
    assert _label(seed, {**REFINE, "grid": 2}, False).ravel().tolist() == [3, 8, 8, 255]


def test_aggregation_agrees_with_the_reference_on_random_draws() -> None:
    draws = torch.rand(9, 3, 4, 4, generator=generator()) ** 4
    expected = maths.aggregate(draws, 0.35).labels.numpy()
    found = label_of(draws.amax(0).tolist(), draws.mean(0).tolist())
    assert (found == expected).all()
    assert len(np.unique(found)) >= 3


def test_background_fills_cells_where_nothing_fired() -> None:
    scores = np.zeros((1, 4, 4), np.float32)
    scores[0, 0, :2] = 1
    saliency = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    label = label_of(scores.tolist(), None, 1 - saliency)
    assert label[0].tolist() == [1, 1, 0, 0]
    assert (label[1:] == 255).all()


def test_localize_and_refine_end_to_end(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 3)
    ctx = make_context(tmp_path, PARAMS)
    seeds = plugin.localize(
        view, SeedWriter(tmp_path / "seeds", view, "ficklenet"), ctx
    )
    for image in view:
        seed = seeds[image.id]
        assert seed.problems(image.labels) == []
        assert seed.rank is not None
        assert seed.background is not None
        assert (seed.rank <= seed.scores + 1e-3).all()
    assert seeds.manifest["external_saliency"] is False
    out = LabelWriter(tmp_path / "labels", view, "ficklenet")
    labels = plugin.refine(
        view, seeds, out, make_context(tmp_path, {**REFINE, "grid": 8})
    )
    found = {int(v) for _, label in labels for v in np.unique(label)}
    assert found <= {0, 1, 2, 255}
    assert 0 in found
    assert found & {1, 2}


def scored(folder: Path, view: Any, disturb: bool) -> Any:
    """Seeds from the same trained network, with torch's global generator at one place or another."""
    ctx = make_context(folder, PARAMS)
    torch.manual_seed(0)
    if disturb:
        plugin.localize(view, SeedWriter(folder / "first", view, "ficklenet"), ctx)
    return plugin.localize(view, SeedWriter(folder / "second", view, "ficklenet"), ctx)


def test_maps_do_not_depend_on_the_process(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 2)
    one, other = scored(tmp_path / "a", view, False), scored(tmp_path / "b", view, True)
    for image in view:
        assert (one[image.id].scores == other[image.id].scores).all()
        assert (one[image.id].rank == other[image.id].rank).all()


def test_background_cues_do_not_depend_on_the_process(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 2)
    one, other = scored(tmp_path / "a", view, False), scored(tmp_path / "b", view, True)
    for image in view:
        assert (one[image.id].background == other[image.id].background).all()


def test_an_image_without_tags_has_no_maps(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 3, tags=lambda n: (1,) if n else ())
    seeds = plugin.localize(
        view,
        SeedWriter(tmp_path / "seeds", view, "ficklenet"),
        make_context(tmp_path, PARAMS),
    )
    assert seeds["im0"].scores.shape == (0, 8, 10)
