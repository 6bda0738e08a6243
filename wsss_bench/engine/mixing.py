"""Mixers: how a training sample is made of two, behind one callable.

A mixer gets a sample, a function that draws another one, and a generator of its own, and returns what the network
is to see. Its draws depend on (run seed, epoch, image id) alone, so neither workers nor an interruption change
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from wsss_bench.errors import RecipeError

Pixels = NDArray[np.float32]
LabelMap = NDArray[np.uint8]
Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """One training sample.

    Attributes:
        pixels: ``float32 [h, w, 3]`` in 0..255.
        label: ``uint8 [h, w]``, or None where the training has image-level labels only.
        tags: ``float32 [C + 1]`` in [0, 1], background first.
        extras: what the mixer hands on to the training's objective, by the name it has in the batch.
    """

    pixels: Pixels
    label: LabelMap | None
    tags: Vector
    extras: Mapping[str, NDArray[Any]] = field(default_factory=dict)


Draw = Callable[[Generator], Sample]
"""Draws another sample of the set, augmented in its own way."""


class Mixer(Protocol):
    """What a training set takes as `mixer`.

    Attributes:
        stream: names the random stream, so that two mixers never share their draws.
        labels: whether label maps are ``"needed"``, ``"refused"``, or taken as they come (``"any"``).
    """

    stream: ClassVar[str]
    labels: ClassVar[str]

    def __call__(
        self,
        sample: Sample,
        draw: Draw,
        rng: Generator,
    ) -> Sample:
        """Return the mixed sample, or `sample` itself."""


def check_labels(mixer: Mixer, labelled: bool) -> None:
    """Raise `RecipeError` where the training has label maps that the mixer cannot mix, or lacks those that it needs."""
    who = mixer.stream
    if mixer.labels == "needed" and not labelled:
        # Tags alone do not say what is left of a class under what is pasted.
        what = "pastes labelled pixels, and this training has image-level labels only"
        raise RecipeError(f"{who} {what}: set {who}=0.")
    if mixer.labels == "refused" and labelled:
        what = "blends pixels, and a label map holds one class a pixel"
        raise RecipeError(f"{who} {what}: use cutmix or fmix for a segmentor.")


def _check_probability(value: float, who: str) -> None:
    if not 0 <= value <= 1:
        what = "but it is a probability: give a number from 0 to 1."
        raise RecipeError(f"{who} is {value}, {what}")


@dataclass(frozen=True)
class CutMix:
    """With `probability` a square shows another image, with that image's labels; the tags are those of both.

    The square has a quarter to half of the crop's area (CutMix, Yun et al., ICCV 2019; for segmentation French et al.,
    BMVC 2020). It needs label maps: tags alone do not say what is left of a class under the square.
    """

    stream: ClassVar[str] = "cutmix"
    labels: ClassVar[str] = "needed"

    probability: float

    def __post_init__(self) -> None:
        _check_probability(self.probability, self.stream)

    def __call__(
        self,
        sample: Sample,
        draw: Draw,
        rng: Generator,
    ) -> Sample:
        """Paste a square of another sample, or return `sample` as it is."""
        if rng.random() >= self.probability:
            return sample
        other = draw(rng)
        assert sample.label is not None
        assert other.label is not None
        place = square(len(sample.pixels), rng)
        pixels = sample.pixels.copy()
        pixels[place] = other.pixels[place]
        label = sample.label.copy()
        label[place] = other.label[place]
        # Both: what is hidden under the square is not known without masks of the first image.
        tags = np.maximum(sample.tags, other.tags)
        return Sample(pixels, label, tags)


def square(side: int, rng: Generator) -> tuple[slice, slice]:
    """Return a square of a quarter to half of the area of a `side` × `side` crop, anywhere inside it."""
    share = rng.uniform(0.25, 0.5)
    length = round(side * math.sqrt(share))
    top, left = rng.integers(0, side - length + 1, 2)
    rows = slice(top, top + length)
    columns = slice(left, left + length)
    return rows, columns


@dataclass(frozen=True)
class Mixup:
    """With `probability` images and tags are blended (Zhang et al., ICLR 2018).

    The blend is ``λ·a + (1 - λ)·b``, with λ drawn from Beta(α, α).
    """

    stream: ClassVar[str] = "mixup"
    labels: ClassVar[str] = "refused"

    probability: float = 1.0
    alpha: float = 0.2

    def __post_init__(self) -> None:
        _check_probability(self.probability, self.stream)
        _check_alpha(self.alpha, self.stream)

    def __call__(
        self,
        sample: Sample,
        draw: Draw,
        rng: Generator,
    ) -> Sample:
        """Blend with another sample, or return `sample` as it is."""
        if rng.random() >= self.probability:
            return sample
        weight = rng.beta(self.alpha, self.alpha)
        other = draw(rng)
        pixels = blend(sample.pixels, other.pixels, weight)
        tags = blend(sample.tags, other.tags, weight)
        return replace(sample, pixels=pixels, tags=tags)


def blend(
    first: Vector,
    second: Vector,
    weight: float,
) -> Vector:
    """Return ``weight · first + (1 - weight) · second`` in float32."""
    # Of the arrays' type: a double would make doubles of them, which the network does not take.
    share = np.float32(weight)
    return share * first + (1 - share) * second


def _check_alpha(value: float, who: str) -> None:
    if value <= 0:
        raise RecipeError(f"{who}: alpha is {value}, it must be above 0.")


@dataclass(frozen=True)
class FMix:
    """With `probability` one region shows another image; its border follows low-frequency noise (Harris et al., 2020).

    A grey image is drawn whose Fourier amplitudes fall with frequency to the power of `decay`; the share λ of its
    brightest pixels, λ from Beta(α, α), keeps the first image. Tags are weighted by the shares. Where there are
    label maps, they are cut along the same border and the tags are those of both images.
    """

    stream: ClassVar[str] = "fmix"
    labels: ClassVar[str] = "any"

    probability: float = 1.0
    alpha: float = 1.0
    decay: float = 3.0

    def __post_init__(self) -> None:
        _check_probability(self.probability, self.stream)
        _check_alpha(self.alpha, self.stream)

    def __call__(
        self,
        sample: Sample,
        draw: Draw,
        rng: Generator,
    ) -> Sample:
        """Combine two samples along a drawn border, or return `sample` as it is."""
        if rng.random() >= self.probability:
            return sample
        height, width = sample.pixels.shape[:2]
        share = float(rng.beta(self.alpha, self.alpha))
        mask = region(height, width, share, self.decay, rng)
        other = draw(rng)
        pixels = np.where(mask[:, :, None], sample.pixels, other.pixels)
        if sample.label is None or other.label is None:
            # The share that is really there: λ is rounded to whole pixels.
            tags = blend(sample.tags, other.tags, mask.mean())
            return replace(sample, pixels=pixels, tags=tags)
        label = np.where(mask, sample.label, other.label)
        tags = np.maximum(sample.tags, other.tags)
        return Sample(pixels, label, tags)


def region(
    height: int,
    width: int,
    share: float,
    decay: float,
    rng: Generator,
) -> NDArray[np.bool_]:
    """Return ``bool [height, width]`` of which the `share` (rounded to whole pixels) is true, in smooth regions.

    FMix, section 4: Gaussian noise in the Fourier domain, divided by frequency to the power of `decay`, brought
    back, and thresholded so that the brightest share is kept.
    """
    rows = np.fft.fftfreq(height)
    columns = np.fft.rfftfreq(width)
    frequency = np.hypot.outer(rows, columns)
    # Zero frequency would divide by nothing; the release replaces it by that of one period along the longer side.
    longest = 1 / max(height, width)
    frequency = np.maximum(frequency, longest)
    real, imaginary = rng.standard_normal((2, *frequency.shape))
    noise = real + 1j * imaginary
    spectrum = noise / frequency**decay
    grey = np.fft.irfft2(spectrum, s=(height, width))
    # Counted, not compared with a threshold: the share is then exact, and equal values cannot spoil it.
    brightest = np.argsort(-grey, axis=None, kind="stable")
    kept = round(share * grey.size)
    mask = np.zeros(grey.size, bool)
    mask[brightest[:kept]] = True
    return mask.reshape(grey.shape)


@dataclass(frozen=True)
class ManifoldMixup:
    """Hands the partner and the weight on to `ManifoldMixupLoss`, which blends features (Verma et al., ICML 2019).

    The batch gets ``partner float32 [B, 3, h, w]``, ``partner_tags float32 [B, C + 1]`` and ``weight float32 [B]``,
    which is 1 where nothing is mixed.
    """

    stream: ClassVar[str] = "manifold"
    labels: ClassVar[str] = "refused"

    probability: float = 1.0
    alpha: float = 2.0

    def __post_init__(self) -> None:
        _check_probability(self.probability, self.stream)
        _check_alpha(self.alpha, self.stream)

    def __call__(
        self,
        sample: Sample,
        draw: Draw,
        rng: Generator,
    ) -> Sample:
        """Return `sample` with its partner beside it."""
        weight = 1.0
        if rng.random() < self.probability:
            weight = rng.beta(self.alpha, self.alpha)
        other = draw(rng)
        extras = {
            "partner": np.moveaxis(other.pixels, 2, 0),
            "partner_tags": other.tags,
            "weight": np.asarray(weight, np.float32),
        }
        return replace(sample, extras=extras)


@dataclass(frozen=True)
class ManifoldMixupLoss:
    """The classifier's own loss on features that were blended at a random layer.

    Attributes:
        layers: how many of the backbone's stages run before the blending; 0 blends images. One is drawn for every
            iteration.
    """

    layers: tuple[int, ...] = (0, 1, 2)

    def __call__(self, model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses of a `MultiLabelClassifier` for a batch of `ManifoldMixup`."""
        # torch is seeded before every iteration, so a resumed training draws what an undisturbed one would.
        drawn = torch.randint(len(self.layers), ())
        layer = self.layers[int(drawn)]
        first = model.until(batch["inputs"], layer)
        second = model.until(batch["partner"], layer)
        weight = batch["weight"]
        mixed = _blended(first, second, weight.view(-1, 1, 1, 1))
        features = model.onwards(mixed, layer)
        tags = _blended(batch["tags"], batch["partner_tags"], weight.view(-1, 1))
        # The head knows nothing of background, the first of the tags.
        losses: dict[str, Tensor] = model.head.loss(features, tags[:, 1:])
        return losses


def _blended(
    first: Tensor,
    second: Tensor,
    weight: Tensor,
) -> Tensor:
    return weight * first + (1 - weight) * second
