"""Class activation maps as IRN trains and infers them: the baseline every localizer is compared with."""

from __future__ import annotations

from pathlib import Path

from wsss_bench import MethodCard, SeedSet, SeedWriter, StageContext, WeakView, hookimpl


class Cam:
    """Multi-label classifier with global average pooling; multi-scale, mirrored CAM."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """Return the baseline's card."""
        return MethodCard(
            name="cam",
            version="1.0",
            stages=("localize",),
            paper="Zhou et al., Learning Deep Features for Discriminative Localization, "
            "CVPR 2016; trained as in IRN, CVPR 2019",
            defaults=Path(__file__).with_name("config.py"),
        )

    @hookimpl
    def localize(self, view: WeakView, out: SeedWriter, ctx: StageContext) -> SeedSet:
        """Train the classifier, then write CAMs (or Grad-CAMs with ``maps=gradcam``)."""
        from wsss_bench.errors import RecipeError
        from wsss_bench.toolbox.classifier import (
            grad_cam,
            linear_cam,
            train_classifier,
            write_seeds,
        )

        kinds = {"cam": linear_cam, "gradcam": grad_cam}
        kind = ctx.params["maps"]
        # Before the training, which does not look at it.
        if kind not in kinds:
            known = " or ".join(kinds)
            raise RecipeError(f"cam: maps={kind!r} is not known; use {known}.")
        model = train_classifier(view, ctx)
        return write_seeds(model, view, out, ctx, kinds[kind])


plugin = Cam()
