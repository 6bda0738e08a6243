"""How much room on the disk the stages of a run will take: what is surely needed, and what may be."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.io.packs import SIZE as PACK
from wsss_bench.runs.store.folders import DONE, TODO

if TYPE_CHECKING:
    from wsss_bench.contract.view import WeakView
    from wsss_bench.runs.plan import Cell, Step
    from wsss_bench.runs.source import Source
    from wsss_bench.runs.store.folders import Store

SAMPLE = 32
"""Photographs whose headers are read for their size."""

LEAST_FILE, MOST_FILE = 512, 8192
"""Bytes of the smallest map there is, and of what a file system rounds up to, with the entry in the list of files."""

SCORES, LABELS = 2.0, 0.2
"""Bytes a pixel: of one class in a seed (float16, hardly compressed), and of a label map (a palette PNG)."""

NETWORK, TINY = 250 << 20, 4 << 20
"""Bytes of a trained network (ResNet-101 in DeepLab), and of the ones for tests."""

CHECKPOINTS = 4
"""Checkpoints of a training keep the optimiser's state as well, and there are two of them while it goes on."""


@dataclass(frozen=True)
class Space:
    """Room on the disk of a work dir.

    Attributes:
        work_dir: the folder.
        files: how many files the stages that are to do will certainly make.
        least, most: bytes that all of them certainly need, and may need.
        free: bytes that are free there.
        free_files: files that can still be made; None where the file system sets no limit.
    """

    work_dir: Path
    files: int
    least: int
    most: int
    free: int
    free_files: int | None

    def __str__(self) -> str:
        """Say what may be needed and what is there."""
        return f"up to {size(self.most)} in {self.work_dir}, {size(self.free)} free"

    def check(self) -> str | None:
        """Return a warning where room may run out, None where there is plenty.

        Raises:
            ArtifactError: there is less than is surely needed.
        """
        fix = "Free some (wsss-bench cache gc), or choose another --work-dir."
        if self.free < self.least:
            needs = f"the stages to compute need at least {size(self.least)}"
            what = f"{self.work_dir} has {size(self.free)} free, and {needs}."
            raise ArtifactError(f"{what} {fix}")
        if self.free_files is not None and self.free_files < self.files:
            needs = f"the stages to compute make at least {self.files:,}"
            what = f"{self.work_dir} takes {self.free_files:,} more files, and {needs}."
            raise ArtifactError(f"{what} {fix}")
        if self.free < self.most:
            needs = f"the stages to compute may need up to {size(self.most)}"
            return f"{self.work_dir} has {size(self.free)} free; {needs}. {fix}"
        return None


def size(count: float) -> str:
    """Return bytes as people write them: ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def space_for(
    cells: Sequence[Cell], source: Source, store: Store, work_dir: Path
) -> Space:
    """Return how much room the stages need that are not finished; reads the headers of some photographs."""
    from wsss_bench.doctor.findings import nearest

    train, val = source.train, source.val
    pixels = {"train": _pixels(train), "val": _pixels(val)}
    files, most, trains = 0, 0.0, 0
    for step, state in _to_do(cells, store):
        count = _files(step, source)
        # Of an unfinished stage some files may be there already.
        files += count if state == TODO else 0
        most += _most(step, source, pixels) + count * MOST_FILE
        trains = max(trains, _network(step))
    disk = os.statvfs(nearest(work_dir))
    limited = disk.f_files > 0
    return Space(
        work_dir=work_dir,
        files=files,
        least=files * LEAST_FILE,
        # One training goes on at a time.
        most=round(most) + trains * CHECKPOINTS,
        free=disk.f_bavail * disk.f_frsize,
        free_files=disk.f_favail if limited else None,
    )


def _to_do(cells: Sequence[Cell], store: Store) -> Iterator[tuple[Step, str]]:
    """Yield every step that is not finished, once, with its state."""
    seen: set[str] = set()
    for cell in cells:
        for step in cell.steps:
            if step.spec.key in seen:
                continue
            seen.add(step.spec.key)
            state = store.folder(step.spec).state()
            if state != DONE:
                yield step, state


def _files(step: Step, source: Source) -> int:
    """Return how many files a stage certainly leaves."""
    if step.stage == "localize":
        return -(-len(source.train) // PACK)
    if step.stage == "refine":
        return len(source.train)
    return len(source.val) if step.stage == "predict" else 1


def _most(step: Step, source: Source, pixels: dict[str, float]) -> float:
    """Return the bytes that a stage may leave."""
    train = len(source.train) * pixels["train"]
    if step.stage == "localize":
        return train * SCORES * _classes(source.train) + _network(step)
    if step.stage == "refine":
        return train * LABELS
    if step.stage == "predict":
        # Without and with CRF.
        return 2 * len(source.val) * pixels["val"] * LABELS
    return _network(step)


def _classes(view: WeakView) -> float:
    """Return how many classes an image holds on average; a seed has a map for each."""
    found = sum(len(image.labels or ()) for image in view)
    return max(1.0, found / max(1, len(view)))


def _network(step: Step) -> int:
    if step.params is None or step.stage not in ("localize", "segment"):
        return 0
    params = step.params.resolved
    names = [str(params.get(key, "")) for key in ("network", "backbone")]
    return TINY if any("tiny" in name for name in names) else NETWORK


def _pixels(view: WeakView) -> float:
    """Return the average number of pixels, from a sample; 0 where no header can be read."""
    from wsss_bench.io.images import image_size

    found = []
    for image in view[:: max(1, -(-len(view) // SAMPLE))]:
        # A photograph that cannot be read is told of by whoever reads it, and may be left to a method to skip.
        try:
            height, width = image_size(image.path)
        except DataError:
            continue
        found.append(height * width)
    return sum(found) / len(found) if found else 0.0
