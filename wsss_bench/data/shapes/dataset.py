"""`shapes`: a procedural dataset in VOC's layout, for a fresh machine and for tests.

It shows in small what makes weak supervision hard: one discriminative part per class and a plainer body, several objects and
classes per image, sizes from tiny to large, occlusion, and textured backgrounds that come with a class (boats float on water).
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Mapping
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
DEFAULTS = {"train": 200, "val": 80, "size": 96, "seed": 0}


class ShapesDataset(VocLayout):
    """Eight classes, drawn from a seed; options ``train``, ``val`` (counts), ``size`` (pixels, images are square), ``seed``.

    Image k of a split depends on (seed, split, k, size) alone: a larger set begins with the images of a smaller one.
    """

    kind: ClassVar[str] = "shapes"

    def __init__(
        self, root: Path | None, name: str, options: Mapping[str, Any]
    ) -> None:
        def number(option: str, low: int, high: int) -> int:
            return integer_option(
                self.kind, options, option, DEFAULTS[option], low, high
            )

        self.counts = {
            "train": number("train", 1, 100_000),
            "val": number("val", 1, 100_000),
        }
        self.size, self.seed = number("size", 48, 1024), number("seed", 0, 2**31 - 1)
        counts = "-".join(f"{split}{count}" for split, count in self.counts.items())
        folder = f"shapes-v{GENERATOR_VERSION}-{counts}-size{self.size}-seed{self.seed}"
        super().__init__(
            (root or DEFAULT_ROOT).expanduser().absolute() / folder, name, NAMES
        )
        self.splits = choose_splits(Splits("train", "train", "val"), options)
        self.labels_source = "table cls_labels.csv"

    def prepare(self, progress: Progress | None = None) -> None:
        """Draw the dataset unless it is there; drawn beside its place and renamed, so a part is never taken for the whole.

        Of several processes one draws and the others wait for it.

        Raises:
            DataError: the folder cannot be written.
        """
        if self.root.is_dir():
            return
        try:
            with locked(self.root.parent):
                for left in self.root.parent.glob(
                    f".{self.root.name}-*"
                ):  # by a process that was killed
                    shutil.rmtree(left, ignore_errors=True)
                if not self.root.is_dir():
                    self._make(progress)
        except ArtifactError as error:
            raise DataError(
                f"shapes cannot be written to {self.root} ({error}). Choose another --data-root."
            ) from error

    def _make(self, progress: Progress | None) -> None:
        workshop = None
        try:
            workshop = Path(
                tempfile.mkdtemp(dir=self.root.parent, prefix=f".{self.root.name}-")
            )
            self._draw(workshop, progress)
            workshop.chmod(0o755)
            os.rename(workshop, self.root)
        except OSError as error:
            raise DataError(
                f"shapes cannot be written to {self.root} ({error.strerror or error}). Choose another --data-root."
            ) from error
        finally:
            if workshop is not None:
                shutil.rmtree(workshop, ignore_errors=True)

    def _draw(self, folder: Path, progress: Progress | None) -> None:
        import numpy as np
        from PIL import Image

        from wsss_bench.data.shapes.draw import draw_scene
        from wsss_bench.io.images import write_mask
        from wsss_bench.rng import generator

        for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            (folder / name).mkdir(parents=True)
        rows: list[list[object]] = [["id", *NAMES[1:]]]
        done, total = 0, sum(self.counts.values())
        for split, count in self.counts.items():
            ids = [f"{split}_{k:05d}" for k in range(count)]
            for k, image_id in enumerate(ids):
                rng = generator(
                    "shapes", GENERATOR_VERSION, self.seed, split, k, self.size
                )
                image, mask = draw_scene(rng, self.size, k % (len(NAMES) - 1) + 1)
                Image.fromarray(image).save(
                    folder / "JPEGImages" / f"{image_id}.jpg", quality=95, subsampling=0
                )
                write_mask(folder / "SegmentationClass" / f"{image_id}.png", mask)
                if split == "train":
                    present = set(np.unique(mask).tolist())
                    rows.append(
                        [image_id, *(int(c in present) for c in range(1, len(NAMES)))]
                    )
                done += 1
                if progress is not None:
                    progress("drawing shapes", done, total)
            (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(
                "\n".join(ids) + "\n"
            )
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        (folder / "cls_labels.csv").write_text(text.getvalue())

    def facts(self) -> Mapping[str, Any]:
        """The options and the generator's version, besides what every dataset says."""
        return {
            **super().facts(),
            **self.counts,
            "size": self.size,
            "seed": self.seed,
            "generator": GENERATOR_VERSION,
        }

    def _make_ready(self) -> None:
        self.prepare()

    def _labels(
        self, split: str, ids: tuple[str, ...]
    ) -> Mapping[str, tuple[int, ...]]:
        return read_label_table(self.root / "cls_labels.csv", self.classes, ids)
