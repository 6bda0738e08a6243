"""Dense CRF of 81 labels: all of them against the twenty that a pixel believes in most.

    OMP_NUM_THREADS=1 python benchmarks/bench_many_labels.py [--rounds 2] [--photographs 6]

Photographs and masks of the test data that WSSS_BENCH_TEST_DATA names. Probabilities are like a segmentor's: the true
mask, blurred, at a margin of 8 logits over every other class, under smooth noise of deviation 1.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from _rounds import Variant, compare
from PIL import Image

from wsss_bench.toolbox.crf import crf_labels, likely_classes
from wsss_bench.toolbox.crf_presets import PRESETS

CLASSES = 81
MARGIN = 8.0


def pairs(number: int) -> list[tuple[np.ndarray, np.ndarray]]:
    root = Path(os.environ["WSSS_BENCH_TEST_DATA"]) / "voc-pack/VOCdevkit/VOC2012"
    masks = sorted((root / "SegmentationClass").glob("*.png"))
    step = max(len(masks) // number, 1)
    found = []
    for place, path in enumerate(masks[::step][:number]):
        photograph = root / "JPEGImages" / f"{path.stem}.jpg"
        image = np.array(Image.open(photograph).convert("RGB"))
        mask = np.array(Image.open(path))
        found.append((image, probabilities(mask, place)))
    return found


def probabilities(mask: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    height, width = mask.shape
    logits = np.empty((CLASSES, height, width), np.float32)
    for label in range(CLASSES):
        there = cv2.GaussianBlur((mask == label).astype(np.float32), (0, 0), 6)
        coarse = rng.normal(0, 1, (12, 16)).astype(np.float32)
        noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        logits[label] = MARGIN * there + noise
    powers = np.exp(logits - logits.max(0))
    return powers / powers.sum(0)


def check(reference: object, result: object) -> str:
    one, two = np.concatenate(list(reference)), np.concatenate(list(result))  # type: ignore[call-overload]
    return f"{100 * (one != two).mean():.4f} % of labels differ"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--photographs", type=int, default=6)
    args = parser.parse_args()
    chosen = pairs(args.photographs)

    def labels(classes: str) -> list[np.ndarray]:
        params = PRESETS["deeplab"]
        return [crf_labels(i, p, params, classes).ravel() for i, p in chosen]  # type: ignore[arg-type]

    kept = [len(likely_classes(probs)) for _, probs in chosen]
    print(f"likely labels: {kept}")
    rows = [
        Variant("all 81 labels", partial(labels, "all"), check),
        Variant("the likely ones", partial(labels, "likely"), check),
    ]
    title = "81 labels, ms per photograph"
    compare(title, rows, args.rounds, per=len(chosen))


if __name__ == "__main__":
    main()
