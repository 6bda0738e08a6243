"""Inter-pixel relation network: learns boundaries from confident CAM pixels, and lets the CAMs walk up to them."""

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

        from wsss_bench.toolbox.parallel import from_jobs, per_image
        from wsss_plugins.irn.boundaries import boundaries
        from wsss_plugins.irn.maths import relation_labels, walked_labels
        from wsss_plugins.irn.training import check, train_network

        params = dict(ctx.params)
        check(params)
        sure = LabelWriter(ctx.scratch / "relations", view, "irn: labels of relations")
        label = partial(relation_labels, params=params)
        labels = per_image(label, view, sure, ctx, lambda i: (i.path, seeds[i.id]))
        model = train_network(view, labels, ctx)
        # The network's part stays in this process, on its device; the walk goes to a worker.
        found = boundaries(model, view, out.done, ctx)
        jobs = ((image, (boundary, seeds[image.id])) for image, boundary in found)
        walk = partial(walked_labels, params=params)
        return from_jobs(walk, jobs, view, out, ctx)


plugin = Irn()
