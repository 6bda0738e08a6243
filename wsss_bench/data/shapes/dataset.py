"""`shapes`: a procedural dataset in VOC's layout, for a fresh machine and for tests.

It shows in small what makes weak supervision hard: one discriminative part per class and a plainer body, several
objects and classes per image, sizes from tiny to large, occlusion, and textured backgrounds that come with a class
(boats float on water).
"""

from __future__ import annotations

import atexit
import copy
import csv
import io
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from wsss_bench.data.base import Progress, Splits
from wsss_bench.data.labels import read_label_table
from wsss_bench.data.options import choose_splits, integer_option
from wsss_bench.data.shapes.classes import NAMES
from wsss_bench.data.voc.dataset import VocLayout
from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.io.locking import locked

GENERATOR_VERSION = 1
"""Raised whenever the drawing changes, so that old folders are not taken for new ones."""

DEFAULT_ROOT = Path("work_dirs") / "data"
DEFAULTS = {
    "train": 200,
    "val": 80,
    "size": 96,
    "seed": 0,
}
RANGES = {
    "train": (1, 100_000),
    "val": (1, 100_000),
    "size": (48, 1024),
    "seed": (0, 2**31 - 1),
}
"""Smallest and largest value of each option."""

_TABLE = "cls_labels.csv"


class ShapesDataset(VocLayout):
    """Eight classes, drawn from a seed.

    Options: ``train`` and ``val`` (how many images), ``size`` (pixels a side; images are square), ``seed``.
    Image k of a split depends on (seed, split, k, size) alone: a larger set begins with the images of a smaller one.
    """

    kind: ClassVar[str] = "shapes"

    def __init__(
        self,
        root: Path | None,
        name: str,
        options: Mapping[str, Any],
    ) -> None:
        numbers = {}
        for option, (low, high) in RANGES.items():
            numbers[option] = integer_option(
                self.kind,
                options,
                option,
                DEFAULTS[option],
                low,
                high,
            )
        self.size = numbers.pop("size")
        self.seed = numbers.pop("seed")
        # What is left: how many images each split has.
        self.counts = numbers
        parent = (root or DEFAULT_ROOT).expanduser().absolute()
        folder = parent / self._folder_name()
        super().__init__(folder, name, NAMES)
        self.splits = choose_splits(Splits("train", "train", "val"), options)
        self.labels_source = f"table {_TABLE}"

    def _folder_name(self) -> str:
        parts = ["shapes", f"v{GENERATOR_VERSION}"]
        for split, count in self.counts.items():
            parts.append(f"{split}{count}")
        parts += [f"size{self.size}", f"seed{self.seed}"]
        return "-".join(parts)

    def prepare(self, progress: Progress | None = None) -> None:
        """Draw the dataset unless it is there.

        It is drawn beside its place and renamed, so a part is never taken for the whole. Of several processes one draws
        and the others wait for it.

        Raises:
            DataError: the folder cannot be written.
        """
        if self.root.is_dir():
            return
        try:
            with locked(self.root.parent):
                self._sweep()
                # Another process may have drawn it while this one waited for the lock.
                if not self.root.is_dir():
                    self._make(progress)
        except ArtifactError as error:
            raise self._unwritable(error) from error

    def ready(self) -> bool:
        """Return whether the dataset is drawn."""
        return self.root.is_dir()

    def preview(self) -> ShapesDataset:
        """Return the dataset as it will be, drawn into a folder that is deleted when the process ends.

        Raises:
            DataError: there is no room for temporary files.
        """
        if self.ready():
            return self
        try:
            folder = Path(tempfile.mkdtemp(prefix="wsss-bench-shapes-"))
        except OSError as error:
            raise self._unwritable(error.strerror or error) from error
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        drawn = copy.copy(self)
        # What was read of the folder that is not there yet must not be taken over.
        drawn._lists = {}
        drawn.root = folder / self.root.name
        drawn.prepare()
        return drawn

    def _sweep(self) -> None:
        """Remove what processes that were killed have left behind; only the holder of the lock may."""
        for left in self.root.parent.glob(f".{self.root.name}-*"):
            shutil.rmtree(left, ignore_errors=True)

    def _unwritable(self, reason: object) -> DataError:
        what = f"shapes cannot be written to {self.root} ({reason})."
        return DataError(f"{what} Choose another --data-root.")

    def _make(self, progress: Progress | None) -> None:
        workshop = None
        try:
            prefix = f".{self.root.name}-"
            made = tempfile.mkdtemp(dir=self.root.parent, prefix=prefix)
            workshop = Path(made)
            self._draw(workshop, progress)
            # `mkdtemp` lets nobody else in, and the data may be shared by several users.
            workshop.chmod(0o755)
            os.rename(workshop, self.root)
        except OSError as error:
            raise self._unwritable(error.strerror or error) from error
        finally:
            if workshop is not None:
                shutil.rmtree(workshop, ignore_errors=True)

    def _draw(self, folder: Path, progress: Progress | None) -> None:
        lists = folder / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True)
        (folder / "JPEGImages").mkdir()
        (folder / "SegmentationClass").mkdir()
        header: list[object] = ["id", *NAMES[1:]]
        rows = [header]
        total = sum(self.counts.values())
        done = 0
        for split, count in self.counts.items():
            ids = _drawn_ids(split, count)
            (lists / f"{split}.txt").write_text("\n".join(ids) + "\n")
            for number, image_id in enumerate(ids):
                present = self._draw_one(folder, split, number, image_id)
                # The labels of validation images are nowhere but in their masks.
                if split == "train":
                    cells = [k in present for k in range(1, len(NAMES))]
                    rows.append([image_id, *map(int, cells)])
                done += 1
                if progress is not None:
                    progress("drawing shapes", done, total)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        (folder / _TABLE).write_text(text.getvalue())

    def _draw_one(
        self,
        folder: Path,
        split: str,
        number: int,
        image_id: str,
    ) -> set[int]:
        """Draw and write one image and its mask; return the values in the mask."""
        import numpy as np
        from PIL import Image

        from wsss_bench.data.shapes.draw import draw_scene
        from wsss_bench.io.images import write_mask
        from wsss_bench.rng import generator

        of = (GENERATOR_VERSION, self.seed, split, number, self.size)
        rng = generator("shapes", *of)
        # In turn, so that every class leads equally often.
        main = number % (len(NAMES) - 1) + 1
        image, mask = draw_scene(rng, self.size, main)
        photograph = folder / "JPEGImages" / f"{image_id}.jpg"
        # Colours at full resolution: at 96 pixels a side, JPEG's usual halving would smear the small parts.
        drawn = Image.fromarray(image)
        drawn.save(photograph, quality=95, subsampling=0)
        write_mask(folder / "SegmentationClass" / f"{image_id}.png", mask)
        values = np.unique(mask).tolist()
        return set(values)

    def facts(self) -> Mapping[str, Any]:
        """Return the options and the generator's version, besides what every dataset says."""
        return {
            **super().facts(),
            **self.counts,
            "size": self.size,
            "seed": self.seed,
            "generator": GENERATOR_VERSION,
        }

    def _make_ready(self) -> None:
        self.prepare()

    def _resolve(self, split: str) -> str:
        # Whoever names a split goes on to its files.
        self._make_ready()
        return super()._resolve(split)

    # Who only asks for names gets them without a drawing: a skip list is checked before a dry run is planned.
    def _split_names(self) -> Collection[str]:
        return super()._split_names() if self.ready() else tuple(self.counts)

    def _ids(self, split: str) -> tuple[str, ...]:
        if self.ready():
            return super()._ids(split)
        return _drawn_ids(split, self.counts[split])

    def _labels(
        self, split: str, ids: tuple[str, ...]
    ) -> Mapping[str, tuple[int, ...]]:
        return read_label_table(self.root / _TABLE, self.classes, ids)


def _drawn_ids(split: str, count: int) -> tuple[str, ...]:
    return tuple(f"{split}_{number:05d}" for number in range(count))
