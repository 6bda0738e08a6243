"""Prediction with a trained segmentor: scales, mirror, dense CRF; raw and CRF label maps in one pass."""

from __future__ import annotations

from collections.abc import Mapping
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

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    merge: str = "probs"
    warp: int = 0
    crf: str = "dsrg"
    amp: str = ""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> TestSettings:
        """From a mapping; unknown keys are ignored, so old artifacts stay readable."""
        known = {k: v for k, v in settings.items() if k in cls.__dataclass_fields__}
        if "scales" in known:
            known["scales"] = tuple(float(s) for s in known["scales"])
        return cls(**known)


@torch.inference_mode()
def predict_probabilities(
    model: WeakSegmentor, image: NDArray[np.uint8], settings: TestSettings, device: str
) -> NDArray[np.float32]:
    """Class probabilities ``float32 [C + 1, H, W]`` of one photograph ``uint8 [H, W, 3]``."""
    height, width = image.shape[:2]
    total: Tensor | None = None
    passes = 0
    for scale in settings.scales:
        base = (settings.warp, settings.warp) if settings.warp else (height, width)
        size = (max(8, round(base[0] * scale)), max(8, round(base[1] * scale)))
        resized = (
            image
            if size == (height, width)
            else cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
        )
        pixels = (
            torch.from_numpy(np.ascontiguousarray(resized))
            .to(device)
            .permute(2, 0, 1)[None]
            .float()
        )
        for mirrored in (False, True) if settings.flip else (False,):
            with autocast(settings.amp, "test_amp", device):
                logits = model(pixels.flip(3) if mirrored else pixels).float()
            logits = logits.flip(3) if mirrored else logits
            logits = F.interpolate(
                logits, (height, width), mode="bilinear", align_corners=False
            )[0]
            part = logits if settings.merge == "logits" else logits.softmax(0)
            total = part if total is None else total + part
            passes += 1
    assert total is not None
    merged = total.softmax(0) if settings.merge == "logits" else total / passes
    return merged.cpu().numpy()
