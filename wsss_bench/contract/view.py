"""What a plugin sees of a dataset: images and image-level labels, nothing else.

Class ids are mask ids everywhere: 0 is background, 1..C are the foreground classes, 255 means unlabelled or ignored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload

from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.io.hashing import digests
from wsss_bench.io.images import read_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


IGNORE = 255


@dataclass(frozen=True, slots=True)
class WeakImage:
    """One image: its id, its file, and the foreground classes present (sorted mask ids; None where they are hidden)."""

    id: str
    path: Path
    labels: tuple[int, ...] | None

    def read(self) -> NDArray[np.uint8]:
        """Pixels as ``uint8 [H, W, 3]`` RGB; raises `DataError` for a file that is no image."""
        return read_image(self.path)

    @property
    def present(self) -> tuple[int, ...]:
        """The classes present; raises `DataError` where the view hides them (validation and test images)."""
        if self.labels is None:
            raise DataError(
                f"image {self.id}: image-level labels are hidden in this view. They exist for training splits only."
            )
        return self.labels


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


class WeakView(Sequence[WeakImage]):
    """An immutable, ordered sequence of `WeakImage`.

    Attributes:
        dataset, split: where the images come from.
        classes: class names by mask id; ``classes[0]`` is ``"background"``.
        fingerprint: hex digest over classes, ids, labels and the contents of the images; `parts` are its digests.
    """

    def __init__(
        self,
        dataset: str,
        split: str,
        classes: Sequence[str],
        images: Sequence[WeakImage],
    ) -> None:
        self.dataset, self.split, self.classes = dataset, split, tuple(classes)
        self._images = tuple(images)
        self._by_id = {image.id: image for image in self._images}
        if len(self._by_id) != len(self._images):
            seen: set[str] = set()
            twice = next(i.id for i in self._images if i.id in seen or seen.add(i.id))  # type: ignore[func-returns-value]
            raise DataError(
                f"{dataset}/{split}: image id {twice!r} is listed twice. Remove the duplicate from the list."
            )

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[WeakImage]:
        return iter(self._images)

    @overload
    def __getitem__(self, index: int) -> WeakImage: ...
    @overload
    def __getitem__(self, index: slice) -> WeakView: ...
    def __getitem__(self, index: int | slice) -> WeakImage | WeakView:
        if isinstance(index, slice):
            return WeakView(self.dataset, self.split, self.classes, self._images[index])
        return self._images[index]

    def by_id(self, image_id: str) -> WeakImage:
        """The image of that id; raises `DataError` if the view has none."""
        try:
            return self._by_id[image_id]
        except KeyError:
            raise DataError(
                f"{self.dataset}/{self.split} has no image {image_id!r}."
            ) from None

    def __contains__(self, item: object) -> bool:
        return item in self._by_id if isinstance(item, str) else item in self._images

    @property
    def num_classes(self) -> int:
        """Number of mask ids, background included (C + 1)."""
        return len(self.classes)

    @cached_property
    def parts(self) -> Mapping[str, str]:
        """Hex digests of what the view consists of: ``classes``, ``ids``, ``labels`` and ``images`` (file contents).

        Raises:
            DataError: an image is not on disk, or cannot be read.
        """
        images = self._images
        labels = [image.labels for image in images]
        return {
            "classes": _digest(self.classes),
            "ids": _digest([image.id for image in images]),
            "labels": _digest(labels),
            "images": _digest(self._contents()),
        }

    def _contents(self) -> list[str]:
        """Return the digest of each image's file."""
        try:
            return digests([image.path for image in self._images])
        except FileNotFoundError as error:
            missing = next(i for i in self._images if not i.path.exists())
            what = f"image {missing.id!r} is listed but {missing.path} is not on disk."
            where = f"{self.dataset}/{self.split}"
            raise DataError(f"{where}: {what} Run: wsss-bench data verify") from error
        except ArtifactError as error:
            raise DataError(f"{self.dataset}/{self.split}: {error}") from error

    @property
    def fingerprint(self) -> str:
        """One hex digest over class names, ids, labels and the contents of the images."""
        return _digest(sorted(self.parts.items()))

    def with_labels(self) -> WeakView:
        """The images that carry at least one label (COCO has photographs without any)."""
        return self.filter(lambda image: bool(image.labels))

    def filter(self, keep: Callable[[WeakImage], bool]) -> WeakView:
        """The images for which `keep` is true, in order."""
        return WeakView(
            self.dataset, self.split, self.classes, [i for i in self._images if keep(i)]
        )
