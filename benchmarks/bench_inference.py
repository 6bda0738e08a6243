"""CAM inference in batches of one size against one photograph at a time.

    OMP_NUM_THREADS=2 python benchmarks/bench_inference.py [--rounds 2] [--photographs 16] [--device cpu]

MobileNetV2 with random weights, two scales and mirror; photographs of the test data that WSSS_BENCH_TEST_DATA names,
brought to 375x500, so that all may share a batch.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _rounds import Variant, compare
from PIL import Image

from wsss_bench.contract.artifacts import SeedWriter
from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakImage, WeakView
from wsss_bench.toolbox.classifier import build_classifier, write_seeds

PARAMS: dict[str, Any] = {
    "backbone": "mobilenet_v2",
    "weights": None,
    "normalize": "tf",
    "scales": (1.0, 0.5),
}


def photographs(number: int, folder: Path) -> WeakView:
    root = Path(os.environ["WSSS_BENCH_TEST_DATA"]) / "voc-pack/VOCdevkit/VOC2012"
    files = sorted((root / "JPEGImages").glob("*.jpg"))
    step = max(len(files) // number, 1)
    images = []
    for place, path in enumerate(files[::step][:number]):
        target = folder / f"{path.stem}.png"
        Image.open(path).convert("RGB").resize((500, 375)).save(target)
        images.append(WeakImage(path.stem, target, (1 + place % 20,)))
    names = ["background", *(f"class {number}" for number in range(1, 21))]
    return WeakView("photographs", "train", names, images)


def seeds(view: WeakView, model: Any, device: str, batch: int) -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        params = {**PARAMS, "test_batch": batch}
        ctx = StageContext(0, device, params, folder, folder)
        made = write_seeds(model, view, SeedWriter(folder / "s", view, "bench"), ctx)
        return [made[image.id].scores for image in view]


def check(reference: object, result: object) -> str:
    pairs = zip(reference, result, strict=True)  # type: ignore[call-overload]
    return f"max difference {max(np.abs(a - b).max() for a, b in pairs):.1e} (float16)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--photographs", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    model = build_classifier(PARAMS, 20).to(args.device).eval()
    with tempfile.TemporaryDirectory() as place:
        view = photographs(args.photographs, Path(place))
        rows = []
        for batch in (1, 2, 4, 16):
            run = partial(seeds, view, model, args.device, batch)
            rows.append(Variant(f"batches of {batch}", run, check))
        title = f"CAM of photographs of 375x500 on {args.device}, ms each"
        compare(title, rows, args.rounds, per=len(view))


if __name__ == "__main__":
    main()
