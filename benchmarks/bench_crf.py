"""Dense CRF: the compiled back end against pydensecrf, at the constants of DSRG.

    OMP_NUM_THREADS=1 python benchmarks/bench_crf.py [--rounds 3] [--labels 2 3 4 8 21]

Photographs where WSSS_BENCH_TEST_DATA names the test data (scaled to 500x375), else smooth random colour fields.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from _rounds import Variant, compare

from wsss_bench.toolbox.crf import dense_crf, dense_crf_shared, unary_from_probabilities
from wsss_bench.toolbox.crf_presets import PRESETS

SIZE = (375, 500)
PARAMS = PRESETS["dsrg"]


def pictures(number: int) -> list[np.ndarray]:
    import cv2

    root = os.environ.get("WSSS_BENCH_TEST_DATA")
    if root:
        files = sorted(
            (Path(root) / "voc-pack" / "VOCdevkit" / "VOC2012" / "JPEGImages").glob(
                "*.jpg"
            )
        )
        chosen = files[:: max(len(files) // number, 1)][:number]
        return [cv2.resize(cv2.imread(str(f))[:, :, ::-1], SIZE[::-1]) for f in chosen]
    rng = np.random.default_rng(0)
    coarse = [rng.integers(0, 256, (7, 9, 3), dtype=np.uint8) for _ in range(number)]
    fields = [cv2.resize(c, SIZE[::-1], interpolation=cv2.INTER_CUBIC) for c in coarse]
    return [
        np.clip(f + rng.normal(0, 8, f.shape), 0, 255).astype(np.uint8) for f in fields
    ]


def energies(
    rng: np.random.Generator, labels: int, size: tuple[int, int]
) -> np.ndarray:
    import cv2

    logits = np.stack(
        [
            cv2.resize(rng.normal(0, 2, (8, 10)).astype(np.float32), size[::-1])
            for _ in range(labels)
        ]
    )
    powers = np.exp(logits - logits.max(axis=0))
    return unary_from_probabilities(powers / powers.sum(axis=0))


def check(reference: object, result: object) -> str:
    a, b = np.asarray(reference), np.asarray(result)
    wrong = int((a.argmax(axis=-3) != b.argmax(axis=-3)).sum())
    return f"{wrong} of {a[..., 0, :, :].size} labels differ, max |dQ| {np.abs(a - b).max():.1e}"


def by_labels(labels: list[int], rounds: int) -> None:
    images = pictures(2)
    for k in labels:
        unary = [
            energies(np.random.default_rng(k + i), k, SIZE) for i in range(len(images))
        ]
        pairs = list(zip(images, unary, strict=True))

        def run(
            backend: str, pairs: list[tuple[np.ndarray, np.ndarray]] = pairs
        ) -> np.ndarray:
            return np.stack([dense_crf(i, u, PARAMS, backend) for i, u in pairs])  # type: ignore[arg-type]

        rows = [
            Variant("pydensecrf", lambda run=run: run("pydensecrf"), check),
            Variant("numba", lambda run=run: run("numba"), check),
        ]
        compare(f"{k} labels, 500x375, ms per image", rows, rounds, per=len(images))


def in_threads(rounds: int) -> None:
    pairs = [
        (image, energies(np.random.default_rng(i), 3, SIZE))
        for i, image in enumerate(pictures(4))
    ]

    def serial(backend: str) -> np.ndarray:
        return np.stack([dense_crf(i, u, PARAMS, backend) for i, u in pairs])  # type: ignore[arg-type]

    def threaded(backend: str) -> np.ndarray:
        with ThreadPoolExecutor(2) as pool:
            return np.stack(
                list(pool.map(lambda pair: dense_crf(*pair, PARAMS, backend), pairs))
            )  # type: ignore[arg-type]

    rows = [
        Variant("pydensecrf", lambda: serial("pydensecrf"), check),
        Variant("pydensecrf, 2 threads", lambda: threaded("pydensecrf"), check),
        Variant("numba", lambda: serial("numba"), check),
        Variant("numba, 2 threads", lambda: threaded("numba"), check),
    ]
    compare("4 images of 3 labels, 500x375, ms per image", rows, rounds, per=len(pairs))


def absent_classes(rounds: int) -> None:
    image = pictures(1)[0]
    present, absent = (
        energies(np.random.default_rng(1), 3, SIZE),
        np.full(SIZE, -np.log(1e-5), np.float32),
    )
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
    batch, params = 8, PARAMS.scaled(12)
    images = np.stack(
        [
            cv2.resize(image, (41, 41), interpolation=cv2.INTER_AREA)
            for image in pictures(batch)
        ]
    )
    unary = np.stack(
        [energies(np.random.default_rng(i), 21, (41, 41)) for i in range(batch)]
    )
    tensors = torch.tensor(images).float(), torch.tensor(unary)

    def close(reference: object, result: object) -> str:
        a, b = np.asarray(reference), np.asarray(result)
        return f"{100 * (a.argmax(1) != b.argmax(1)).mean():.2f} % of labels differ, mean |dQ| {np.abs(a - b).mean():.1e}"

    rows = [
        Variant(
            "pydensecrf",
            lambda: np.stack(
                [
                    dense_crf(i, u, params, "pydensecrf")
                    for i, u in zip(images, unary, strict=True)
                ]
            ),
            close,
        ),
        Variant(
            "numba",
            lambda: np.stack(
                [
                    dense_crf(i, u, params, "numba")
                    for i, u in zip(images, unary, strict=True)
                ]
            ),
            close,
        ),
        Variant(
            "exact, batched (no lattice)",
            lambda: meanfield_exact(*tensors, params).numpy(),
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
