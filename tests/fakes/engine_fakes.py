"""Small photographs, contexts and parameters for tests that train or predict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakImage, WeakView
from wsss_bench.methods.params import resolve
from wsss_bench.methods.profiles import defaults as card_defaults
from wsss_bench.methods.profiles import load_profile
from wsss_bench.methods.recipe import parse_recipe

torch.set_num_threads(1)

CLASSES = ("background", "cat", "dog")


def make_view(
    folder: Path,
    count: int = 4,
    size: tuple[int, int] = (32, 40),
    tags: Callable[[int], tuple[int, ...] | None] | None = None,
) -> WeakView:
    """`count` photographs of a bright square in the channel of its class on noise; image n holds class 1 + n % 2."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    images = []
    for n in range(count):
        pixels = rng.integers(40, 90, (*size, 3), dtype=np.uint8)
        pixels[8:24, 6 + n : 24 + n, n % 2] = 240
        path = folder / f"im{n}.png"
        Image.fromarray(pixels).save(path)
        images.append(
            WeakImage(f"im{n}", path, (1 + n % 2,) if tags is None else tags(n))
        )
    return WeakView("tiny", "train", CLASSES, images)


def make_labels(
    view: WeakView, size: tuple[int, int] = (32, 40)
) -> dict[str, np.ndarray]:
    """The squares' masks."""
    found = {}
    for n, image in enumerate(view):
        mask = np.zeros(size, np.uint8)
        mask[8:24, 6 + n : 24 + n] = image.present[0]
        found[image.id] = mask
    return found


def make_context(
    folder: Path, params: dict[str, Any] | None = None, **changes: Any
) -> StageContext:
    """A CPU context whose scratch and output folders lie in `folder`."""
    fields = {
        "seed": 0,
        "device": "cpu",
        "params": params or {},
        "scratch": folder / "scratch",
        "out_dir": folder / "out",
    }
    return StageContext(**{**fields, **changes})


def stage_params(
    method: str, stage: str, profile: str = "shapes", **changes: Any
) -> dict[str, Any]:
    """The parameters of one stage of a bundled method under a profile, with changes."""
    from wsss_bench.methods.catalog import Catalog

    resolved = (
        resolve(parse_recipe(method), Catalog(), load_profile(profile))
        .params[stage]
        .resolved
    )
    unknown = set(changes) - set(resolved)
    assert not unknown, f"{method}.{stage} has no {unknown}"
    return {**resolved, **changes}


def paper_params(method: str, stage: str) -> dict[str, Any]:
    """The card's defaults of one stage."""
    from wsss_bench.methods.catalog import Catalog

    return card_defaults(Catalog().load(method), stage)


SMALL_CLASSIFIER = {
    "backbone": "tiny",
    "weights": None,
    "backbone_options": {},
    "normalize": "imagenet",
    "crop": 32,
    "resize": (32, 40),
    "augment": "resize_long",
    "jitter": 0.0,
    "batch": 2,
    "iterations": 8,
    "epochs": 0,
    "optimizer": "SGD",
    "lr": 0.05,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "new_mult": 10.0,
    "schedule": "poly",
    "power": 0.9,
    "amp": "",
    "scales": (1.0, 0.5),
    "flip": True,
}
"""A classifier that trains in a second."""

SMALL_SEGMENTOR = {
    "network": "tiny",
    "backbone": "",
    "weights": None,
    "backbone_options": {},
    "rates": (),
    "normalize": "imagenet",
    "loss": "balanced",
    "crop": 32,
    "resize": (1.0, 1.0),
    "augment": "warp",
    "jitter": 0.0,
    "label_stride": 4,
    "batch": 2,
    "iterations": 4,
    "epochs": 0,
    "optimizer": "SGD",
    "lr": 0.05,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "new_mult": 1.0,
    "bias_mult": 1.0,
    "bias_decay": True,
    "schedule": "poly",
    "power": 0.9,
    "amp": "",
    "test_scales": (1.0,),
    "test_flip": False,
    "test_merge": "probs",
    "test_warp": 0,
    "crf": "dsrg",
}
"""A segmentor that trains in a second."""
