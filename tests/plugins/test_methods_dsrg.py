from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_fakes import (
    SMALL_CLASSIFIER,
    SMALL_SEGMENTOR,
    make_context,
    make_view,
    stage_params,
)
from scipy import ndimage

from wsss_bench.contract.artifacts import LabelWriter, SeedWriter
from wsss_bench.errors import RecipeError
from wsss_bench.toolbox.crf_exact import meanfield_exact
from wsss_bench.toolbox.losses import boundary_loss, floored_softmax
from wsss_plugins.dsrg import loss as module
from wsss_plugins.dsrg.loss import DsrgLoss
from wsss_plugins.dsrg.plugin import plugin

OWN: dict[str, Any] = {
    "balanced": True,
    "boundary": False,
    "boundary_clip": (0.05, 20.0),
    "grow": "none",
    "grow_on": "softmax",
    "crf_unary": "prob",
    "crf_factor": 12.0,
    "thumbnails": "points",
    "theta_f": 0.85,
    "theta_b": 0.99,
}

# The card's four cells of classes (bg, a, b), laid out as one row.
H = [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]]


def logits_of(probs: Any) -> torch.Tensor:
    """Logits ``[1, C, h, w]`` whose floored softmax is `probs` ``[h, w, C]``."""
    p = torch.tensor(probs, dtype=torch.float64).movedim(-1, 0)[None]
    return (p * (1 + 1e-4 * p.shape[1]) - 1e-4).clamp_min(1e-12).log()


def run(probs: Any, cues: Any, tags: list[int], **changes: Any) -> dict[str, float]:
    logits = logits_of(probs)
    labels = torch.tensor(cues, dtype=torch.uint8)[None]
    present = torch.tensor(
        [[float(c == 0 or c in tags) for c in range(logits.shape[1])]]
    )
    inputs = torch.zeros(1, 3, 8, 8)
    found = DsrgLoss({**OWN, **changes})(
        logits, {"labels": labels, "tags": present, "inputs": inputs}
    )
    return {key: value.item() for key, value in found.items()}


def test_the_cards_balanced_seeding_loss() -> None:
    cues = [[0, 0, 1, 255]]
    assert run([H], cues, [1]) == {"loss_seed": pytest.approx(0.790425, abs=1e-5)}
    assert run([H], cues, [1], balanced=False) == {
        "loss_seed": pytest.approx(0.408058, abs=1e-5)
    }


# Card, "Growth": tags {bg, a}, b absent; a at (0, 0), bg at (3, 3).
A = [
    [0.99, 0.90, 0.10, 0.10],
    [0.10, 0.90, 0.20, 0.20],
    [0.10, 0.10, 0.86, 0.20],
    [0.86, 0.20, 0.05, 0.0],
]
B = [
    [0.0, 0.05, 0.30, 0.30],
    [0.30, 0.05, 0.60, 0.60],
    [0.30, 0.80, 0.10, 0.10],
    [0.10, 0.10, 0.0, 0.0],
]
CUES = np.full((4, 4), 255, np.uint8)
CUES[0, 0], CUES[3, 3] = 1, 0


def grid() -> torch.Tensor:
    a, b = torch.tensor(A), torch.tensor(B)
    return torch.stack([1 - a - b, a, b])[None]


def grown(
    kind: str, cues: np.ndarray = CUES, tags: tuple[int, ...] = (1,), **changes: Any
) -> np.ndarray:
    loss = DsrgLoss({**OWN, "grow": kind, **changes})
    present = torch.tensor([[1.0, *(float(c in tags) for c in (1, 2))]])
    found = loss._grown(grid(), None, torch.from_numpy(cues)[None], present)
    return found[0].numpy()


def cells(label: np.ndarray, value: int) -> set[tuple[int, ...]]:
    return {tuple(int(i) for i in cell) for cell in np.argwhere(label == value)}


ALL_A = {(0, 0), (0, 1), (1, 1), (2, 2)}


def test_growth_of_both_is_the_cards() -> None:
    label = grown("both")
    assert cells(label, 1) == ALL_A
    assert cells(label, 0) == {(3, 3)}
    assert cells(grown("both", theta_b=0.90), 0) == {(3, 3), (3, 2)}


def test_growth_of_foreground_alone_leaves_background_as_it_was() -> None:
    label = grown("fg", theta_b=0.90)
    assert cells(label, 1) == ALL_A
    assert cells(label, 0) == {(3, 3)}


def test_growth_of_background_alone_leaves_foreground_as_it_was() -> None:
    label = grown("bg", theta_b=0.90)
    assert cells(label, 1) == {(0, 0)}
    assert cells(label, 0) == {(3, 3), (3, 2)}


def test_background_alone_never_grows_where_foreground_wins_nor_relabels() -> None:
    cues = CUES.copy()
    cues[3, 2] = 1  # the network is sure of background here, but the cue says otherwise
    for theta in (0.9, 0.0):
        label = grown("bg", cues, theta_b=theta, theta_f=0.0)
        assert cells(label, 1) == {(0, 0), (3, 2)}
        wins = grid()[0].numpy().argmax(0)
        assert all(wins[cell] == 0 for cell in cells(label, 0) - {(3, 3)})
    assert len(cells(label, 0)) > 1


def test_without_growth_the_cues_are_the_labels() -> None:
    assert (grown("none", theta_f=0.0, theta_b=0.0) == CUES).all()


def test_untagged_classes_never_grow() -> None:
    cues = CUES.copy()
    assert 2 not in grown("both", cues, tags=(1,), theta_f=0.5)
    cues[2, 0] = 2
    assert (2, 1) in cells(grown("both", cues, tags=(1, 2), theta_f=0.5), 2)


def batch(size: int = 2) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(size, 3, 6, 6, generator=generator) * 2).requires_grad_()
    labels = torch.randint(0, 3, (size, 6, 6), generator=generator, dtype=torch.uint8)
    inputs = torch.rand(size, 3, 48, 48, generator=generator) * 255
    return logits, {"labels": labels, "tags": torch.ones(size, 3), "inputs": inputs}


@pytest.mark.parametrize(
    ("changes", "calls"),
    [
        ({"boundary": True, "grow": "both", "grow_on": "crf"}, 2),
        ({"boundary": False, "grow": "both", "grow_on": "crf"}, 2),
        ({"boundary": True, "grow": "none"}, 2),
        ({"boundary": False, "grow": "both", "grow_on": "softmax"}, 0),
        ({"boundary": False, "grow": "none", "grow_on": "crf"}, 0),
    ],
)
def test_the_crf_runs_once_per_image_and_only_if_needed(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], calls: int
) -> None:
    real, seen = module.dense_crf, []

    def counted(image: np.ndarray, unary: np.ndarray, params: Any) -> np.ndarray:
        seen.append((image.shape, image.dtype, unary.shape, params.bilateral_sxy))
        return real(image, unary, params)

    monkeypatch.setattr(module, "dense_crf", counted)
    logits, given = batch()
    losses = DsrgLoss({**OWN, **changes})(logits, given)
    assert len(seen) == calls
    assert set(losses) == {"loss_seed"} | (
        {"loss_boundary"} if changes["boundary"] else set()
    )
    if calls:
        assert seen[0] == ((6, 6, 3), np.uint8, (3, 6, 6), pytest.approx(80 / 12))


@pytest.mark.parametrize("unary", ["prob", "logprob"])
def test_energies_are_minus_probabilities_or_their_logarithms(
    monkeypatch: pytest.MonkeyPatch, unary: str
) -> None:
    given_energy = []
    monkeypatch.setattr(
        module,
        "dense_crf",
        lambda image, energy, params: (
            given_energy.append(energy) or np.full_like(energy, 1 / 3)
        ),
    )
    logits, given = batch(1)
    DsrgLoss({**OWN, "boundary": True, "crf_unary": unary})(logits, given)
    probs = floored_softmax(logits.detach())[0].numpy()
    assert given_energy[0] == pytest.approx(
        -probs if unary == "prob" else -np.log(probs), abs=1e-6
    )


def test_thumbnails_are_the_releases_points_or_means_of_areas() -> None:
    image = np.random.default_rng(3).uniform(0, 255, (3, 33, 47)).astype(np.float32)
    inputs = torch.from_numpy(image)[None]
    points = DsrgLoss(OWN)._thumbnails(inputs, (5, 9))[0].numpy()
    # SEC's and DSRG's layers call this on every photograph.
    released = ndimage.zoom(image, (1, 5 / 33, 9 / 47), order=1)
    assert points == pytest.approx(released, abs=2e-3)
    area = DsrgLoss({**OWN, "thumbnails": "area"})._thumbnails(inputs, (5, 9))[0]
    # A mean over about 70 pixels of noise hardly varies.
    assert area.std() < points.std() / 3


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_losses_crf_and_growth_keep_float32_in_half_precision(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    loss = DsrgLoss({**OWN, "boundary": True, "grow": "both", "grow_on": "crf"})
    if device == "cuda":
        # The branch of a GPU, whose exact kernels are matrix products, on this processor.
        def exact(probs: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
            small = loss._thumbnails(inputs, tuple(probs.shape[2:]))
            return meanfield_exact(small.permute(0, 2, 3, 1), -probs, loss.crf)

        monkeypatch.setattr(loss, "_crf", exact)
    logits, given = batch()
    half = logits.detach().bfloat16()
    expected = loss(half.float(), given)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(half, given)
    assert {key: value.dtype for key, value in found.items()} == dict.fromkeys(
        found, torch.float32
    )
    assert {key: value.item() for key, value in found.items()} == {
        key: value.item() for key, value in expected.items()
    }


def test_no_gradient_flows_through_the_crf() -> None:
    logits, given = batch()
    losses = DsrgLoss({**OWN, "boundary": True, "grow": "both", "grow_on": "crf"})(
        logits, given
    )
    (found,) = torch.autograd.grad(losses["loss_boundary"], logits, retain_graph=True)
    probs = floored_softmax(logits)
    loss = DsrgLoss({**OWN, "boundary": True})
    q = loss._crf(probs, given["inputs"])
    assert not q.requires_grad
    (expected,) = torch.autograd.grad(
        boundary_loss(probs, q.detach(), (0.05, 20.0)), logits
    )
    assert found.abs().max() > 0
    assert torch.allclose(found, expected, atol=1e-7)


def test_growth_restarts_from_the_cues_and_leaves_them_alone() -> None:
    logits, given = batch()
    before = given["labels"].clone()
    loss = DsrgLoss({**OWN, "grow": "both", "theta_f": 0.3, "theta_b": 0.3})
    first = loss(logits, given)["loss_seed"].item()
    assert loss(logits, given)["loss_seed"].item() == first
    assert torch.equal(given["labels"], before)


def test_logits_are_brought_to_the_cue_grid() -> None:
    logits, given = batch()
    given["labels"] = torch.zeros(2, 12, 12, dtype=torch.uint8)
    assert DsrgLoss(OWN)(logits, given)["loss_seed"] > 0


@pytest.mark.parametrize(
    "changed",
    [
        {"grow": "all"},
        {"grow_on": "logits"},
        {"crf_unary": "energy"},
        {"thumbnails": "x"},
    ],
)
def test_unknown_choices_are_refused(changed: dict[str, str]) -> None:
    ((key, value),) = changed.items()
    with pytest.raises(RecipeError, match=f"dsrg: {key}='{value}' is not known; use"):
        DsrgLoss({**OWN, **changed})


TABLE_2 = {
    "dsrg[balanced=False,grow='none',rounds=1]": (False, "none", 1),
    "dsrg[balanced=False,grow=none,rounds=1]": (False, "none", 1),
    "dsrg[grow=none,rounds=1]": (True, "none", 1),
    "dsrg[rounds=1]": (True, "both", 1),
    "dsrg[grow=fg,rounds=1]": (True, "fg", 1),
    "dsrg[grow=bg,rounds=1]": (True, "bg", 1),
    "dsrg": (True, "both", 2),
}


@pytest.mark.parametrize("recipe", TABLE_2)
def test_the_rows_of_its_table_2_are_parameters(recipe: str) -> None:
    for profile in ("paper", "shapes"):
        found = stage_params(recipe, "segment", profile)
        assert (found["balanced"], found["grow"], found["rounds"]) == TABLE_2[recipe]
    DsrgLoss(found)


LOCALIZE = {
    **SMALL_CLASSIFIER,
    "iterations": 2,
    "head_channels": 0,
    "warp": 0,
    "saliency_dir": "",
    "saliency_stage": 1,
}
REFINE = {
    "grid": 8,
    "foreground": 0.2,
    "background_fraction": 0.1,
    "background_max": 0.06,
    "relabel_scales": (0.75, 1.0),
    "relabel_flip": False,
    "relabel_merge": "logits",
    "relabel_warp": 32,
    "relabel_crf": "dsrg",
    "relabel_amp": "",
}
SEGMENT = {
    **SMALL_SEGMENTOR,
    **OWN,
    "boundary": True,
    "grow": "both",
    "grow_on": "crf",
    "crf_factor": 4.0,
    "iterations": 2,
    "retrain_iterations": 2,
    "retrain_batch": 2,
    "retrain_lr": 0.01,
    "retrain_crop": 32,
    "retrain_resize": (0.75, 1.25),
    "retrain_cutmix": 0.5,
}


def test_two_rounds_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = make_view(tmp_path / "images", 4)
    seeds = plugin.localize(
        view,
        SeedWriter(tmp_path / "seeds", view, "dsrg"),
        make_context(tmp_path / "l", LOCALIZE),
    )
    assert seeds.manifest["external_saliency"] is False
    assert all(seed.background is not None for _, seed in seeds)
    ctx = make_context(tmp_path / "r", REFINE)
    cues = plugin.refine(
        view, seeds, None, LabelWriter(tmp_path / "cues", view, "dsrg"), ctx
    )
    values = {int(v) for _, label in cues for v in np.unique(label)}
    assert values == {0, 1, 2, 255}
    first = plugin.segment(view, cues, None, make_context(tmp_path / "s", SEGMENT))

    from wsss_bench.toolbox import prediction

    used = []
    real = prediction.probabilities_of
    monkeypatch.setattr(
        prediction,
        "probabilities_of",
        lambda m, v, settings, d, **more: (
            used.append(settings) or real(m, v, settings, d, **more)
        ),
    )
    again = plugin.refine(
        view,
        seeds,
        first,
        LabelWriter(tmp_path / "again", view, "dsrg"),
        make_context(tmp_path / "r2", REFINE),
    )
    assert {(s.scales, s.warp) for s in used} == {((0.75, 1.0), 32)}
    for image in view:
        assert set(np.unique(again[image.id]).tolist()) <= {
            0,
            *image.present,
        }  # tags only, nothing unlabelled
    second = plugin.segment(view, again, first, make_context(tmp_path / "s2", SEGMENT))
    old, new = (torch.load(s.checkpoint, weights_only=True) for s in (first, second))
    assert list(old) == list(new)
    learnt = [k for k in old if k.endswith((".weight", ".bias"))]
    moved = max((old[k] - new[k]).abs().max().item() for k in learnt)
    assert 0 < moved < 0.5  # it starts from round 1


def test_saliency_maps_make_it_another_supervision(tmp_path: Path) -> None:
    import cv2

    view = make_view(tmp_path / "images", 2)
    for image in view:
        grey = np.zeros((32, 40), np.uint8)
        grey[8:24, 6:26] = 255
        cv2.imwrite(str(tmp_path / f"{image.id}.png"), grey)
    params = {**LOCALIZE, "saliency_dir": str(tmp_path)}
    seeds = plugin.localize(
        view,
        SeedWriter(tmp_path / "seeds", view, "dsrg"),
        make_context(tmp_path, params),
    )
    assert seeds.manifest["extra_data"] == "saliency maps"
    ctx = make_context(tmp_path / "r", REFINE)
    cues = plugin.refine(
        view, seeds, None, LabelWriter(tmp_path / "cues", view, "dsrg"), ctx
    )
    # every cell below 0.06 is background now, not a tenth of the cells
    assert (cues["im0"] == 0).mean() > 0.3
