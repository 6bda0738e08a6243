"""Prediction with a trained segmentor: scales, mirror, dense CRF; raw and CRF label maps in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.engine.models import WeakSegmentor
from wsss_bench.engine.precision import autocast

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
    total: Tensor | None = None
    passes = 0
    for logits in _passes(model, image, settings, device):
        part = logits if settings.merge == "logits" else logits.softmax(0)
        # Summed as they come: all of them at the photograph's size would fill the memory.
        total = part if total is None else total + part
        passes += 1
    assert total is not None
    merged = total.softmax(0) if settings.merge == "logits" else total / passes
    return merged.cpu().numpy()


def _passes(
    model: WeakSegmentor,
    image: Photograph,
    settings: TestSettings,
    device: str,
) -> Iterator[Tensor]:
    """Yield logits ``[C + 1, H, W]`` at the photograph's size, for every scale and its mirrored twin."""
    height, width = image.shape[:2]
    for scale in settings.scales:
        pixels = _scaled(image, scale, settings.warp).to(device)
        for mirrored in (False, True) if settings.flip else (False,):
            with autocast(settings.amp, "test_amp", device):
                logits = model(pixels.flip(3) if mirrored else pixels)
            # Softmax and sums are taken in full precision, whatever the network computed in.
            logits = logits.float()
            if mirrored:
                logits = logits.flip(3)
            whole = F.interpolate(
                logits, (height, width), mode="bilinear", align_corners=False
            )
            yield whole[0]


def _scaled(
    image: Photograph,
    scale: float,
    warp: int,
) -> Tensor:
    """Return the photograph as ``float [1, 3, h, w]`` in 0..255, at `scale` times its size (or the size of `warp`)."""
    height, width = image.shape[:2]
    base = (warp, warp) if warp else (height, width)
    # At least one cell of a network at stride 8.
    rows, columns = (max(8, round(side * scale)) for side in base)
    resized = image
    if (rows, columns) != (height, width):
        resized = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    pixels = torch.from_numpy(np.ascontiguousarray(resized))
    return pixels.permute(2, 0, 1)[None].float()
