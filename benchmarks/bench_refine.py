"""The refine stage of a whole training set from seeds to label files: ours against pydensecrf and a dense-matrix walk.

    python benchmarks/bench_refine.py SEEDS --data-root VOCdevkit/VOC2012 [--split train_aug] [--workers 2] [--sample 24]

SEEDS is the ``out`` folder of a localize stage (``wsss-bench cache ls`` shows where). Our stages run over all images as
`wsss-bench run` runs them: in processes, resumable, every label written to disk. The peers do the same work as the released
scripts do, image after image in one process, on every n-th image, in turn with ours; what the whole set would take is
*computed* from that sample. The boundary map of the walk is the photograph's gradient: the time does not depend on it.
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
from wsss_bench.toolbox.crf import dense_crf, unary_from_labels
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


def crf_with(job: tuple[Path, Seed], backend: str, labels: int) -> np.ndarray:
    path, seed = job
    winners = np.concatenate(
        [np.full((1, *seed.size), np.float32(0.15)), seed.upsampled()]
    ).argmax(0)
    unary = unary_from_labels(winners, labels, 0.7)
    return (
        dense_crf(read_image(path), unary, PRESETS["irn"], backend)
        .argmax(0)
        .astype(np.uint8)
    )  # type: ignore[arg-type]


def boundary(path: Path) -> np.ndarray:
    image = read_image(path)
    grey = cv2.resize(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY),
        (-(-image.shape[1] // 4), -(-image.shape[0] // 4)),
    )
    edges = np.hypot(
        cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    )
    return (edges / edges.max()).clip(0, 1).astype(np.float32)


def walk_ours(job: tuple[Path, Seed]) -> np.ndarray:
    return walked_labels((boundary(job[0]), job[1]), WALK)


def walk_dense(job: tuple[Path, Seed]) -> np.ndarray:
    """Eight squarings of the dense transition matrix, as IRN's released code does."""
    path, seed = job
    edge = boundary(path)
    h, w = edge.shape
    cams = np.stack([cv2.resize(cam, (w, h)) for cam in seed.scores]) * (1 - edge)
    matrix = (
        transition_matrix(affinity_from_boundary(edge, 5), 10.0)
        .toarray()
        .astype(np.float32)
    )
    for _ in range(8):
        matrix = matrix @ matrix
    walked = (cams.reshape(len(cams), -1) @ matrix).reshape(cams.shape)
    height, width = seed.size
    full = np.stack([cv2.resize(m, (4 * w, 4 * h))[:height, :width] for m in walked])
    return np.where(
        full.max(0) > 0.25 * full.max(), seed.class_ids[full.argmax(0)], 0
    ).astype(np.uint8)


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
    return (
        found
        if fn is walk_ours
        else np.concatenate([[0], job[1].class_ids]).astype(np.uint8)[found]
    )


def table(
    title: str,
    rows: list[tuple[str, Callable[[Any], np.ndarray]]],
    jobs: list[Any],
    total: int,
    whole: float,
) -> None:
    """Time every row on every job in turn; the first row is ours, whose whole stage took `whole` seconds."""
    for _, fn in rows:
        fn(jobs[0])  # compile
    times: dict[str, list[float]] = {name: [] for name, _ in rows}
    same: dict[str, list[float]] = {name: [] for name, _ in rows}
    for job in jobs:
        ours = None
        for name, fn in rows:
            began = time.perf_counter()
            found = fn(job)
            times[name].append(time.perf_counter() - began)
            ours = found if ours is None else ours
            same[name].append(float((found != ours).mean()))
    print(
        f"\n{title}\n{'variant':44} {'ms/image':>9} {'(min-max)':>15} {'ratio':>8} {'whole set':>11}  labels that differ from ours"
    )
    mine = times[rows[0][0]]
    print(
        f"{rows[0][0] + ', the stage as run':44} {1e3 * whole / total:9.4g} {'':15} {'':>8} {whole:9.1f} s"
    )
    for name, _ in rows:
        t = times[name]
        ratio = statistics.median(a / b for a, b in zip(t, mine, strict=True))
        spread = f"({1e3 * min(t):.3g}-{1e3 * max(t):.3g})"
        print(
            f"{name + ', one process':44} {1e3 * statistics.median(t):9.4g} {spread:>15} {ratio:7.2f}x "
            f"{statistics.mean(t) * total:9.1f} s*  {100 * statistics.mean(same[name]):.3f} %"
        )
    print(f"* computed from {len(jobs)} images.   ratio: time over ours in one process")


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
    # The same trust spread over 21 labels is another problem, so its labels are others; the row is there for the time.
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
