"""Visual words encoder and hybrid spatial pooling: a classifier that also learns a codebook of local patterns."""

from __future__ import annotations

from pathlib import Path

from wsss_bench import MethodCard, SeedSet, SeedWriter, StageContext, WeakView, hookimpl


class Vwe:
    """A localizer; refinement and segmentation are other methods' (published with IRN and DeepLabV2)."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """Return VWE's card."""
        return MethodCard(
            name="vwe",
            version="1.0",
            stages=("localize",),
            paper="Ru et al., Learning Visual Words for Weakly-Supervised Semantic Segmentation, IJCAI 2021",
            defaults=Path(__file__).with_name("config.py"),
        )

    @hookimpl
    def localize(self, view: WeakView, out: SeedWriter, ctx: StageContext) -> SeedSet:
        """Train with three losses, then write fused CAMs."""
        from functools import partial

        from wsss_bench.toolbox.classifier import train_classifier, write_seeds
        from wsss_plugins.vwe.head import VweHead, check_fusion, fused_cam

        fuse = str(ctx.params["fuse"])
        # Before the training, which does not look at it.
        check_fusion(fuse)
        head = partial(VweHead, params=ctx.training_params)
        model = train_classifier(view, ctx, head)
        maps = partial(fused_cam, fuse=fuse)
        return write_seeds(model, view, out, ctx, maps)


plugin = Vwe()
