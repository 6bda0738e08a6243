"""The default refiner: no refinement. The best class where it beats a constant background score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wsss_bench import (
    LabelSet,
    LabelWriter,
    MethodCard,
    SeedSet,
    StageContext,
    WeakView,
    hookimpl,
)


class Threshold:
    """Argmax over classes against a constant background score."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """Return a utility's card."""
        return MethodCard(
            name="threshold",
            version="1.0",
            stages=("refine",),
            defaults=Path(__file__).with_name("config.py"),
        )

    @hookimpl
    def refine(
        self, view: WeakView, seeds: SeedSet, out: LabelWriter, ctx: StageContext
    ) -> LabelSet:
        """Write ``argmax`` labels; every pixel is labelled."""
        from functools import partial

        from wsss_bench.toolbox.parallel import per_image

        label = partial(_label, threshold=float(ctx.params["threshold"]))
        return per_image(label, view, out, ctx, lambda image: seeds[image.id])


def _label(seed: Any, threshold: float) -> Any:
    # In a worker process, which must not import torch for it.
    from wsss_bench.toolbox.labels import labels_from_seed

    return labels_from_seed(seed, threshold)


plugin = Threshold()
