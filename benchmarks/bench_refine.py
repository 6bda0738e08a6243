"""The refine stage of a whole training set from seeds to label files: ours against pydensecrf and a dense-matrix walk.

    python benchmarks/bench_refine.py SEEDS --data-root VOCdevkit/VOC2012 [--split train_aug] [--workers 2] [--sample
    24]

SEEDS is the ``out`` folder of a localize stage (``wsss-bench cache ls`` shows where). Our stages run over all images as
`wsss-bench run` runs them: in processes, resumable, every label written to disk. The peers do the same work as the
released scripts do, image after image in one process, on every n-th image, in turn with ours; what the whole set would
take is *computed* from that sample. The boundary map of the walk is the photograph's gradient: the time does not depend
on it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from wsss_bench.contract.artifacts import LabelWriter, Seed, SeedSet
from wsss_bench.contract.view import WeakView
from wsss_bench.data.voc.dataset import VocDataset
from wsss_bench.io.images import read_image
from wsss_bench.toolbox.crf import Backend, dense_crf, unary_from_labels
from wsss_bench.toolbox.crf_presets import PRESETS
from wsss_bench.toolbox.parallel import per_image
from wsss_bench.toolbox.random_walk import affinity_from_boundary, transition_matrix
from wsss_plugins.irn.maths import walked_labels

WALK = {"walk_radius": 5, "beta": 10.0, "steps": 256, "background": 0.25}
CLASSES = 21


def crf_ours(job: tuple[Path, Seed]) -> np.ndarray:
    return crf_with(job, "auto", len(job[1].class_ids) + 1)


def crf_present(job: tuple[Path, Seed]) -> np.ndarray:
    return crf_with(job, "pydensecrf", len(job[1].class_ids) + 1)


def crf_all(job: tuple[Path, Seed]) -> np.ndarray:
    return crf_with(job, "pydensecrf", CLASSES)


def crf_with(job: tuple[Path, Seed], backend: Backend, labels: int) -> np.ndarray:
    path, seed = job
    background = np.full((1, *seed.size), np.float32(0.15))
    winners = np.concatenate([background, seed.upsampled()]).argmax(0)
    unary = unary_from_labels(winners, labels, 0.7)
    marginals = dense_crf(read_image(path), unary, PRESETS["irn"], backend)
    return marginals.argmax(0).astype(np.uint8)


def boundary(path: Path) -> np.ndarray:
    image = read_image(path)
    height, width = image.shape[:2]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (-(-width // 4), -(-height // 4)))
    across = cv2.Sobel(small, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(small, cv2.CV_32F, 0, 1)
    edges = np.hypot(across, down)
    return (edges / edges.max()).clip(0, 1).astype(np.float32)


def walk_ours(job: tuple[Path, Seed]) -> np.ndarray:
    return walked_labels((boundary(job[0]), job[1]), WALK)


def walk_dense(job: tuple[Path, Seed]) -> np.ndarray:
    """Eight squarings of the dense transition matrix, as IRN's released code does."""
    path, seed = job
    edge = boundary(path)
    h, w = edge.shape
    cams = np.stack([cv2.resize(cam, (w, h)) for cam in seed.scores])
    cams = cams * (1 - edge)
    affinity = affinity_from_boundary(edge, 5)
    matrix = transition_matrix(affinity, 10.0).toarray().astype(np.float32)
    for _ in range(8):
        matrix = matrix @ matrix
    walked = (cams.reshape(len(cams), -1) @ matrix).reshape(cams.shape)
    height, width = seed.size
    full = np.stack([cv2.resize(m, (4 * w, 4 * h))[:height, :width] for m in walked])
    wins = full.max(0) > 0.25 * full.max()
    best = seed.class_ids[full.argmax(0)]
    return np.where(wins, best, 0).astype(np.uint8)


def stage(
    fn: Callable[[Any], np.ndarray], view: WeakView, seeds: SeedSet, workers: int
) -> float:
    """Seconds of a whole stage, processes started and labels written."""
    ctx: Any = SimpleNamespace(workers=workers, progress=lambda what, done, total: None)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        per_image(
            partial(labelled, fn=fn),
            view,
            LabelWriter(Path(folder), view, "bench"),
            ctx,
            lambda i: (i.path, seeds[i.id]),
        )
        return time.perf_counter() - began


def labelled(job: tuple[Path, Seed], fn: Callable[[Any], np.ndarray]) -> np.ndarray:
    """What `fn` gives, as class ids of the image (the CRFs give positions)."""
    found = fn(job)
    if fn is walk_ours:
        return found
    _, seed = job
    ids = np.concatenate([[0], seed.class_ids]).astype(np.uint8)
    return ids[found]


def table(
    title: str,
    rows: list[tuple[str, Callable[[Any], np.ndarray]]],
    jobs: list[Any],
    total: int,
    whole: float,
) -> None:
    """Time every row on every job in turn; the first row is ours, whose whole stage took `whole` seconds."""
    times, same = timed(rows, jobs)
    first, _ = rows[0]
    mine = times[first]
    print(
        f"\n{title}\n"
        f"{'variant':44} {'ms/image':>9} {'(min-max)':>15} {'ratio':>8} "
        f"{'whole set':>11}  labels that differ from ours"
    )
    run = 1e3 * whole / total
    print(f"{first + ', the stage as run':44} {run:9.4g} {'':24} {whole:9.1f} s")
    for name, _ in rows:
        t = [1e3 * seconds for seconds in times[name]]
        # Images differ in size, so ratios are taken image by image.
        ratios = [a / b for a, b in zip(times[name], mine, strict=True)]
        spread = f"({min(t):.3g}-{max(t):.3g})"
        computed = statistics.mean(times[name]) * total
        differ = 100 * statistics.mean(same[name])
        print(
            f"{name + ', one process':44} {statistics.median(t):9.4g} {spread:>15} "
            f"{statistics.median(ratios):7.2f}x {computed:9.1f} s*  {differ:.3f} %"
        )
    print(f"* computed from {len(jobs)} images.   ratio: time over ours in one process")


def timed(
    rows: list[tuple[str, Callable[[Any], np.ndarray]]], jobs: list[Any]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return seconds by row, and the shares of labels that differ from the first row's."""
    for _, fn in rows:
        fn(jobs[0])  # compile
    times: dict[str, list[float]] = {name: [] for name, _ in rows}
    differ: dict[str, list[float]] = {name: [] for name, _ in rows}
    for job in jobs:
        ours = None
        for name, fn in rows:
            began = time.perf_counter()
            found = fn(job)
            times[name].append(time.perf_counter() - began)
            ours = found if ours is None else ours
            differ[name].append(float((found != ours).mean()))
    return times, differ


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("seeds", type=Path)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--split", default="train_aug")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sample", type=int, default=24)
    parser.add_argument("--walk-sample", type=int, default=3)
    o = parser.parse_args()
    options = {"labels": str(o.labels)} if o.labels else {}
    view = VocDataset(o.data_root, "voc2012", options).weak_view(o.split)
    seeds = SeedSet(o.seeds)
    jobs = [(image.path, seeds[image.id]) for image in view]

    def every(number: int) -> list[Any]:
        return jobs[:: max(1, len(jobs) // number)][:number]

    crf = [
        ("densecrf, present classes", crf_ours),
        ("pydensecrf, present classes", crf_present),
    ]
    # The same trust spread over 21 labels is another problem, so its labels are others; the
    # row is there for the time.
    crf.append(("pydensecrf, all 21 classes", crf_all))
    table(
        f"dense CRF, {len(view)} images",
        crf,
        every(o.sample),
        len(view),
        stage(crf_ours, view, seeds, o.workers),
    )
    walk = [
        ("random walk (stencil)", walk_ours),
        ("dense matrix, 8 squarings", walk_dense),
    ]
    table(
        f"random walk, {len(view)} images",
        walk,
        every(o.walk_sample),
        len(view),
        stage(walk_ours, view, seeds, o.workers),
    )


if __name__ == "__main__":
    main()
