"""Per-image pixel counts: the one thing that is kept of a prediction, and the source of every number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.view import IGNORE
from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.evaluate import PROTOCOL
from wsss_bench.evaluate.protocol import class_iou, mean_iou
from wsss_bench.io.files import save_arrays, write_atomic

_CHECK = "Score it again: wsss-bench evaluate."


@dataclass(frozen=True, eq=False)
class Counts:
    """Pixel counts of one set of label maps against the truth. Pixels whose truth is 255 are in none of them.

    Attributes:
        classes: class names by mask id, ``classes[0]`` is the background.
        ids: image ids, in the order of the rows.
        intersection: ``int64 [N, C+1]`` pixels of class c in both.
        prediction: ``int64 [N, C+1]`` pixels predicted as c.
        truth: ``int64 [N, C+1]`` pixels whose truth is c. A prediction of 255 is in `truth` alone: a miss.
        confusion: ``int64 [C+1, C+2]`` summed over images; rows truth, columns prediction, last column predicted 255.
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    intersection: NDArray[np.int64]
    prediction: NDArray[np.int64]
    truth: NDArray[np.int64]
    confusion: NDArray[np.int64]

    def __post_init__(self) -> None:
        wanted = (len(self.ids), len(self.classes))
        for name in ("intersection", "prediction", "truth"):
            if getattr(self, name).shape != wanted:
                raise ArtifactError(
                    f"counts: {name} has shape {getattr(self, name).shape}, {wanted} was expected. {_CHECK}"
                )
        if self.confusion.shape != (wanted[1], wanted[1] + 1):
            raise ArtifactError(
                f"counts: confusion has shape {self.confusion.shape}, expected {(wanted[1], wanted[1] + 1)}. {_CHECK}"
            )
        for found, summed, name in (
            (np.diagonal(self.confusion), self.intersection, "intersection"),
            (self.confusion[:, :-1].sum(0), self.prediction, "prediction"),
            (self.confusion.sum(1), self.truth, "truth"),
        ):
            if not np.array_equal(found, summed.sum(0)):
                raise ArtifactError(
                    f"counts: the confusion matrix and the per-image {name} disagree. {_CHECK}"
                )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_pixels(self) -> NDArray[np.int64]:
        """Scored pixels per image, ``int64 [N]`` (truth is not 255)."""
        return self.truth.sum(1)

    @property
    def n_labelled(self) -> NDArray[np.int64]:
        """Scored pixels per image that carry a predicted label, ``int64 [N]`` (prediction is not 255)."""
        return self.prediction.sum(1)

    def per_class_iou(self) -> NDArray[np.float64]:
        """IoU of every class over the whole set, ``float64 [C+1]``; NaN for a class in neither truth nor prediction."""
        return class_iou(
            self.intersection.sum(0), self.prediction.sum(0), self.truth.sum(0)
        )

    def miou(self) -> float:
        """Mean of the classes that occur, in [0, 1]; NaN where no pixel was scored at all."""
        return float(mean_iou(self.per_class_iou()))

    def coverage(self) -> float:
        """Share of the scored pixels that carry a label, in [0, 1]; NaN where no pixel was scored."""
        pixels = int(self.confusion.sum())
        return (
            float(pixels - int(self.confusion[:, -1].sum())) / pixels
            if pixels
            else float("nan")
        )

    def image_miou(self) -> NDArray[np.float64]:
        """Mean IoU within each image, ``float64 [N]``, for looking at single images; never a board's number."""
        return mean_iou(class_iou(self.intersection, self.prediction, self.truth))

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """``int64 [len(ids), C+1, 3]``: intersection, prediction and truth of some images, in the given order.

        Raises:
            ArtifactError: an id that was not scored.
        """
        where = {image_id: row for row, image_id in enumerate(self.ids)}
        missing = [i for i in ids if i not in where]
        if missing:
            raise ArtifactError(
                f"counts: {len(missing)} images were not scored (first: {missing[0]!r}). {_CHECK}"
            )
        chosen = [where[i] for i in ids]
        return np.stack(
            [self.intersection[chosen], self.prediction[chosen], self.truth[chosen]], 2
        )

    def save(self, path: Path) -> None:
        """Write a compact ``.npz``: the cells that are not zero, smallest sufficient integers; same counts, same bytes."""
        stacked = np.stack([self.intersection, self.prediction, self.truth], 2)
        image, klass = np.nonzero(stacked.any(2))
        arrays: dict[str, NDArray[Any]] = {
            "protocol": np.asarray([PROTOCOL]),
            "classes": np.asarray(self.classes, dtype=str),
            "ids": np.asarray(self.ids, dtype=str),
            "per_image": np.bincount(image, minlength=len(self.ids)).astype(np.uint16),
            "klass": klass.astype(np.uint8),
            "counts": _narrow(stacked[image, klass].T),
            "confusion": _narrow(self.confusion),
        }
        write_atomic(path, lambda handle: save_arrays(handle, arrays))

    @classmethod
    def load(cls, path: Path) -> Counts:
        """Read what `save` wrote; raises `ArtifactError` naming the file when it is missing, malformed or of another protocol."""
        stored = load_arrays(path, "counts")
        try:
            classes, ids = (names(stored[name]) for name in ("classes", "ids"))
            for name in ("per_image", "klass", "counts", "confusion"):
                if not np.issubdtype(stored[name].dtype, np.unsignedinteger):
                    raise ValueError(
                        f"{name} is {stored[name].dtype}, no unsigned integer"
                    )
            dense = np.zeros((len(ids), len(classes), 3), np.int64)
            image = np.repeat(np.arange(len(ids)), stored["per_image"])
            dense[image, stored["klass"]] = stored["counts"].T
            return cls(
                classes,
                ids,
                dense[:, :, 0],
                dense[:, :, 1],
                dense[:, :, 2],
                stored["confusion"].astype(np.int64),
            )
        except (
            KeyError,
            IndexError,
            ValueError,
            TypeError,
            MemoryError,
            ArtifactError,
        ) as error:
            raise ArtifactError(
                f"{path} holds no valid counts ({error}). {_CHECK}"
            ) from error


class CountsBuilder:
    """Adds up one image after the other; keeps a few hundred bytes per image, never the pixels."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        if not 1 <= len(self.classes) <= IGNORE:
            raise DataError(
                f"{len(self.classes)} classes cannot be told apart in 8-bit masks; 1 to {IGNORE} are possible."
            )
        self._slots = slots(len(self.classes))
        self._size = len(self.classes) + 2
        self._rows: dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]] = {}
        self._confusion = np.zeros((len(self.classes), len(self.classes) + 1), np.int64)

    def add(
        self, image_id: str, pred: NDArray[np.uint8], truth: NDArray[np.uint8]
    ) -> None:
        """Count one image.

        Args:
            image_id: its id; each image is counted once.
            pred: ``uint8 [H, W]`` mask ids, 255 = no label.
            truth: ``uint8 [H, W]`` mask ids, 255 = not scored.

        Raises:
            ArtifactError: the prediction has another dtype or size, holds a value that is no class, or comes twice.
            DataError: the truth has another dtype or holds a value that is no class.
        """
        from wsss_bench.evaluate.kernels import joint_histogram

        check_once(image_id, self._rows)
        check_masks(image_id, pred, truth)
        table = joint_histogram(
            np.ascontiguousarray(truth).ravel(),
            np.ascontiguousarray(pred).ravel(),
            self._slots,
            self._size,
        )
        if table[-1].any() or table[:, -1].any():
            self._refuse(image_id, pred, truth)
        scored = table[: len(self.classes), :-1]
        self._confusion += scored
        row = np.stack([np.diagonal(scored), scored[:, :-1].sum(0), scored.sum(1)])
        present = np.flatnonzero(row.any(0)).astype(np.uint8)
        self._rows[image_id] = (present, row[:, present])

    def result(self) -> Counts:
        """The counts of all images added; raises `DataError` if there are none."""
        if not self._rows:
            raise DataError(
                "no image was scored, so there is no mIoU. Check the split and the folder of predictions."
            )
        dense = np.zeros((3, len(self._rows), len(self.classes)), np.int64)
        for index, (present, values) in enumerate(self._rows.values()):
            dense[:, index, present] = values
        return Counts(
            self.classes,
            tuple(self._rows),
            dense[0],
            dense[1],
            dense[2],
            self._confusion.copy(),
        )

    def _refuse(
        self, image_id: str, pred: NDArray[np.uint8], truth: NDArray[np.uint8]
    ) -> None:
        allowed = [*range(len(self.classes)), IGNORE]
        for name, mask, kind in (
            ("truth", truth, DataError),
            ("prediction", pred, ArtifactError),
        ):
            foreign = np.setdiff1d(mask, allowed).tolist()
            if foreign:
                raise kind(
                    f"image {image_id!r}: the {name} holds {foreign[:10]}; allowed are 0..{len(self.classes) - 1} and {IGNORE}. "
                    "Write class indices (palette or greyscale PNG), not colours."
                )


def slots(n_classes: int) -> NDArray[np.int64]:
    """``int64 [256]``: a class maps to itself, 255 to ``n_classes``, anything else to ``n_classes + 1``."""
    table = np.full(256, n_classes + 1, np.int64)
    table[:n_classes] = np.arange(n_classes)
    table[IGNORE] = n_classes
    return table


def check_once(image_id: str, known: Any) -> None:
    """Raise `ArtifactError` for an image that was counted before."""
    if image_id in known:
        raise ArtifactError(
            f"image {image_id!r} was scored twice. Pass each image once."
        )


def check_masks(image_id: str, pred: NDArray[Any], truth: NDArray[Any]) -> None:
    """Raise for a mask that is not ``uint8 [H, W]`` or for two of different size; nothing is ever resized."""
    for name, mask, kind in (
        ("truth", truth, DataError),
        ("prediction", pred, ArtifactError),
    ):
        if mask.dtype != np.uint8 or mask.ndim != 2 or not mask.size:
            raise kind(
                f"image {image_id!r}: the {name} must be uint8 [H, W], not {mask.dtype} {list(mask.shape)}."
            )
    if pred.shape != truth.shape:
        raise ArtifactError(
            f"image {image_id!r}: the prediction is {list(pred.shape)}, the truth {list(truth.shape)} [H, W]. "
            "Write predictions at the photograph's own size; the evaluator never resizes."
        )


def load_arrays(path: Path, what: str) -> dict[str, NDArray[Any]]:
    """Read an ``.npz`` without pickle and check its protocol; raises `ArtifactError` naming the file."""
    try:
        with np.load(path, allow_pickle=False) as data:
            stored = {name: data[name] for name in data.files}
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing. {_CHECK}") from None
    except Exception as error:  # a damaged file may raise anything inside its decoder
        raise ArtifactError(
            f"{path} cannot be read as {what} ({error}). {_CHECK}"
        ) from error
    found = str(
        next(iter(stored.get("protocol", np.asarray(["none"])).ravel()), "none")
    )
    if found != PROTOCOL:
        raise ArtifactError(
            f"{path} was counted under protocol {found!r}, this version has {PROTOCOL!r}. {_CHECK}"
        )
    return stored


def names(values: NDArray[Any]) -> tuple[str, ...]:
    """A stored array of distinct names; raises `ValueError` for any other."""
    found = values.tolist()
    if values.ndim != 1 or values.dtype.kind != "U" or len(set(found)) != len(found):
        raise ValueError(
            f"{values.dtype} {list(values.shape)} is no list of distinct names"
        )
    return tuple(found)


def _narrow(values: NDArray[np.int64]) -> NDArray[Any]:
    """The same integers in the smallest unsigned type of 4 or 8 bytes that holds them."""
    return values.astype(
        np.uint32 if values.size == 0 or values.max() < 2**32 else np.uint64
    )
