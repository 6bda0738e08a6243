"""FickleNet's stochastic head, 512 channels, 41x41 cells, 9x9 windows, dropout 0.9, 20 classes.

OMP_NUM_THREADS=1 python benchmarks/bench_ficklenet.py [--rounds 3] [--cells 41] [--channels 512]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from _rounds import Variant, compare
from torch import Tensor

from wsss_plugins.ficklenet import maths

S = 9
CLASSES = 20
RATE = 0.9


def window_loop(x: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """Window by window: one small product per output cell."""
    _, _, h, w = x.shape
    padded = F.pad(x, (S // 2,) * 4)[0]
    flat = weight.flatten(1)
    out = x.new_empty(weight.shape[0], h, w)
    for i in range(h):
        for j in range(w):
            window = padded[:, i : i + S, j : j + S]
            kept = window * mask[0, :, i, j].view(S, S)
            out[:, i, j] = flat @ kept.reshape(-1)
    return out[None]


def unfolded(x: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    windows = F.unfold(x, S, padding=S // 2)
    windows = windows.view(x.shape[1], S * S, -1)
    kept = windows * mask.view(1, S * S, -1)
    scores = weight.flatten(1) @ kept.flatten(0, 1)
    return scores.view(1, -1, *x.shape[2:])


def error(reference: object, result: object) -> str:
    a = torch.as_tensor(reference)
    b = torch.as_tensor(result)
    # One of two rows counts other classes; there is nothing to compare.
    if a.shape != b.shape:
        return ""
    share = (a - b).abs().max() / a.abs().max()
    return f"max difference {share.item():.1e} of max"


def expanded_pool(x: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    return maths.expanded_scores(x, weight, mask).mean(dim=(2, 3))


def train_step(
    pool: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
) -> Tensor:
    leaf_x = x.detach().requires_grad_()
    leaf_w = weight.detach().requires_grad_()
    scores = pool(leaf_x, leaf_w, mask)
    F.multilabel_soft_margin_loss(scores, torch.ones_like(scores)).backward()
    assert leaf_w.grad is not None
    return leaf_w.grad


def one_draw(x: Tensor, weight: Tensor, mask: Tensor, rounds: int) -> None:
    _, k, n, _ = x.shape
    y = maths.project(x, weight)
    rows = [
        Variant("window by window", lambda: window_loop(x, weight, mask), error),
        Variant(
            "expanded map, stride-9 convolution (paper)",
            lambda: maths.expanded_scores(x, weight, mask),
            error,
        ),
        Variant("unfold and matrix product", lambda: unfolded(x, weight, mask), error),
        Variant(
            "project, then masked shifts",
            lambda: maths.stochastic_scores(maths.project(x, weight), mask),
            error,
        ),
        Variant(
            "  each further draw",
            lambda: maths.stochastic_scores(y, mask),
            error,
        ),
    ]
    compare(f"one draw, score map, {k}x{n}x{n}", rows, rounds)


def many_draws(
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    generator: torch.Generator,
    rounds: int,
) -> None:
    two = maths.project(x, weight[:2])
    rows = [
        Variant(
            "one draw, window by window",
            lambda: window_loop(x, weight[:2], mask),
        ),
        Variant(
            "200 draws (draw_maps)",
            lambda: maths.draw_maps(two, generator, 200, RATE),
        ),
    ]
    compare("localisation maps of one image with two classes", rows, rounds)


def training(x: Tensor, weight: Tensor, mask: Tensor, rounds: int) -> None:
    rows = [
        Variant(
            "expanded map (paper)",
            lambda: train_step(expanded_pool, x, weight, mask),
            error,
        ),
        Variant(
            "pooled_scores",
            lambda: train_step(maths.pooled_scores, x, weight, mask),
            error,
        ),
    ]
    title = "training: pooled scores of one image and their gradients"
    compare(title, rows, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cells", type=int, default=41)
    parser.add_argument("--channels", type=int, default=512)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    n = options.cells
    k = options.channels
    x = torch.rand(1, k, n, n, generator=generator)
    weight = torch.randn(CLASSES, k, S, S, generator=generator)
    weight = weight / (k * S * S) ** 0.5
    mask = maths.centre_preserving_mask(generator, 1, n, n, S, RATE)
    with torch.no_grad():
        one_draw(x, weight, mask, options.rounds)
        many_draws(x, weight, mask, generator, options.rounds)
    training(x, weight, mask, options.rounds)


if __name__ == "__main__":
    main()
