"""`Dataset`: what every dataset offers, whatever its layout on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from wsss_bench.contract.view import WeakImage, WeakView
from wsss_bench.errors import DataError, LeakError, did_you_mean

if TYPE_CHECKING:
    from wsss_bench.data.masks import SealedMasks

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``."""

ROOT_VARIABLE = "WSSS_BENCH_DATA_ROOT"
LEVELS = ("error", "warning", "info")


@dataclass(frozen=True)
class Splits:
    """The roles of a dataset's splits.

    Attributes:
        train: methods are trained on it and see its image-level labels.
        seeds: seeds and pseudo-labels are scored on it.
        val: segmentations are scored on it.
    """

    train: str
    seeds: str
    val: str


@dataclass(frozen=True)
class Finding:
    """One result of `Dataset.verify`: how bad (a level of `LEVELS`), what, where (file or split), and the remedy."""

    level: str
    what: str
    where: str
    fix: str = ""


class Dataset(ABC):
    """Photographs, image-level labels and sealed masks of one folder.

    Attributes:
        kind: the loader ("shapes", "voc2012", "coco2014"); `name` is what tables call this copy of the data.
        classes: class names by mask id; ``classes[0]`` is ``"background"``.
        root: the folder that the data are read from.
        splits: which split plays which role.
        labels_source: where the image-level labels come from, for the record ("table cls_labels.csv", "masks", …).
    """

    kind: ClassVar[str]
    known_options: ClassVar[tuple[str, ...]] = ()
    """Names of the options the loader takes besides the three ``*_split``."""

    name: str
    classes: tuple[str, ...]
    root: Path
    splits: Splits
    labels_source: str = "-"
    options: Mapping[str, Any] = MappingProxyType({})
    """The loader's options as given, for the record."""
    skipped: frozenset[str] = frozenset()
    """Ids that the user's skip list leaves out of every split; see `wsss_bench.data.skipping`."""

    def available_splits(self) -> tuple[str, ...]:
        """Names of the splits that exist here, sorted."""
        return tuple(sorted(self._split_names()))

    def weak_view(self, split: str) -> WeakView:
        """Images and image-level labels of a training split.

        Raises:
            LeakError: the split is not a training split, or shares images with the validation or test list.
            DataError: the split, an image or a label is missing.
        """
        split = self._resolve(split)
        if not self._is_train(split):
            raise LeakError(
                f"{self.name}/{split}: image-level labels are given for training splits only "
                f"({', '.join(s for s in self.available_splits() if self._is_train(s)) or 'none here'}). "
                "To predict on this split use image_view(split), which carries no labels."
            )
        ids = self._kept(split)
        self._refuse_overlap(split, ids)
        labels = self._labels(split, ids)
        source = " (labels: masks)" if self.labels_source == "masks" else ""
        images = [WeakImage(i, self._image_path(split, i), labels[i]) for i in ids]
        return WeakView(self.name + source, split, self.classes, images)

    def image_view(self, split: str) -> WeakView:
        """Images of any split, labels hidden (None): what is predicted on."""
        split = self._resolve(split)
        images = [
            WeakImage(i, self._image_path(split, i), None) for i in self._kept(split)
        ]
        return WeakView(self.name, split, self.classes, images)

    @abstractmethod
    def masks(self, split: str) -> SealedMasks:
        """Pixel masks of a split, for the evaluator only; raises `DataError` where the split has none."""

    def sealed(self) -> Mapping[str, tuple[Path, ...]]:
        """Files and folders that hold ground truth, by the kind of supervision that a method's card must declare to open them."""
        return {}

    @abstractmethod
    def verify(self, progress: Progress | None = None) -> list[Finding]:
        """Read everything: counts, files, palettes, sizes, labels against masks; no finding above "info" means all is well."""

    def prepare(self, progress: Progress | None = None) -> None:  # noqa: B027 - nothing to do for data used as downloaded
        """Make what is derived (generated images, rasterised masks) once; idempotent, and safe to interrupt."""

    def facts(self) -> Mapping[str, Any]:
        """What a run record keeps about the dataset."""
        return {
            "kind": self.kind,
            "name": self.name,
            "classes": len(self.classes),
            "labels_source": self.labels_source,
            **({"skipped": len(self.skipped)} if self.skipped else {}),
            "splits": {
                "train": self.splits.train,
                "seeds": self.splits.seeds,
                "val": self.splits.val,
            },
        }

    @abstractmethod
    def _split_names(self) -> Iterable[str]: ...

    @abstractmethod
    def _ids(self, split: str) -> tuple[str, ...]: ...

    @abstractmethod
    def _image_path(self, split: str, image_id: str) -> Path: ...

    @abstractmethod
    def _labels(
        self, split: str, ids: tuple[str, ...]
    ) -> Mapping[str, tuple[int, ...]]: ...

    def _kept(self, split: str) -> tuple[str, ...]:
        """The ids of a split without those the user leaves out; raises `DataError` where none is left."""
        ids = tuple(i for i in self._ids(split) if i not in self.skipped)
        if self.skipped and not ids:
            raise DataError(
                f"{self.name}/{split}: the skip list leaves no image. Shorten it, or restore the files it names."
            )
        return ids

    def _is_train(self, split: str) -> bool:
        """Whether the split's labels may be shown: its list is named ``train…`` and is not ``trainval``."""
        return split.startswith("train") and "val" not in split and "test" not in split

    def _resolve(self, split: str) -> str:
        """The name under which a split is stored; raises `DataError` for a split that does not exist."""
        if split in self._split_names():
            return split
        raise DataError(
            f"{self.name} has no split {split!r}.{did_you_mean(split, self._split_names())}"
        )

    def _refuse_overlap(self, split: str, ids: tuple[str, ...]) -> None:
        """SBD's own training list holds half of VOC val: such a list would leak the labels that results are scored on."""
        names = set(self._split_names())
        for held_out in sorted({"val", "test", self.splits.val} & names - {split}):
            both = sorted(set(ids) & set(self._ids(held_out)))
            if both:
                raise LeakError(
                    f"{self.name}/{split}: {len(both)} images are also in {held_out!r} (first: {both[0]!r}). "
                    f"Remove them from the {split!r} list; the usual train_aug list of 10,582 ids leaves val out."
                )


def check_options(kind: str, options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse an option that the loader does not take; raises `DataError` with the near misses."""
    names = (*known, "train_split", "seeds_split", "val_split")
    for option in options:
        if option not in names:
            raise DataError(
                f"dataset {kind!r} has no option {option!r}.{did_you_mean(option, names)}"
            )


def choose_splits(default: Splits, options: Mapping[str, Any]) -> Splits:
    """The default roles with the user's ``train_split``, ``seeds_split`` and ``val_split`` put in."""
    return Splits(
        str(options.get("train_split") or default.train),
        str(options.get("seeds_split") or default.seeds),
        str(options.get("val_split") or default.val),
    )


def integer_option(
    kind: str, options: Mapping[str, Any], name: str, default: int, low: int, high: int
) -> int:
    """An integer option in [low, high]; command lines hand strings over. Raises `DataError` otherwise."""
    value = options.get(name, default)
    try:
        number = int(str(value))
    except ValueError:
        raise DataError(
            f"dataset {kind!r}: option {name}={value!r} is not an integer."
        ) from None
    if not low <= number <= high:
        raise DataError(
            f"dataset {kind!r}: option {name}={number} must lie in {low}..{high}."
        )
    return number
