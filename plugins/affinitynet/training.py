"""Training of AffinityNet on labels pooled to its grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from wsss_bench.contract.artifacts import LabelSet
from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakView
from wsss_bench.errors import RecipeError
from wsss_bench.rng import derive, generator
from wsss_bench.toolbox.crf_presets import PRESETS
from wsss_bench.toolbox.pairs import BORDERS
from wsss_bench.toolbox.training import Augment, TrainingSet, fit, seeded
from wsss_plugins.affinitynet.maths import majority, pair_labels
from wsss_plugins.affinitynet.network import AffinityNet


def check(params: Mapping[str, Any]) -> None:
    """Raise `RecipeError` for a choice that is not offered, before any work is done."""
    for key, offered in {"crf": tuple(PRESETS), "border": BORDERS}.items():
        if params[key] not in offered:
            what, known = f"{key}={params[key]!r}", ", ".join(offered)
            raise RecipeError(f"affinitynet: {what} is not known; use {known}.")
    low, high = params["alpha_low"], params["alpha_high"]
    if not 0 < low <= high:
        must = "0 < alpha_low <= alpha_high must hold"
        raise RecipeError(f"affinitynet: {must}, not {low} and {high}.")


class PooledSet(TrainingSet):
    """Crops of photographs with `pair_labels` of two label maps, each pooled to cells after cropping.

    Items are those of `TrainingSet`, labels ``uint8 [⌈crop/cell⌉, ⌈crop/cell⌉]``.
    """

    def __init__(
        self,
        view: WeakView,
        augment: Augment,
        seed: int,
        low: LabelSet,
        high: LabelSet,
        cell: int,
    ) -> None:
        super().__init__(view, augment, seed, low, cache_mb=512)
        self._high, self._cell = high, cell

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return the same crop of the photograph and of both label maps."""
        item = super().__getitem__(position)
        epoch, index = divmod(position, len(self.view))
        image = self.view[index]
        # The draws of the photograph's own crop, once more.
        again = generator(self.seed, "augment", epoch, image.id)
        _, high = self.augment(self._pixels(image), self._high[image.id], again)
        assert high is not None
        low_cells = majority(item["labels"].numpy(), self._cell)
        high_cells = majority(high, self._cell)
        labels = pair_labels(low_cells, high_cells)
        return {**item, "labels": torch.from_numpy(labels)}


def train_network(
    view: WeakView,
    low: LabelSet,
    high: LabelSet,
    ctx: StageContext,
) -> AffinityNet:
    """Return the trained network in eval mode; resumes, and loads a finished training."""
    p = ctx.training_params
    model: AffinityNet = seeded(lambda: AffinityNet(p), ctx.seed, "affinitynet")
    data = PooledSet(
        view,
        Augment.of(p),
        derive(ctx.seed, "affinitynet"),
        low,
        high,
        model.stride,
    )
    # Layers that have no pre-trained weights learn faster than the backbone.
    new = ("convs.", "fuse.")
    fit(model, data, ctx, new=new, name="affinitynet")
    return model
