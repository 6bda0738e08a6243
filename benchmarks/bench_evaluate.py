"""Evaluator against its peers, side by side in one process: counts, threshold curves, bootstrap.

    OMP_NUM_THREADS=1 python benchmarks/bench_evaluate.py [--images 24] [--rounds 5]

Every variant of a table is timed in turn, round after round, with garbage collection off; a ratio is the median over
rounds of (reference / variant). Results are compared before they are timed. The masks are VOC 2012 masks scaled to
500x375 where WSSS_BENCH_TEST_DATA names the test data, else ellipses of the same size.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

SIZE = (375, 500)
CLASSES = tuple(f"class{k}" for k in range(21))

Variant = tuple[str, Callable[[], object]]


def masks(number: int) -> list[np.ndarray]:
    root = os.environ.get("WSSS_BENCH_TEST_DATA")
    if root:
        from PIL import Image

        folder = Path(root) / "voc-pack" / "VOCdevkit" / "VOC2012"
        split = folder / "ImageSets" / "Segmentation" / "val.txt"
        found = []
        for image_id in split.read_text().split()[:number]:
            image = Image.open(folder / "SegmentationClassAug" / f"{image_id}.png")
            image = image.resize(SIZE[::-1], Image.Resampling.NEAREST)
            found.append(np.asarray(image).astype(np.uint8))
        return found
    return [ellipses(np.random.default_rng(k)) for k in range(number)]


def ellipses(rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    for klass in rng.choice(np.arange(1, 21), size=rng.integers(1, 4), replace=False):
        cy = rng.integers(40, 330)
        cx = rng.integers(40, 460)
        a = rng.integers(20, 120)
        b = rng.integers(20, 120)
        distance = ((y - cy) / a) ** 2 + ((x - cx) / b) ** 2
        mask[distance < 1.05] = 255
        mask[distance < 1] = klass
    return mask


def predictions(truths: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Truth shifted by a few pixels, the ignored border given to the background: mostly right, wrong at the edges."""
    found = []
    for truth in truths:
        filled = np.where(truth == 255, 0, truth)
        found.append(np.roll(filled, (5, 9), (0, 1)).astype(np.uint8))
    return found


def seeds(truths: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    import cv2

    out = []
    for k, truth in enumerate(truths):
        rng = np.random.default_rng(k)
        classes = [c for c in np.unique(truth) if 0 < c < 255]
        ids = np.asarray(classes or [1], np.int64)
        noise = rng.random((len(ids), 24, 32)).astype(np.float32)
        scores = []
        for c, coarse in zip(ids, noise, strict=True):
            inside = (truth == c).astype(np.float32)
            plane = cv2.GaussianBlur(inside, (0, 0), 15)
            scores.append(0.7 * plane + 0.3 * cv2.resize(coarse, SIZE[::-1]))
        out.append((ids, np.clip(np.stack(scores), 0, 1).astype(np.float32)))
    return out


def race(
    title: str,
    variants: Sequence[Variant],
    per: int,
    rounds: int,
    unit: str = "ms/image",
) -> None:
    """Print a table; the first variant is the reference."""
    times: dict[str, list[float]] = {name: [] for name, _ in variants}
    for _, run in variants:
        run()
    gc.disable()
    for _ in range(rounds):
        for name, run in variants:
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) / per * 1e3)
    gc.enable()
    reference = times[variants[0][0]]
    print(
        f"\n## {title}\n\n"
        f"| variant | {unit}: median (min-max) | ratio |\n| --- | ---: | ---: |"
    )
    for name, own in times.items():
        ratio = statistics.median(r / o for r, o in zip(reference, own, strict=True))
        spread = f"({min(own):.3g}-{max(own):.3g})"
        print(f"| {name} | {statistics.median(own):.3g} {spread} | {ratio:.3g}x |")


def bench_counts(truths: Sequence[np.ndarray], rounds: int) -> None:
    from bench_evaluate_peers import mmseg_areas, numpy_confusion

    from wsss_bench.evaluate import CountsBuilder

    predicted = predictions(truths)

    def ours() -> np.ndarray:
        builder = CountsBuilder(CLASSES)
        for k, (p, t) in enumerate(zip(predicted, truths, strict=True)):
            builder.add(str(k), p, t)
        return builder.result().confusion

    peer = mmseg_areas(
        len(CLASSES),
        list(map(np.int64, predicted)),
        list(map(np.int64, truths)),
    )
    confusion = ours()
    areas = peer()
    hits = np.diagonal(confusion)
    union = confusion.sum(0)[:-1] + confusion.sum(1) - hits
    assert np.array_equal(hits, areas[0]), "intersection differs from mmseg"
    assert np.array_equal(union, areas[1]), "union differs"
    plain = numpy_confusion(len(CLASSES), predicted, truths)
    assert np.array_equal(plain(), confusion[:, :-1]), "confusion differs from numpy"
    variants = [
        ("mmseg IoUMetric", peer),
        ("numpy bincount", plain),
        ("wsss-bench", ours),
    ]
    race("Counts of one image (500x375, 21 classes)", variants, len(truths), rounds)


def bench_memory(truths: Sequence[np.ndarray]) -> None:
    from wsss_bench.evaluate import CountsBuilder, CurveBuilder

    print(
        "\n## Memory kept per image while scoring\n\n"
        "| images | counts: bytes/image | curve: bytes/image |\n| ---: | ---: | ---: |"
    )
    predicted = predictions(truths)
    scored = seeds(truths)
    for number in (200, 1600):
        kept = []
        for builder in (CountsBuilder(CLASSES), CurveBuilder(CLASSES)):
            tracemalloc.start()
            for k in range(number):
                j = k % len(truths)
                if isinstance(builder, CountsBuilder):
                    builder.add(str(k), predicted[j], truths[j])
                else:
                    builder.add(str(k), *scored[j], truths[j])
            kept.append(tracemalloc.get_traced_memory()[0] / number)
            tracemalloc.stop()
        print(f"| {number} | {kept[0]:.0f} | {kept[1]:.0f} |")


def bench_curve(truths: Sequence[np.ndarray], rounds: int) -> None:
    from bench_evaluate_peers import numpy_sweep, passes

    from wsss_bench.evaluate import CurveBuilder

    truths = truths[:6]
    scored = seeds(truths)

    def ours() -> np.ndarray:
        builder = CurveBuilder(CLASSES)
        for k, ((ids, scores), t) in enumerate(zip(scored, truths, strict=True)):
            builder.add(str(k), ids, scores, t)
        return builder.result().confusion

    thresholds = (np.arange(101) / 100).astype(np.float32)
    peer = passes(scored, truths, thresholds)
    one = passes(scored, truths, thresholds[20:21])
    single = numpy_sweep(scored, truths, thresholds)
    curve = ours()
    assert np.array_equal(peer(), curve), "the curve differs from 101 evaluations"
    assert np.array_equal(single(), curve), "the curve differs from one pass in numpy"
    variants = [
        ("101 evaluations (numpy)", peer),
        ("one evaluation", one),
        ("one pass, numpy", single),
        ("wsss-bench, one pass", ours),
    ]
    race("Seeds at 101 thresholds", variants, len(truths), rounds)


def bench_bootstrap(rounds: int) -> None:
    from bench_evaluate_peers import bootstrap_loop

    from wsss_bench.evaluate import Resamples

    rng = np.random.default_rng(0)
    systems = []
    # An image holds about an eighth of all classes.
    truth = rng.integers(0, 9000, (1449, 21)) * (rng.random((1449, 21)) < 0.12)
    for _ in range(2):
        hit = (truth * rng.uniform(0.4, 0.9, truth.shape)).astype(np.int64)
        predicted = hit + rng.integers(0, 900, truth.shape)
        systems.append(np.stack([hit, predicted, truth], 2))
    few = Resamples(1449, 200, seed=1)
    loop = bootstrap_loop(few, systems)
    same = np.array_equal(few.miou(systems), loop())
    assert same, "the bootstrap differs from the loop"
    full = Resamples(1449, 10_000, seed=1)
    variants = [
        ("loop over resamples (200)", loop),
        ("wsss-bench (200)", lambda: few.miou(systems)),
    ]
    race(
        "Paired bootstrap, two systems, 1,449 images, 21 classes",
        variants,
        200,
        rounds,
        "ms/resample",
    )
    race(
        "The same, 10,000 resamples",
        [("wsss-bench (10,000)", lambda: full.miou(systems))],
        1,
        rounds,
        "ms",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    truths = masks(args.images)
    source = "VOC 2012 masks" if os.environ.get("WSSS_BENCH_TEST_DATA") else "ellipses"
    print(
        f"# Evaluator, {len(truths)} images ({source}), {args.rounds} rounds, "
        f"Python {sys.version.split()[0]}, numpy {np.__version__}"
    )
    bench_counts(truths, args.rounds)
    bench_memory(truths)
    bench_curve(truths, args.rounds)
    bench_bootstrap(args.rounds)


if __name__ == "__main__":
    main()
