"""Inter-pixel relation network: learns boundaries from confident CAM pixels, and lets the CAMs walk up to them."""

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
from wsss_bench.contract.view import WeakImage


class Irn:
    """Refinement by a trained boundary map and a random walk."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """Return IRNet's card."""
        return MethodCard(
            name="irn",
            version="1.0",
            stages=("refine",),
            paper="Ahn et al., Weakly Supervised Learning of Instance Segmentation with "
            "Inter-pixel Relations, CVPR 2019",
            recipe="cam/irn/_",
            defaults=Path(__file__).with_name("config.py"),
            url="https://github.com/jiwoon-ahn/irn",
        )

    @hookimpl
    def refine(
        self, view: WeakView, seeds: SeedSet, out: LabelWriter, ctx: StageContext
    ) -> LabelSet:
        """Write labels of the image's tags and background; every pixel is labelled."""
        from functools import partial

        from wsss_bench.toolbox.parallel import per_image
        from wsss_plugins.irn.maths import relation_labels, walked_labels
        from wsss_plugins.irn.network import boundary_map
        from wsss_plugins.irn.training import check, train_network

        params = dict(ctx.params)
        check(params)
        sure = LabelWriter(ctx.scratch / "relations", view, "irn: labels of relations")
        label = partial(relation_labels, params=params)
        labels = per_image(label, view, sure, ctx, lambda i: (i.path, seeds[i.id]))
        model = train_network(view, labels, ctx)
        scales = tuple(float(scale) for scale in params["scales"])
        flip = bool(params["flip"])

        def job(image: WeakImage) -> tuple[Any, Any]:
            # The network's part stays in this process, on its device; the walk goes to a worker.
            boundary = boundary_map(model, image.read(), scales, flip, ctx.device)
            return boundary, seeds[image.id]

        walk = partial(walked_labels, params=params)
        return per_image(walk, view, out, ctx, job)


plugin = Irn()
