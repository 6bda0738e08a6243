"""Training data: deterministic augmentation per (seed, epoch, image), a sampler that resumes anywhere.

An item's augmentation depends on nothing but (run seed, epoch, image id) and, where images are mixed, the list of
images, so neither the number of workers nor an interruption changes what the network sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from wsss_bench.contract.view import IGNORE, WeakImage, WeakView
from wsss_bench.engine.backbones.names import normalization, normalize_of
from wsss_bench.engine.mixing import Mixer, Sample, check_labels
from wsss_bench.rng import generator

cv2.setNumThreads(0)


class ScheduleSampler(Sampler[int]):
    """Endless stream of positions ``epoch * n + index``, reshuffled each epoch from the seed.

    `skip` jumps anywhere for free. Of several processes (`ranks`) number `rank` gets its share of every `batch`
    positions, so that together they see the batches of one process.
    """

    def __init__(
        self, size: int, seed: int, batch: int = 1, rank: int = 0, ranks: int = 1
    ) -> None:
        self.size = size
        self.seed = seed
        self.share = batch // ranks
        self.batch, self.rank = batch, rank
        self.start = 0

    def skip(self, num_samples: int) -> None:
        """Start at sample `num_samples` of the stream; mmengine calls this on resume, and no image is read for it."""
        self.start = num_samples

    def __iter__(self) -> Iterator[int]:
        known, order = -1, np.empty(0, np.intp)
        for own in count(self.start):
            batch, place = divmod(own, self.share)
            position = batch * self.batch + self.rank * self.share + place
            epoch, offset = divmod(position, self.size)
            if epoch != known:
                rng = generator(self.seed, "order", epoch)
                known, order = epoch, rng.permutation(self.size)
            yield epoch * self.size + int(order[offset])

    def __len__(self) -> int:
        """Return the length of an epoch; the stream itself does not end."""
        return self.size


Photograph = NDArray[np.uint8]
Pixels = NDArray[np.float32]
LabelMap = NDArray[np.uint8]


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
        """Return what a stage's ``augment, crop, resize, jitter`` and ``normalize`` describe; it mirrors images too."""
        mean, _ = normalization(normalize_of(params))
        return cls(
            mode=str(params["augment"]),
            crop=int(params["crop"]),
            sizes=tuple(params["resize"]),
            flip=True,
            jitter=float(params["jitter"]),
            mean=mean,
        )

    def __call__(
        self,
        image: Photograph,
        label: LabelMap | None,
        rng: Generator,
    ) -> tuple[Pixels, LabelMap | None]:
        """Return ``float32 [crop, crop, 3]`` in 0..255 and the label at the same crop (255 outside)."""
        # Drawn in every mode, so that one mode's later draws are those of another.
        draw = float(rng.uniform(*self.sizes))
        size = self._size(image, draw)
        image = _resized(image, size)
        if label is not None:
            label = nearest(label, size)
        if self.flip and rng.random() < 0.5:
            image = np.fliplr(image)
            label = None if label is None else np.fliplr(label)
        pixels = self._jittered(image.astype(np.float32), rng)
        if self.mode != "warp":
            return self._cropped(pixels, label, rng)
        # A mirrored view has negative strides, which torch does not take.
        pixels = np.ascontiguousarray(pixels)
        if label is not None:
            label = np.ascontiguousarray(label)
        return pixels, label

    def _size(self, image: Photograph, draw: float) -> tuple[int, int]:
        if self.mode == "warp":
            return self.crop, self.crop
        height, width = image.shape[:2]
        factor = draw
        if self.mode == "resize_long":
            factor = draw / max(height, width)
        rows, columns = round(height * factor), round(width * factor)
        return max(1, rows), max(1, columns)

    def _jittered(self, image: Pixels, rng: Generator) -> Pixels:
        if not self.jitter:
            return image
        low, high = 1 - self.jitter, 1 + self.jitter
        brightness, contrast, saturation = rng.uniform(low, high, 3)
        image = image * brightness
        mean = image.mean()
        image = (image - mean) * contrast + mean
        grey = image.mean(axis=2, keepdims=True)
        image = (image - grey) * saturation + grey
        image = np.clip(image, 0, 255)
        return image.astype(np.float32)

    def _cropped(
        self,
        image: Pixels,
        label: LabelMap | None,
        rng: Generator,
    ) -> tuple[Pixels, LabelMap | None]:
        height, width = image.shape[:2]
        from_y, to_y = self._window(height, rng)
        from_x, to_x = self._window(width, rng)
        out = np.empty((self.crop, self.crop, 3), np.float32)
        out[:] = self.mean
        out[to_y, to_x] = image[from_y, from_x]
        if label is None:
            return out, None
        # What lies outside the photograph teaches nothing.
        out_label = np.full((self.crop, self.crop), IGNORE, np.uint8)
        out_label[to_y, to_x] = label[from_y, from_x]
        return out, out_label

    def _window(self, length: int, rng: Generator) -> tuple[slice, slice]:
        """Return where along one side the crop lies in the image, and the image in the crop."""
        space = length - self.crop
        shift = int(rng.integers(0, abs(space) + 1))
        if space > 0:
            return slice(shift, shift + self.crop), slice(0, self.crop)
        # The image is smaller than the crop: all of it lies somewhere inside.
        return slice(0, length), slice(shift, shift + length)


def _resized(image: Photograph, size: tuple[int, int]) -> Photograph:
    height, width = size
    # OpenCV takes the width first.
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def nearest(label: LabelMap, size: tuple[int, int]) -> LabelMap:
    """Resize a label map by sampling the source at each target cell's centre."""
    height, width = size
    old_height, old_width = label.shape
    rows = _centres(old_height, height)
    columns = _centres(old_width, width)
    return label[rows[:, None], columns]


def _centres(old: int, new: int) -> NDArray[np.intp]:
    # Cell centres, not corners: a cue grid then comes back unchanged from a photograph's size.
    centres = np.arange(new) + 0.5
    places = centres * old / new
    return places.astype(np.intp)


class ByImage(Protocol):
    """Label maps by image id: a mapping, or a `LabelSet`, which reads them from its folder."""

    def __getitem__(self, image_id: str, /) -> LabelMap: ...


Labels = Callable[[str], LabelMap] | ByImage
"""Label maps ``uint8 [H, W]`` by image id, or a function that gives them."""

Targets = Mapping[str, NDArray[np.float32]]
"""Training targets by image id, ``float32 [K]`` in [0, 1], in place of the image's tags."""


class TrainingSet(Dataset[dict[str, Any]]):
    """Images with tags and, for segmentors, label maps.

    Items: ``inputs float32 [3, h, w]`` (0..255, RGB), ``tags float32 [C + 1]`` (background first, always 1), with
    `labels` also ``labels uint8 [h, w]``, and whatever a mixer adds.

    Args:
        view: the images; they must carry tags.
        augment: how an image is brought to a crop.
        seed: what every draw is derived from, beside epoch and image id.
        labels: label maps at the photographs' sizes.
        label_size: label maps are sampled down to this size after cropping; None keeps the crop's.
        cache_mb: decoded photographs are kept up to this many MiB.
        mixer: makes a sample of two (see `wsss_bench.engine.mixing`).
        targets: replace the tags, for targets that change between trainings (sub-categories of a class, say).

    Raises:
        RecipeError: the mixer and the kind of labels do not go together.
    """

    def __init__(
        self,
        view: WeakView,
        augment: Augment,
        seed: int,
        labels: Labels | None = None,
        label_size: tuple[int, int] | None = None,
        cache_mb: int = 0,
        mixer: Mixer | None = None,
        targets: Targets | None = None,
    ) -> None:
        if mixer is not None:
            check_labels(mixer, labels is not None)
        self.view = view
        self.augment = augment
        self.seed = seed
        self.label_size = label_size
        self.mixer = mixer
        self.targets = targets
        self._labels = labels
        self._cache: dict[str, Photograph] = {}
        self._room = cache_mb * 2**20

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, position: int) -> dict[str, Any]:
        epoch, index = divmod(position, len(self.view))
        name = self.view[index].id
        rng = generator(self.seed, "augment", epoch, name)
        sample = self._sample(index, rng)
        if self.mixer is None:
            return self._item(sample)
        # A stream of its own, so that the sample's crop is the same with and without a mixer.
        rng = generator(self.seed, self.mixer.stream, epoch, name)
        mixed = self.mixer(sample, self._any, rng)
        return self._item(mixed)

    def _any(self, rng: Generator) -> Sample:
        index = int(rng.integers(len(self.view)))
        return self._sample(index, rng)

    def _sample(self, index: int, rng: Generator) -> Sample:
        image = self.view[index]
        photograph = self._pixels(image)
        label = self._label(image.id)
        pixels, label = self.augment(photograph, label, rng)
        tags = self._tags(image)
        return Sample(pixels, label, tags)

    def _label(self, image_id: str) -> LabelMap | None:
        if self._labels is None:
            return None
        if callable(self._labels):
            return self._labels(image_id)
        return self._labels[image_id]

    def _tags(self, image: WeakImage) -> NDArray[np.float32]:
        if self.targets is not None:
            return np.asarray(self.targets[image.id], np.float32)
        tags = np.zeros(self.view.num_classes, np.float32)
        tags[[0, *image.present]] = 1
        return tags

    def _pixels(self, image: WeakImage) -> Photograph:
        pixels = self._cache.get(image.id)
        if pixels is None:
            pixels = image.read()
            # Photographs are read in another order every epoch: what is in stays in, nothing is thrown out again.
            if pixels.nbytes <= self._room:
                self._cache[image.id] = pixels
                self._room -= pixels.nbytes
        return pixels

    def _item(self, sample: Sample) -> dict[str, Any]:
        pixels = torch.from_numpy(sample.pixels)
        item = {
            "inputs": pixels.permute(2, 0, 1),
            "tags": torch.from_numpy(sample.tags),
        }
        for name, array in sample.extras.items():
            # Not `ascontiguousarray`: it makes a vector of a single number, and batches would broadcast wrongly.
            whole = np.array(array, order="C")
            item[name] = torch.from_numpy(whole)
        label = sample.label
        if label is None:
            return item
        if self.label_size is not None:
            label = nearest(label, self.label_size)
        label = np.ascontiguousarray(label)
        item["labels"] = torch.from_numpy(label)
        return item
