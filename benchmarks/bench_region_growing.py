"""Deep seeded region growing, 41x41 cells, 21 classes, batch 20: ours against union-find in plain Python.

    OMP_NUM_THREADS=1 python benchmarks/bench_region_growing.py [--rounds 5]

The peer labels 8-connected components cell by cell with a union-find forest, class by class, as DSRG's released
training layer does, written anew here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
from _rounds import Variant, compare

from wsss_bench.toolbox.region_growing import grow, grow_batch, grow_reference

BATCH = 20
CLASSES = 21
SIDE = 41

Case = tuple[np.ndarray, np.ndarray, list[list[int]]]


Cell = tuple[int, int]


class Forest:
    """A union-find forest of cells."""

    def __init__(self) -> None:
        self.parent: dict[Cell, Cell] = {}

    def root(self, cell: Cell) -> Cell:
        parent = self.parent
        while parent[cell] != cell:
            # Halving the way up keeps the trees flat.
            parent[cell] = parent[parent[cell]]
            cell = parent[cell]
        return cell

    def add(self, y: int, x: int) -> None:
        """Add a cell, joined to its neighbours that come before it in reading order."""
        self.parent[y, x] = (y, x)
        for other in ((y, x - 1), (y - 1, x - 1), (y - 1, x), (y - 1, x + 1)):
            if other in self.parent:
                self.parent[self.root(other)] = self.root((y, x))


def union_find(cues: np.ndarray, probs: np.ndarray, present: list[int]) -> np.ndarray:
    tagged = [0, *present]
    labels = confident(cues, probs, tagged)
    grown = cues.copy()
    for c in tagged:
        forest = Forest()
        for y in range(SIDE):
            for x in range(SIDE):
                if labels[y, x] == c:
                    forest.add(y, x)
        accepted = {forest.root(cell) for cell in forest.parent if cues[cell] == c}
        for cell in forest.parent:
            if cues[cell] == 255 and forest.root(cell) in accepted:
                grown[cell] = c
    return grown


def confident(cues: np.ndarray, probs: np.ndarray, tagged: list[int]) -> np.ndarray:
    labels = cues.copy()
    for y in range(SIDE):
        for x in range(SIDE):
            best = max(tagged, key=lambda c: probs[c, y, x])
            threshold = np.float32(0.99 if best == 0 else 0.85)
            if probs[best, y, x] > threshold:
                labels[y, x] = best
    return labels


def case(rng: np.random.Generator, smooth: bool) -> Case:
    import cv2

    side = 6 if smooth else SIDE
    logits = 8 * rng.normal(size=(BATCH, CLASSES, side, side)).astype(np.float32)
    present = []
    for _ in range(BATCH):
        number = rng.integers(1, 4)
        tags = rng.choice(np.arange(1, CLASSES), size=number, replace=False)
        present.append(sorted(tags.tolist()))
    probs = np.empty((BATCH, CLASSES, SIDE, SIDE), np.float32)
    for i, tags in enumerate(present):
        logits[i, [0, *tags]] += 25
        sides = (SIDE, SIDE)
        planes = np.stack(
            [cv2.resize(p, sides, interpolation=cv2.INTER_CUBIC) for p in logits[i]]
        )
        powers = np.exp(planes - planes.max(axis=0))
        probs[i] = powers / powers.sum(axis=0)
    cues = np.full((BATCH, SIDE, SIDE), 255, np.uint8)
    for i, tags in enumerate(present):
        sure = probs[i].argmax(axis=0)
        for c in (0, *tags):
            cells = np.argwhere(sure == c)
            # An eighth of every region, as a classifier's seeds cover a part of an object.
            few = max(len(cells) // 8, 1)
            for y, x in cells[rng.permutation(len(cells))[:few]]:
                cues[i, y, x] = c
    return cues, probs, present


def each(
    images: list[tuple[np.ndarray, np.ndarray, list[int]]],
    rule: Callable[..., np.ndarray],
) -> np.ndarray:
    return np.stack([rule(*image) for image in images])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for name, smooth in (("smooth maps", True), ("noise", False)):
        cues, probs, present = case(np.random.default_rng(0), smooth)

        def check(reference: object, result: object, cues: np.ndarray = cues) -> str:
            a = np.asarray(reference)
            b = np.asarray(result)
            differ = int((a != b).sum())
            grown = int((b != cues).sum())
            return f"{differ} of {a.size} cells differ, {grown} grown"

        images = list(zip(cues, probs, present, strict=True))
        batch = (cues, probs, present)
        rows = [
            Variant(
                "union-find, plain Python", partial(each, images, union_find), check
            ),
            Variant(
                "grow_reference (scipy.ndimage)",
                partial(each, images, grow_reference),
                check,
            ),
            Variant("grow, image by image", partial(each, images, grow), check),
            Variant("grow_batch", partial(grow_batch, *batch), check),
        ]
        compare(f"region growing, {name}, ms per batch of {BATCH}", rows, rounds)


if __name__ == "__main__":
    main()
