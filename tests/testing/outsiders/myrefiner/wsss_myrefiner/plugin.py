"""myrefiner: seeds averaged over pixels of like colour nearby, then the best class."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wsss_bench import LabelSet, LabelWriter, MethodCard, Seed, SeedSet, StageContext, WeakView, hookimpl

# Names and values here are the parameters: wsss-bench run --methods 'cam/myrefiner[threshold=0.3]/_'
DEFAULTS: dict[str, Any] = {"threshold": 0.15, "levels": 8, "cells": 12}


class Myrefiner:
    """The hooks."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """What the leaderboard shows of the method."""
        return MethodCard(name="myrefiner", version="0.1.0", stages=("refine",), defaults={"refine": DEFAULTS})

    @hookimpl
    def refine(self, view: WeakView, seeds: SeedSet, out: LabelWriter, ctx: StageContext) -> LabelSet:
        """One function per image; `per_image` makes it parallel and lets an interrupted stage go on."""
        from wsss_bench.toolbox.parallel import per_image

        function = partial(label_image, params=dict(ctx.params))
        return per_image(function, view, out, ctx, lambda image: (image.path, seeds[image.id]))


def label_image(job: tuple[Path, Seed], params: dict[str, Any]) -> np.ndarray:
    """The label map ``uint8 [H, W]`` of one photograph and its seed."""
    from wsss_bench.view import read_image

    path, seed = job
    if not len(seed.class_ids):
        return np.zeros(seed.size, np.uint8)
    scores = smooth(seed.upsampled(), groups(read_image(path), int(params["levels"]), int(params["cells"])))
    best = scores.argmax(0)
    return np.where(scores.max(0) > params["threshold"], seed.class_ids[best], 0).astype(np.uint8)


def groups(image: np.ndarray, levels: int, cells: int) -> np.ndarray:
    """``int [H, W]``: pixels of one window and one colour share a number, counted from 0 without gaps."""
    height, width = image.shape[:2]
    red, green, blue = np.moveaxis(image.astype(np.int64) * levels // 256, 2, 0)
    window = (np.arange(height) * cells // height)[:, None] * cells + np.arange(width) * cells // width
    code = ((window * levels + red) * levels + green) * levels + blue
    return np.unique(code, return_inverse=True)[1].reshape(height, width)


def smooth(scores: np.ndarray, group: np.ndarray) -> np.ndarray:
    """``float [K, H, W]``: every score replaced by the mean of its class over the pixel's group."""
    flat = group.ravel()
    size = np.bincount(flat)
    return np.stack([(np.bincount(flat, plane.ravel()) / size)[flat].reshape(plane.shape) for plane in scores])


plugin = Myrefiner()
