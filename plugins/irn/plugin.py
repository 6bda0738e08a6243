"""Inter-pixel relation network: learns class boundaries from confident CAM pixels, and lets the CAMs walk up to them."""

from __future__ import annotations

from pathlib import Path

from wsss_bench import (
    LabelSet,
    LabelWriter,
    MethodCard,
    SeedSet,
    StageContext,
    WeakView,
    hookimpl,
)


class Irn:
    """Refinement by a trained boundary map and a random walk."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """IRNet's card."""
        return MethodCard(
            name="irn",
            version="1.0",
            stages=("refine",),
            paper="Ahn et al., Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations, CVPR 2019",
            recipe="cam/irn/_",
            defaults=Path(__file__).with_name("config.py"),
            url="https://github.com/jiwoon-ahn/irn",
        )

    @hookimpl
    def refine(
        self, view: WeakView, seeds: SeedSet, out: LabelWriter, ctx: StageContext
    ) -> LabelSet:
        """Labels of the image's tags and background; every pixel is labelled."""
        from functools import partial

        from wsss_bench.toolbox.parallel import per_image
        from wsss_plugins.irn.maths import relation_labels, walked_labels
        from wsss_plugins.irn.network import boundary_map
        from wsss_plugins.irn.training import check, train_network

        params = dict(ctx.params)
        check(params)
        sure = LabelWriter(ctx.scratch / "relations", view, "irn: labels of relations")
        labels = per_image(
            partial(relation_labels, params=params),
            view,
            sure,
            ctx,
            lambda i: (i.path, seeds[i.id]),
        )
        model = train_network(view, labels, ctx)
        scales, flip = tuple(float(s) for s in params["scales"]), bool(params["flip"])
        return per_image(
            partial(walked_labels, params=params),
            view,
            out,
            ctx,
            lambda i: (
                boundary_map(model, i.read(), scales, flip, ctx.device),
                seeds[i.id],
            ),
        )


plugin = Irn()
