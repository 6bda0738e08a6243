"""Deep seeded region growing, 41x41 cells, 21 classes, batch 20: ours against union-find in plain Python.

    OMP_NUM_THREADS=1 python benchmarks/bench_region_growing.py [--rounds 5]

The peer labels 8-connected components cell by cell with a union-find forest, class by class, as DSRG's released training
layer does, written anew here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from _rounds import Variant, compare

from wsss_bench.toolbox.region_growing import grow, grow_batch, grow_reference

BATCH, CLASSES, SIDE = 20, 21, 41
Case = tuple[np.ndarray, np.ndarray, list[list[int]]]


def union_find(cues: np.ndarray, probs: np.ndarray, present: list[int]) -> np.ndarray:
    theta_f, theta_b = 0.85, 0.99
    tagged = [0, *present]
    grown = cues.copy()
    labels = cues.copy()
    for y in range(SIDE):
        for x in range(SIDE):
            best = max(tagged, key=lambda c: probs[c, y, x])
            if probs[best, y, x] > np.float32(theta_b if best == 0 else theta_f):
                labels[y, x] = best
    for c in tagged:
        parent: dict[tuple[int, int], tuple[int, int]] = {}

        def root(
            cell: tuple[int, int],
            parent: dict[tuple[int, int], tuple[int, int]] = parent,
        ) -> tuple[int, int]:
            while parent[cell] != cell:
                parent[cell] = parent[parent[cell]]
                cell = parent[cell]
            return cell

        for y in range(SIDE):
            for x in range(SIDE):
                if labels[y, x] != c:
                    continue
                parent[y, x] = (y, x)
                for other in ((y, x - 1), (y - 1, x - 1), (y - 1, x), (y - 1, x + 1)):
                    if other in parent:
                        parent[root(other)] = root((y, x))
        accepted = {root(cell) for cell in parent if cues[cell] == c}
        for cell in parent:
            if cues[cell] == 255 and root(cell) in accepted:
                grown[cell] = c
    return grown


def case(rng: np.random.Generator, smooth: bool) -> Case:
    import cv2

    side = 6 if smooth else SIDE
    logits = 8 * rng.normal(size=(BATCH, CLASSES, side, side)).astype(np.float32)
    present = [
        sorted(
            rng.choice(
                np.arange(1, CLASSES), size=rng.integers(1, 4), replace=False
            ).tolist()
        )
        for _ in range(BATCH)
    ]
    probs = np.empty((BATCH, CLASSES, SIDE, SIDE), np.float32)
    for i, tags in enumerate(present):
        logits[i, [0, *tags]] += 25
        planes = np.stack(
            [
                cv2.resize(plane, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
                for plane in logits[i]
            ]
        )
        powers = np.exp(planes - planes.max(axis=0))
        probs[i] = powers / powers.sum(axis=0)
    cues = np.full((BATCH, SIDE, SIDE), 255, np.uint8)
    for i, tags in enumerate(present):
        sure = probs[i].argmax(axis=0)
        for c in (0, *tags):
            cells = np.argwhere(sure == c)
            for y, x in cells[rng.permutation(len(cells))[: max(len(cells) // 8, 1)]]:
                cues[i, y, x] = c
    return cues, probs, present


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for name, smooth in (("smooth maps", True), ("noise", False)):
        cues, probs, present = case(np.random.default_rng(0), smooth)

        def check(reference: object, result: object, cues: np.ndarray = cues) -> str:
            a, b = np.asarray(reference), np.asarray(result)
            return f"{int((a != b).sum())} of {a.size} cells differ, {int((b != cues).sum())} grown"

        images = list(zip(cues, probs, present, strict=True))

        def each(
            rule: Callable[..., np.ndarray],
            images: list[tuple[np.ndarray, np.ndarray, list[int]]] = images,
        ) -> np.ndarray:
            return np.stack([rule(*image) for image in images])

        rows = [
            Variant(
                "union-find, plain Python", lambda each=each: each(union_find), check
            ),
            Variant(
                "grow_reference (scipy.ndimage)",
                lambda each=each: each(grow_reference),
                check,
            ),
            Variant("grow, image by image", lambda each=each: each(grow), check),
            Variant(
                "grow_batch",
                lambda c=cues, p=probs, t=present: grow_batch(c, p, t),
                check,
            ),
        ]
        compare(f"region growing, {name}, ms per batch of {BATCH}", rows, rounds)


if __name__ == "__main__":
    main()
