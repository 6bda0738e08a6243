"""`Dataset`: what every dataset offers, whatever its layout on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from wsss_bench.contract.view import WeakImage, WeakView
from wsss_bench.data.limiting import chosen
from wsss_bench.errors import DataError, LeakError, did_you_mean

if TYPE_CHECKING:
    from wsss_bench.data.masks import SealedMasks

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``."""

ROOT_VARIABLE = "WSSS_BENCH_DATA_ROOT"
LEVELS = ("error", "warning", "info")
ROLES = ("train", "seeds", "val")
"""What splits are for; see `Splits`."""


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
    """One thing that a look at a dataset's files has found.

    Attributes:
        level: how bad it is, one of `LEVELS`.
        what: a sentence that says it.
        where: the file or split.
        fix: what to do about it; may be empty.
    """

    level: str
    what: str
    where: str
    fix: str = ""


class Dataset(ABC):
    """Photographs, image-level labels and sealed masks of one folder.

    A derived class sets the attributes, and fills in `masks`, `sealed` and the four methods with an underscore that
    tell of splits, ids, images and labels. Those are for this class and for verifiers: nobody else gets at labels past
    the checks of `weak_view`.

    Attributes:
        kind: the name under which the kind is registered ("shapes", "voc2012", …).
        name: what tables call this copy of the data.
        classes: class names by mask id; ``classes[0]`` is ``"background"``.
        root: the folder that the data are read from.
        splits: which split plays which role.
        labels_source: where the image-level labels come from, for the record ("table cls_labels.csv", "masks", …).
    """

    kind: ClassVar[str]
    name: str
    classes: tuple[str, ...]
    root: Path
    splits: Splits
    labels_source: str = "-"
    options: Mapping[str, Any] = MappingProxyType({})
    """The kind's options as given, for the record; set by `wsss_bench.data.open_dataset`."""
    origin: str = ""
    """Distribution and version of a third party's kind, for the record; set by `wsss_bench.data.open_dataset`."""
    skipped: frozenset[str] = frozenset()
    """Ids that the user's skip list leaves out of every split; see `wsss_bench.data.skipping`."""
    limit: int = 0
    """How many images a split has at most, 0 for all; see `wsss_bench.data.limiting`."""
    ignored: ClassVar[str] = "border"
    """What the masks mark with 255, in a word."""
    border_published: ClassVar[bool] = False
    """Whether published numbers leave out a border that the validation masks must have."""
    category_ids: ClassVar[Mapping[int, int]] = MappingProxyType({})
    """Mask id by the id that the source of the data gives a class, where masks with the latter are in circulation."""

    def available_splits(self) -> tuple[str, ...]:
        """Return the names of the splits that exist here, sorted."""
        return tuple(sorted(self._split_names()))

    def weak_view(self, split: str) -> WeakView:
        """Return the images and image-level labels of a training split.

        Raises:
            LeakError: the split is not a training split, or shares images with the validation or test list.
            DataError: the split, an image or a label is missing.
        """
        split = self._resolve(split)
        if not self._is_train(split):
            raise self._not_for_training(split)
        ids = self._kept(split)
        self._refuse_overlap(split, ids)
        labels = self._labels(split, ids)
        # Such labels are better than people give: tables must not mix the two up.
        source = " (labels: masks)" if self.labels_source == "masks" else ""
        images = []
        for image_id in ids:
            path = self._image_path(split, image_id)
            images.append(WeakImage(image_id, path, labels[image_id]))
        return WeakView(self.name + source, split, self.classes, images)

    def image_view(self, split: str) -> WeakView:
        """Return the images of any split, labels hidden (None): what is predicted on."""
        split = self._resolve(split)
        ids = self._kept(split)
        images = []
        for image_id in ids:
            path = self._image_path(split, image_id)
            images.append(WeakImage(image_id, path, None))
        return WeakView(self.name, split, self.classes, images)

    def ids(self, split: str) -> tuple[str, ...]:
        """Return the ids of a split's images, in order, less what is skipped or over the limit."""
        return self._kept(self._resolve(split))

    @abstractmethod
    def masks(self, split: str) -> SealedMasks:
        """Return the pixel masks of a split, for the evaluator only; raises `DataError` where the split has none."""

    # Abstract although {} would do for a start: who forgets it leaves the ground truth open to every method.
    @abstractmethod
    def sealed(self) -> Mapping[str, tuple[Path, ...]]:
        """Return the files and folders that hold ground truth, by the kind of supervision ("masks", "boxes").

        During a run a method can open those only whose kind of supervision its card declares.
        """

    def prepare(self, progress: Progress | None = None) -> None:  # noqa: B027 - most data need nothing
        """Make what is derived (generated images, rasterised masks) once; idempotent, and safe to interrupt."""

    def ready(self) -> bool:
        """Return whether all that `prepare` would make is there."""
        return True

    def preview(self) -> Dataset:
        """Return a dataset of the same fingerprints that a run can be planned with, and that writes nothing.

        Nothing under its root and nothing in the working directory: what would have to be made is made in memory, or
        in a folder that is deleted when the process ends. The dataset itself where it is `ready`; a derived class whose
        `prepare` makes something overrides this together with `ready`.
        """
        return self

    def truth(self, role: str) -> str:
        """Return what a role's split is scored against and what is left out.

        ``"SegmentationClass, border 255 ignored"``, for example.

        Args:
            role: one of `ROLES`.

        Raises:
            DataError: the split has no masks, or one that cannot be read.
        """
        from wsss_bench.data.masks import convention

        split = self._resolve(getattr(self.splits, role))
        said = self.__dict__.setdefault("_truths", {})
        # Two roles may share a split, and a plan and a record both ask.
        if split not in said:
            convened = convention(self.masks(split), self.ignored)
            said[split] = f"{self.truth_source(split)}, {convened}"
        return str(said[split])

    def truth_source(self, split: str) -> str:
        """Return where the masks of a split come from, in a word or two and without a path of the machine."""
        return "masks"

    def facts(self) -> Mapping[str, Any]:
        """Return what a run record keeps about the dataset."""
        facts: dict[str, Any] = {
            "kind": self.kind,
            "name": self.name,
            "classes": len(self.classes),
            "labels_source": self.labels_source,
        }
        if self.origin:
            facts["origin"] = self.origin
        if self.skipped:
            facts["skipped"] = len(self.skipped)
        if self.limit:
            facts["limit"] = self.limit
        return {**facts, "splits": asdict(self.splits)}

    @abstractmethod
    def _split_names(self) -> Collection[str]:
        """Return the names of the splits; lists of training images are called ``train…``."""

    @abstractmethod
    def _ids(self, split: str) -> tuple[str, ...]:
        """Return all image ids of a split, in order; `split` is one of `_split_names`."""

    @abstractmethod
    def _image_path(self, split: str, image_id: str) -> Path:
        """Return the file of one photograph, whether it exists or not."""

    @abstractmethod
    def _labels(
        self, split: str, ids: tuple[str, ...]
    ) -> Mapping[str, tuple[int, ...]]:
        """Return at least the labels of `ids`: the class ids in each image, sorted, background left out.

        Only ever asked for training splits.
        """

    def _kept(self, split: str) -> tuple[str, ...]:
        """Return the ids of a split without those the user leaves out; raises `DataError` where none is left."""
        ids = tuple(i for i in self._ids(split) if i not in self.skipped)
        if self.skipped and not ids:
            what = f"{self.name}/{split}: the skip list leaves no image."
            raise DataError(f"{what} Shorten it, or restore the files it names.")
        if not self.limit or len(ids) <= self.limit:
            return ids
        # Seeds are scored on images of the training split, which the latter must therefore keep.
        seeds = self.splits.seeds
        before = self._ids(seeds) if seeds in self._split_names() else ()
        return chosen(ids, self.limit, frozenset(before))

    def _is_train(self, split: str) -> bool:
        """Return whether the split's labels may be shown: its list is named ``train…`` and is not ``trainval``."""
        return split.startswith("train") and "val" not in split and "test" not in split

    def _not_for_training(self, split: str) -> LeakError:
        training = [one for one in self.available_splits() if self._is_train(one)]
        listed = ", ".join(training) or "none here"
        return LeakError(
            f"{self.name}/{split}: image-level labels are given for training splits only ({listed}). "
            "To predict on this split use image_view(split), which carries no labels."
        )

    def _resolve(self, split: str) -> str:
        """Return the name under which a split is stored; raises `DataError` for a split that does not exist."""
        names = self._split_names()
        if split in names:
            return split
        hint = did_you_mean(split, names)
        raise DataError(f"{self.name} has no split {split!r}.{hint}")

    def _refuse_overlap(self, split: str, ids: tuple[str, ...]) -> None:
        """Raise `LeakError` for a training list that shares images with those that results are scored on."""
        # Not far-fetched: SBD's own training list holds half of VOC val.
        scored = {"val", "test", self.splits.val} & set(self._split_names())
        for held_out in sorted(scored - {split}):
            both = set(ids).intersection(self._ids(held_out))
            if both:
                raise LeakError(
                    f"{self.name}/{split}: {len(both)} images are also in {held_out!r} (first: {min(both)!r}). "
                    f"Remove them from the {split!r} list; the usual train_aug list of 10,582 ids leaves val out."
                )
