"""Prediction with a trained segmentor: scales, mirror, dense CRF; raw and CRF label maps in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.contract.view import WeakImage
from wsss_bench.engine.batching import (
    InBatches,
    Size,
    batch_size,
    batches,
    resized,
    scaled,
    stacked,
)
from wsss_bench.engine.models import WeakSegmentor
from wsss_bench.engine.precision import autocast
from wsss_bench.io.images import image_size

Photograph = NDArray[np.uint8]


@dataclass(frozen=True)
class TestSettings:
    """How a segmentor predicts.

    Attributes:
        scales: factors on the image's size (or on `warp`); several are merged.
        flip: also predict the mirrored image.
        merge: ``"probs"`` averages probabilities; ``"logits"`` sums logits before the softmax, as DSRG's release does
            (a sum over three scales is a softmax at temperature 1/3).
        warp: 0 keeps the aspect; otherwise the image is warped to ``warp × warp`` first (SEC and DSRG's first stage).
        crf: preset of the test-time CRF.
        batch: how many images of one size share a batch; 0 leaves it to the device.
        step: sides at every scale are rounded to a multiple of it, so that photographs of many sizes share few; 0
            keeps them.
        amp: precision of the network's forward passes: ``""`` (float32), ``"bf16"`` or, on a GPU, ``"fp16"``.
    """

    # pytest would take the name for a class of tests.
    __test__ = False

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    merge: str = "probs"
    warp: int = 0
    crf: str = "dsrg"
    amp: str = ""
    batch: int = 0
    step: int = 0

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> TestSettings:
        """Return the settings that a mapping holds; unknown keys are ignored, so old artifacts stay readable."""
        names = cls.__dataclass_fields__
        known = {name: settings[name] for name in names if name in settings}
        if "scales" in known:
            # A list where it was read from JSON.
            known["scales"] = tuple(map(float, known["scales"]))
        return cls(**known)


@torch.inference_mode()
def predict_probabilities(
    model: WeakSegmentor,
    image: Photograph,
    settings: TestSettings,
    device: str,
) -> NDArray[np.float32]:
    """Return class probabilities ``float32 [C + 1, H, W]`` of one photograph ``uint8 [H, W, 3]``.

    Raises:
        RecipeError: the device cannot compute in the precision that `settings` ask for.
    """
    photographs = _photographs(image, settings)
    size = image.shape[0], image.shape[1]
    merged = _merged(model, [photographs], size, settings, device)
    return merged[0].cpu().numpy()


Probabilities = NDArray[np.float32]
"""Class probabilities ``float32 [C + 1, H, W]``."""


def probabilities_of(
    model: WeakSegmentor,
    images: Sequence[WeakImage],
    settings: TestSettings,
    device: str,
    *,
    done: Callable[[str], bool],
    workers: int = 1,
    keep: Path | None = None,
) -> Iterator[tuple[WeakImage, Probabilities]]:
    """Yield every image that is not done with its class probabilities, on the CPU.

    Images of one size go through the network together (see `wsss_bench.engine.batching`), so the order is not that of
    `images`.

    Args:
        model: the network, in eval mode on `device`.
        images: the whole view, also what is done already.
        settings: how it predicts.
        device: where it is.
        done: whether an image of that id needs nothing any more.
        workers: threads that read photographs ahead.
        keep: a file that remembers which batches had to be halved.

    Raises:
        RecipeError: the device cannot compute in the precision that `settings` ask for.
        WsssError: the memory does not hold one image.
    """

    def prepare(image: WeakImage) -> tuple[Size, list[Tensor]]:
        pixels = image.read()
        return (pixels.shape[0], pixels.shape[1]), _photographs(pixels, settings)

    @torch.inference_mode()
    def compute(
        images: Sequence[WeakImage], read: Sequence[tuple[Size, list[Tensor]]]
    ) -> Tensor:
        photographs = [one for _, one in read]
        return _merged(model, photographs, read[0][0], settings, device)

    def finish(images: Sequence[WeakImage], made: Tensor) -> Iterable[Probabilities]:
        return made.cpu().numpy()

    size = batch_size(settings.batch, device, _floats(model, images))
    how = InBatches(prepare, compute, finish, workers, keep)
    return how.over(batches(images, size), done)


def _floats(model: WeakSegmentor, images: Sequence[WeakImage]) -> int:
    """Return about how many probabilities a photograph has: of the first one, since datasets' sizes are alike."""
    head = getattr(getattr(model, "net", None), "decode_head", None)
    classes = int(getattr(head, "num_classes", 21))
    height, width = image_size(images[0].path) if images else (0, 0)
    return classes * height * width


def _merged(
    model: WeakSegmentor,
    photographs: Sequence[Sequence[Tensor]],
    size: Size,
    settings: TestSettings,
    device: str,
) -> Tensor:
    """Return probabilities ``[B, C + 1, H, W]`` of images of one size, merged over scales and mirror."""
    total: Tensor | None = None
    passes = 0
    for one_scale in zip(*photographs, strict=True):
        pixels = stacked(one_scale, device)
        for logits in _passes(model, pixels, size, settings):
            part = logits if settings.merge == "logits" else logits.softmax(1)
            # Summed as they come: all of them at the photograph's size would fill the memory.
            total = part if total is None else total.add_(part)
            passes += 1
    assert total is not None
    return total.softmax(1) if settings.merge == "logits" else total / passes


def _passes(
    model: WeakSegmentor,
    pixels: Tensor,
    size: Size,
    settings: TestSettings,
) -> Iterator[Tensor]:
    """Yield logits ``[B, C + 1, H, W]`` at the photographs' size, and those of the mirrored images turned back."""
    device = str(pixels.device)
    for mirrored in (False, True) if settings.flip else (False,):
        with autocast(settings.amp, "test_amp", device):
            logits = model(pixels.flip(3) if mirrored else pixels)
        # Softmax and sums are taken in full precision, whatever the network computed in.
        logits = logits.float()
        if mirrored:
            logits = logits.flip(3)
        yield F.interpolate(logits, size, mode="bilinear", align_corners=False)


def _photographs(image: Photograph, settings: TestSettings) -> list[Tensor]:
    """Return the photograph at every scale (bilinear), ``uint8 [h, w, 3]``."""
    seen = image.shape[0], image.shape[1]
    if settings.warp:
        seen = settings.warp, settings.warp
    # At least one cell of a network at stride 8.
    sizes = [scaled(seen, scale, 8, settings.step) for scale in settings.scales]
    return [resized(image, size, cv2.INTER_LINEAR) for size in sizes]
