"""Training data: deterministic augmentation per (seed, epoch, image), a sampler that resumes anywhere.

An item's augmentation depends on nothing but (run seed, epoch, image id) and, where images are mixed, the list of images, so
neither the number of workers nor an interruption changes what the network sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from wsss_bench.contract.view import IGNORE, WeakView
from wsss_bench.engine.backbones.staged import NORMALIZATION
from wsss_bench.errors import RecipeError
from wsss_bench.rng import generator

cv2.setNumThreads(0)


class ScheduleSampler(Sampler[int]):
    """Endless stream of positions ``epoch * n + index``, reshuffled each epoch from the seed; `skip` jumps anywhere for free."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.start = size, seed, 0

    def skip(self, num_samples: int) -> None:
        """Start at sample `num_samples` of the stream (mmengine calls this on resume)."""
        self.start = num_samples

    def __iter__(self) -> Iterator[int]:
        position = self.start
        while True:
            epoch, offset = divmod(position, self.size)
            order = generator(self.seed, "order", epoch).permutation(self.size)
            for index in order[offset:]:
                yield epoch * self.size + int(index)
            position = (epoch + 1) * self.size

    def __len__(self) -> int:
        return self.size


@dataclass(frozen=True)
class Augment:
    """How an image (and its label) is brought to a training crop.

    Attributes:
        mode: ``"resize_long"`` (long side drawn from `sizes`, then a random `crop`), ``"scale"`` (factor drawn from
            `sizes`, then a random `crop`), or ``"warp"`` (to `crop` × `crop`, no crop).
        crop: side of the square the network sees.
        sizes: lower and upper bound of the draw.
        flip: mirror with probability ½.
        jitter: brightness, contrast and saturation are scaled by factors within 1 ± jitter.
        mean: padding value per channel (so that padding is 0 after normalising).
    """

    mode: str
    crop: int
    sizes: tuple[float, float] = (1.0, 1.0)
    flip: bool = True
    jitter: float = 0.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Augment:
        """What a stage's ``augment, crop, resize, jitter`` and ``normalize`` describe; mirrored with probability ½."""
        mean = NORMALIZATION[str(params["normalize"])][0]
        return cls(
            str(params["augment"]),
            int(params["crop"]),
            tuple(params["resize"]),
            True,
            float(params["jitter"]),
            mean,
        )

    def __call__(
        self,
        image: NDArray[np.uint8],
        label: NDArray[np.uint8] | None,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
        """Return ``float32 [crop, crop, 3]`` in 0..255 and the label at the same crop (255 outside)."""
        height, width = image.shape[:2]
        draw = float(rng.uniform(*self.sizes))
        if self.mode == "warp":
            new = (self.crop, self.crop)
        else:
            factor = draw / max(height, width) if self.mode == "resize_long" else draw
            new = (max(1, round(height * factor)), max(1, round(width * factor)))
        image = cv2.resize(image, new[::-1], interpolation=cv2.INTER_CUBIC)  # type: ignore[assignment]
        if label is not None:
            label = nearest(label, new)
        if self.flip and rng.random() < 0.5:
            image = image[:, ::-1]
            label = None if label is None else label[:, ::-1]
        pixels = self._jittered(image.astype(np.float32), rng)
        if self.mode == "warp":
            return np.ascontiguousarray(
                pixels
            ), None if label is None else np.ascontiguousarray(label)
        return self._cropped(pixels, label, rng)

    def _jittered(
        self, image: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        if not self.jitter:
            return image
        brightness, contrast, saturation = rng.uniform(
            1 - self.jitter, 1 + self.jitter, 3
        )
        image = image * brightness
        image = (image - image.mean()) * contrast + image.mean()
        grey = image.mean(axis=2, keepdims=True)
        return np.clip((image - grey) * saturation + grey, 0, 255).astype(np.float32)

    def _cropped(
        self,
        image: NDArray[np.float32],
        label: NDArray[np.uint8] | None,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
        side = self.crop
        out = np.empty((side, side, 3), np.float32)
        out[:] = self.mean
        out_label = None if label is None else np.full((side, side), IGNORE, np.uint8)
        slots = []
        for length in image.shape[:2]:
            space = length - side
            shift = int(rng.integers(0, abs(space) + 1))
            size = min(length, side)
            slots.append(
                (slice(shift, shift + size), slice(0, size))
                if space > 0
                else (slice(0, size), slice(shift, shift + size))
            )
        (from_y, to_y), (from_x, to_x) = slots
        out[to_y, to_x] = image[from_y, from_x]
        if label is not None and out_label is not None:
            out_label[to_y, to_x] = label[from_y, from_x]
        return out, out_label


def nearest(label: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a label map by sampling the source at each target cell's centre."""
    rows = ((np.arange(size[0]) + 0.5) * label.shape[0] / size[0]).astype(np.intp)
    columns = ((np.arange(size[1]) + 0.5) * label.shape[1] / size[1]).astype(np.intp)
    return label[rows[:, None], columns]


class TrainingSet(Dataset[dict[str, Any]]):
    """Images with tags and, for segmentors, label maps.

    Items: ``inputs float32 [3, h, w]`` (0..255, RGB), ``tags float32 [C + 1]`` (background first, always 1), and with
    `labels`: ``labels uint8 [h, w]``.

    With probability `cutmix` a square of a quarter to half of the crop's area shows another image of the set, augmented in its
    own way, with that image's labels; the tags are then those of both (CutMix, Yun et al., ICCV 2019; for segmentation French
    et al., BMVC 2020). It needs `labels`: tags alone do not say what is left of a class under the square.
    """

    def __init__(
        self,
        view: WeakView,
        augment: Augment,
        seed: int,
        labels: Callable[[str], NDArray[np.uint8]]
        | Mapping[str, NDArray[np.uint8]]
        | None = None,
        label_size: tuple[int, int] | None = None,
        cache_mb: int = 0,
        cutmix: float = 0.0,
    ) -> None:
        if not 0 <= cutmix <= 1:
            raise RecipeError(
                f"cutmix is {cutmix}, but it is a probability: give a number from 0 to 1."
            )
        if cutmix and labels is None:
            raise RecipeError(
                "cutmix pastes labelled pixels, and this training has image-level labels only: set cutmix=0."
            )
        self.view, self.augment, self.seed, self.cutmix = view, augment, seed, cutmix
        self._labels, self._label_size = labels, label_size
        self._cache: dict[str, NDArray[np.uint8]] = {}
        self._room = cache_mb * 2**20

    def __len__(self) -> int:
        return len(self.view)

    def _pixels(self, image: Any) -> NDArray[np.uint8]:
        pixels = self._cache.get(image.id)
        if pixels is None:
            pixels = image.read()
            if pixels.nbytes <= self._room:
                self._cache[image.id] = pixels
                self._room -= pixels.nbytes
        return pixels

    def _sample(
        self, index: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None, NDArray[np.float32]]:
        """One augmented image: pixels, labels, tags."""
        image = self.view[index]
        label = None
        if self._labels is not None:
            label = (
                self._labels(image.id)
                if callable(self._labels)
                else self._labels[image.id]
            )
        pixels, label = self.augment(self._pixels(image), label, rng)
        tags = np.zeros(self.view.num_classes, np.float32)
        tags[[0, *image.present]] = 1
        return pixels, label, tags

    def __getitem__(self, position: int) -> dict[str, Any]:
        epoch, index = divmod(position, len(self.view))
        name = self.view[index].id
        pixels, label, tags = self._sample(
            index, generator(self.seed, "augment", epoch, name)
        )
        if self.cutmix and label is not None:
            rng = generator(self.seed, "cutmix", epoch, name)
            if rng.random() < self.cutmix:
                other, other_label, other_tags = self._sample(
                    int(rng.integers(len(self.view))), rng
                )
                square = _square(self.augment.crop, rng)
                pixels[square] = other[square]
                label[square] = other_label[square]  # type: ignore[index]
                tags = np.maximum(tags, other_tags)
        item = {
            "inputs": torch.from_numpy(pixels).permute(2, 0, 1),
            "tags": torch.from_numpy(tags),
        }
        if label is not None:
            if self._label_size is not None:
                label = nearest(label, self._label_size)
            item["labels"] = torch.from_numpy(np.ascontiguousarray(label))
        return item


def _square(side: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """A square of a quarter to half of the area of a `side` × `side` crop, anywhere inside it."""
    length = round(side * math.sqrt(rng.uniform(0.25, 0.5)))
    top, left = rng.integers(0, side - length + 1, 2)
    return slice(top, top + length), slice(left, left + length)
