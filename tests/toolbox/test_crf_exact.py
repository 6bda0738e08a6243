from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wsss_bench.toolbox import crf
from wsss_bench.toolbox.crf import dense_crf
from wsss_bench.toolbox.crf_exact import meanfield_exact
from wsss_bench.toolbox.crf_presets import PRESETS, CrfParams


def two_regions(rng: np.random.Generator, k: int = 21) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:41, :41]
    disc = (rows - 20) ** 2 + (columns - 18) ** 2 < 12**2
    image = np.where(disc[..., None], (180, 90, 60), (60, 120, 170)) + rng.normal(
        0, 8, (41, 41, 3)
    )
    logits = rng.normal(0, 0.3, (k, 41, 41))
    logits[0] += 2.0 * ~disc
    logits[5] += 2.0 * disc
    powers = np.exp(logits)
    probs = powers / powers.sum(axis=0)
    return np.clip(image, 0, 255).astype(np.uint8), probs.astype(np.float32)


def double_sum_mean_field(
    image: np.ndarray, unary: np.ndarray, p: CrfParams
) -> np.ndarray:
    """Mean field from its definition, pair by pair, in double."""
    h, w = unary.shape[1:]
    colours = image.reshape(-1, 3).astype(float)
    smooth = np.zeros((h * w, h * w))
    appearance = np.zeros((h * w, h * w))
    for i in range(h * w):
        for j in range(h * w):
            place = (i // w - j // w) ** 2 + (i % w - j % w) ** 2
            colour = ((colours[i] - colours[j]) ** 2).sum()
            near = place / (2 * p.bilateral_sxy**2)
            alike = colour / (2 * p.bilateral_srgb**2)
            smooth[i, j] = math.exp(-place / (2 * p.gauss_sxy**2))
            appearance[i, j] = math.exp(-near - alike)
    kernel = np.zeros_like(smooth)
    for part, weight in ((smooth, p.gauss_compat), (appearance, p.bilateral_compat)):
        norm = 1 / np.sqrt(part.sum(axis=1))
        kernel += weight * part * norm[:, None] * norm
    energies = unary.reshape(len(unary), -1).astype(float)
    q = np.exp(-energies) / np.exp(-energies).sum(axis=0)
    for _ in range(p.iterations):
        powers = np.exp(-energies + q @ kernel)
        q = powers / powers.sum(axis=0)
    return q.reshape(unary.shape)


def test_exact_mean_field_is_its_definition():
    rng = np.random.default_rng(10)
    image = rng.integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)
    unary = rng.normal(0, 1, (2, 3, 5, 6)).astype(np.float32)
    params = CrfParams(4, 1.5, 2, 3, 60, 5)
    q = meanfield_exact(
        torch.tensor(image).float(), torch.tensor(unary), params
    ).numpy()
    for i in range(2):
        expected = double_sum_mean_field(image[i], unary[i], params)
        assert np.abs(q[i] - expected).max() < 1e-5


def test_exact_mean_field_matches_the_lattice_on_the_training_grid():
    rng = np.random.default_rng(11)
    image, probs = two_regions(rng)
    params = PRESETS["dsrg"].scaled(12)
    for unary in (crf.unary_from_probabilities(probs), -probs):
        lattice = dense_crf(image, unary, params, "pydensecrf")
        exact = meanfield_exact(
            torch.tensor(image[None]).float(), torch.tensor(unary[None]), params
        )[0].numpy()
        assert np.array_equal(lattice.argmax(0), exact.argmax(0))
        assert np.abs(lattice - exact).mean() <= 1.5e-3


def test_probabilities_as_energies_hold_the_crf_back():
    image, probs = two_regions(np.random.default_rng(12))
    params = PRESETS["dsrg"].scaled(12)
    sure = {
        name: (dense_crf(image, u, params).max(0) > 0.99).mean()
        for name, u in (("log", -np.log(probs)), ("p", -probs))
    }
    assert sure["log"] == 1.0
    assert 0.01 < sure["p"] < 0.3


def test_exact_mean_field_gives_no_gradient_and_refuses_another_grid():
    unary = torch.zeros(1, 2, 4, 4, requires_grad=True)
    q = meanfield_exact(torch.zeros(1, 4, 4, 3), unary, PRESETS["dsrg"])
    assert not q.requires_grad
    with pytest.raises(ValueError, match="grid"):
        meanfield_exact(torch.zeros(1, 8, 8, 3), unary, PRESETS["dsrg"])


def test_half_precision_around_the_call_changes_nothing():
    image, probs = two_regions(np.random.default_rng(4))
    images = torch.from_numpy(image.astype(np.float32))[None]
    unary = torch.from_numpy(-np.log(probs))[None]
    crf = PRESETS["dsrg"].scaled(12)
    alone = meanfield_exact(images, unary, crf)
    with torch.autocast("cpu", torch.bfloat16):
        inside = meanfield_exact(images, unary, crf)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, alone)
    # Energies that come in half precision are computed with in full.
    rounded = meanfield_exact(images, unary.bfloat16(), crf)
    assert torch.equal(rounded, meanfield_exact(images, unary.bfloat16().float(), crf))
