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

S, CLASSES, RATE = 9, 20, 0.9


def window_loop(x: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """Window by window: one small product per output cell."""
    _, _, h, w = x.shape
    padded = F.pad(x, (S // 2,) * 4)[0]
    flat = weight.flatten(1)
    out = x.new_empty(weight.shape[0], h, w)
    for i in range(h):
        for j in range(w):
            out[:, i, j] = flat @ (
                padded[:, i : i + S, j : j + S] * mask[0, :, i, j].view(S, S)
            ).reshape(-1)
    return out[None]


def unfolded(x: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    windows = F.unfold(x, S, padding=S // 2).view(x.shape[1], S * S, -1) * mask.view(
        1, S * S, -1
    )
    return (weight.flatten(1) @ windows.flatten(0, 1)).view(1, -1, *x.shape[2:])


def error(reference: object, result: object) -> str:
    a, b = torch.as_tensor(reference), torch.as_tensor(result)
    if a.shape != b.shape:
        return ""
    return f"max difference {((a - b).abs().max() / a.abs().max()).item():.1e} of max"


def expanded_pool(x: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    return maths.expanded_scores(x, weight, mask).mean(dim=(2, 3))


def train_step(
    pool: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
) -> Tensor:
    leaf_x, leaf_w = x.detach().requires_grad_(), weight.detach().requires_grad_()
    scores = pool(leaf_x, leaf_w, mask)
    F.multilabel_soft_margin_loss(scores, torch.ones_like(scores)).backward()
    assert leaf_w.grad is not None
    return leaf_w.grad


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
    n, k = options.cells, options.channels
    x, weight = (
        torch.rand(1, k, n, n, generator=generator),
        torch.randn(CLASSES, k, S, S, generator=generator) / (k * S * S) ** 0.5,
    )
    mask = maths.centre_preserving_mask(generator, 1, n, n, S, RATE)
    y = maths.project(x, weight)
    two = maths.project(x, weight[:2])
    with torch.no_grad():
        compare(
            f"one draw, score map, {k}x{n}x{n}",
            [
                Variant(
                    "window by window", lambda: window_loop(x, weight, mask), error
                ),
                Variant(
                    "expanded map, stride-9 convolution (paper)",
                    lambda: maths.expanded_scores(x, weight, mask),
                    error,
                ),
                Variant(
                    "unfold and matrix product",
                    lambda: unfolded(x, weight, mask),
                    error,
                ),
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
            ],
            options.rounds,
        )
        compare(
            "localisation maps of one image with two classes",
            [
                Variant(
                    "one draw, window by window",
                    lambda: window_loop(x, weight[:2], mask),
                ),
                Variant(
                    "200 draws (draw_maps)",
                    lambda: maths.draw_maps(two, generator, 200, RATE),
                ),
            ],
            options.rounds,
        )
    compare(
        "training: pooled scores of one image and their gradients",
        [
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
        ],
        options.rounds,
    )


if __name__ == "__main__":
    main()
