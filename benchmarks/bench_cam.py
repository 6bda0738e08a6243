"""Class activation maps of IRN's network (ResNet-50, stride 16), 500x375: what each step of inference buys.

    OMP_NUM_THREADS=1 python benchmarks/bench_cam.py [--rounds 3] [--scales 1.0] [--backbone resnet50]

Weights are random, which the time does not depend on. The peer runs the network as trained and enlarges the maps of all
20 classes before it picks the present ones. What bfloat16 does to the mIoU of trained networks is measured by a run
instead:

    wsss-bench run --methods 'cam/-/-,cam[test_amp=bf16]/-/-' --dataset voc2012 ...
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from _rounds import Variant, compare
from torch import Tensor

from wsss_bench.engine.folding import folded
from wsss_bench.engine.models import MultiLabelClassifier
from wsss_bench.engine.precision import autocast
from wsss_bench.toolbox.classifier import (
    build_classifier,
    linear_cam,
    multi_scale,
    normalized,
    pixels_of,
)

SIZE = (375, 500)
CLASSES = 20
PRESENT = [4, 11]


def peer(
    model: MultiLabelClassifier, image: np.ndarray, scales: tuple[float, ...]
) -> Tensor:
    grid = (-(-SIZE[0] // 4), -(-SIZE[1] // 4))
    everything = list(range(CLASSES))
    total = torch.zeros(CLASSES, *SIZE)
    low = torch.zeros(CLASSES, *grid)
    for scale in scales:
        size = (round(SIZE[0] * scale), round(SIZE[1] * scale))
        pixels = pixels_of(image, size, "cpu")
        maps = linear_cam(model, pixels, everything)
        mirrored = linear_cam(model, pixels.flip(3), everything)
        maps = maps + mirrored.flip(2)
        total += enlarged(maps, SIZE)
        low += enlarged(maps, grid)
    return normalized(low[PRESENT])


def enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]


def ours(
    model: MultiLabelClassifier,
    image: np.ndarray,
    scales: tuple[float, ...],
    precision: str = "",
) -> Tensor:
    with autocast(precision, "precision", "cpu"):
        return multi_scale(model, image, PRESENT, scales, "cpu")


def check(reference: object, result: object) -> str:
    apart = torch.as_tensor(reference) - torch.as_tensor(result)
    return f"max difference {apart.abs().max().item():.1e} of max"


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0])
    parser.add_argument("--backbone", default="resnet50")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = build_classifier(
        {"backbone": options.backbone, "weights": None, "normalize": "imagenet"},
        CLASSES,
    ).eval()
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    scales = tuple(options.scales)
    fast = folded(model)
    rows = [
        Variant(
            "as trained, all classes enlarged",
            lambda: peer(model, image, scales),
            check,
        ),
        Variant("present classes only", lambda: ours(model, image, scales), check),
        Variant(
            "+ folded norms, channels last (default)",
            lambda: ours(fast, image, scales),
            check,
        ),
        Variant(
            "+ bfloat16 (test_amp=bf16)",
            lambda: ours(fast, image, scales, "bf16"),
            check,
        ),
    ]
    compare(
        f"CAM, {options.backbone}, scales {scales} with mirror, 500x375, ms per image",
        rows,
        options.rounds,
    )


if __name__ == "__main__":
    main()
