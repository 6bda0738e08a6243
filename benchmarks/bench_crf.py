"""Dense CRF: the compiled back end against pydensecrf, at the constants of DSRG.

    OMP_NUM_THREADS=1 python benchmarks/bench_crf.py [--rounds 3] [--labels 2 3 4 8 21]

Photographs where WSSS_BENCH_TEST_DATA names the test data (scaled to 500x375), else smooth random colour fields.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from _rounds import Variant, compare

from wsss_bench.toolbox.crf import (
    Backend,
    dense_crf,
    dense_crf_shared,
    unary_from_probabilities,
)
from wsss_bench.toolbox.crf_presets import PRESETS, CrfParams

SIZE = (375, 500)
PARAMS = PRESETS["dsrg"]

Pairs = Sequence[tuple[np.ndarray, np.ndarray]]
"""Images and energies."""


def pictures(number: int) -> list[np.ndarray]:
    import cv2

    root = os.environ.get("WSSS_BENCH_TEST_DATA")
    if root:
        folder = Path(root) / "voc-pack" / "VOCdevkit" / "VOC2012" / "JPEGImages"
        files = sorted(folder.glob("*.jpg"))
        # Spread over the set: neighbours in it are often of one scene.
        step = max(len(files) // number, 1)
        chosen = files[::step][:number]
        return [cv2.resize(cv2.imread(str(f))[:, :, ::-1], SIZE[::-1]) for f in chosen]
    rng = np.random.default_rng(0)
    coarse = [rng.integers(0, 256, (7, 9, 3), dtype=np.uint8) for _ in range(number)]
    noisy = []
    for one in coarse:
        field = cv2.resize(one, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        field = field + rng.normal(0, 8, field.shape)
        noisy.append(np.clip(field, 0, 255).astype(np.uint8))
    return noisy


def energies(seed: int, labels: int, size: tuple[int, int]) -> np.ndarray:
    import cv2

    rng = np.random.default_rng(seed)
    planes = []
    for _ in range(labels):
        coarse = rng.normal(0, 2, (8, 10)).astype(np.float32)
        planes.append(cv2.resize(coarse, size[::-1]))
    logits = np.stack(planes)
    powers = np.exp(logits - logits.max(axis=0))
    return unary_from_probabilities(powers / powers.sum(axis=0))


def each(pairs: Pairs, backend: Backend, params: CrfParams = PARAMS) -> np.ndarray:
    return np.stack([dense_crf(i, u, params, backend) for i, u in pairs])


def check(reference: object, result: object) -> str:
    a = np.asarray(reference)
    b = np.asarray(result)
    wrong = int((a.argmax(axis=-3) != b.argmax(axis=-3)).sum())
    pixels = a[..., 0, :, :].size
    apart = np.abs(a - b).max()
    return f"{wrong} of {pixels} labels differ, max |dQ| {apart:.1e}"


def by_labels(labels: list[int], rounds: int) -> None:
    images = pictures(2)
    for k in labels:
        pairs = [(image, energies(k + i, k, SIZE)) for i, image in enumerate(images)]
        rows = [
            Variant("pydensecrf", partial(each, pairs, "pydensecrf"), check),
            Variant("numba", partial(each, pairs, "numba"), check),
        ]
        compare(f"{k} labels, 500x375, ms per image", rows, rounds, per=len(images))


def in_threads(rounds: int) -> None:
    images = pictures(4)
    pairs = [(image, energies(i, 3, SIZE)) for i, image in enumerate(images)]

    def threaded(backend: Backend) -> np.ndarray:
        def one(pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
            return dense_crf(*pair, PARAMS, backend)

        with ThreadPoolExecutor(2) as pool:
            return np.stack(list(pool.map(one, pairs)))

    rows = [
        Variant("pydensecrf", lambda: each(pairs, "pydensecrf"), check),
        Variant("pydensecrf, 2 threads", lambda: threaded("pydensecrf"), check),
        Variant("numba", lambda: each(pairs, "numba"), check),
        Variant("numba, 2 threads", lambda: threaded("numba"), check),
    ]
    compare("4 images of 3 labels, 500x375, ms per image", rows, rounds, per=len(pairs))


def absent_classes(rounds: int) -> None:
    image = pictures(1)[0]
    present = energies(1, 3, SIZE)
    absent = np.full(SIZE, -np.log(1e-5), np.float32)
    everything = np.concatenate([present, np.broadcast_to(absent, (18, *SIZE))])
    rows = [
        Variant(
            "pydensecrf, all 21 labels",
            lambda: dense_crf(image, everything, PARAMS, "pydensecrf")[:3],
            check,
        ),
        Variant(
            "present only (approximation)",
            lambda: dense_crf(image, present, PARAMS),
            check,
        ),
        Variant(
            "present + one for 18 absent (exact)",
            lambda: dense_crf_shared(image, present, absent, 18, PARAMS),
            check,
        ),
    ]
    compare("3 present of 21 classes, 500x375, ms per image", rows, rounds)


def training_grid(rounds: int) -> None:
    import cv2
    import torch

    from wsss_bench.toolbox.crf_exact import meanfield_exact

    torch.set_num_threads(1)
    batch = 8
    params = PARAMS.scaled(12)
    pairs = []
    for i, image in enumerate(pictures(batch)):
        small = cv2.resize(image, (41, 41), interpolation=cv2.INTER_AREA)
        pairs.append((small, energies(i, 21, (41, 41))))
    images = torch.tensor(np.stack([image for image, _ in pairs])).float()
    unary = torch.tensor(np.stack([unary for _, unary in pairs]))

    def close(reference: object, result: object) -> str:
        a = np.asarray(reference)
        b = np.asarray(result)
        differ = 100 * (a.argmax(1) != b.argmax(1)).mean()
        apart = np.abs(a - b).mean()
        return f"{differ:.2f} % of labels differ, mean |dQ| {apart:.1e}"

    rows = [
        Variant("pydensecrf", lambda: each(pairs, "pydensecrf", params), close),
        Variant("numba", lambda: each(pairs, "numba", params), close),
        Variant(
            "exact, batched (no lattice)",
            lambda: meanfield_exact(images, unary, params).numpy(),
            close,
        ),
    ]
    compare(f"training grid 41x41, 21 labels, ms per batch of {batch}", rows, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--labels", type=int, nargs="+", default=[2, 3, 4, 8, 21])
    options = parser.parse_args()
    by_labels(options.labels, options.rounds)
    in_threads(options.rounds)
    absent_classes(options.rounds)
    training_grid(options.rounds)


if __name__ == "__main__":
    main()
