"""Deep Seeded Region Growing: seeds from CAM and a background cue, grown inside the segmentor's training."""

from __future__ import annotations

from pathlib import Path

from wsss_bench import (
    LabelSet,
    LabelWriter,
    MethodCard,
    SeedSet,
    SeedWriter,
    Segmentor,
    StageContext,
    WeakView,
    hookimpl,
)


class Dsrg:
    """All three stages; round 2 relabels the training images with round 1's segmentor."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """Return DSRG's card."""
        return MethodCard(
            name="dsrg",
            version="1.0",
            stages=("localize", "refine", "segment"),
            paper="Huang et al., Weakly-Supervised Semantic Segmentation Network with "
            "Deep Seeded Region Growing, CVPR 2018",
            defaults=Path(__file__).with_name("config.py"),
            notes="background cue: classifier gradient as in SEC instead of DRFI saliency, "
            "unless saliency_dir is given",
        )

    @hookimpl
    def localize(self, view: WeakView, out: SeedWriter, ctx: StageContext) -> SeedSet:
        """Write CAMs of SEC's localisation net, and how surely each cell is background."""
        from functools import partial

        from wsss_bench.toolbox.classifier import train_classifier, write_seeds
        from wsss_bench.toolbox.sec import SecHead, background_of

        head = partial(SecHead, width=int(ctx.params["head_channels"]))
        model = train_classifier(view, ctx, head)
        # A board must not show maps of another training as tags alone.
        external = bool(ctx.params["saliency_dir"])
        out.facts |= {
            "external_saliency": external,
            "extra_data": "saliency maps" if external else "-",
        }
        return write_seeds(model, view, out, ctx, background=background_of(ctx))

    @hookimpl
    def refine(
        self,
        view: WeakView,
        seeds: SeedSet,
        previous: Segmentor | None,
        out: LabelWriter,
        ctx: StageContext,
    ) -> LabelSet:
        """Write sparse cues, 255 elsewhere; in later rounds the previous segmentor's prediction after the CRF."""
        from wsss_bench.toolbox.parallel import per_image
        from wsss_bench.toolbox.sec import cue_function

        if previous is not None:
            return _relabel(view, previous, out, ctx)
        external = bool(seeds.manifest.get("external_saliency", False))
        cues = cue_function(ctx.params, external)
        return per_image(cues, view, out, ctx, lambda image: seeds[image.id])

    @hookimpl
    def segment(
        self,
        view: WeakView,
        labels: LabelSet,
        previous: Segmentor | None,
        ctx: StageContext,
    ) -> Segmentor:
        """Grow regions inside the loss; in round 2 train with plain cross-entropy on the relabelled images."""
        from wsss_bench.toolbox.segmentation import train_segmentor
        from wsss_plugins.dsrg.loss import DsrgLoss

        if previous is None:
            return train_segmentor(view, labels, ctx, DsrgLoss(ctx.training_params))
        p = ctx.training_params
        p.update(
            iterations=p["retrain_iterations"],
            batch=p["retrain_batch"],
            lr=p["retrain_lr"],
            crop=p["retrain_crop"],
            resize=p["retrain_resize"],
            cutmix=p["retrain_cutmix"],
            schedule="poly",
            augment="scale",
            loss="ce",
        )
        return train_segmentor(
            view, labels, ctx, params=p, start=previous, name="retrain"
        )


def _relabel(
    view: WeakView, previous: Segmentor, out: LabelWriter, ctx: StageContext
) -> LabelSet:
    """Write predictions for the training images, restricted to their tags, after the CRF."""
    from dataclasses import replace

    from wsss_bench.toolbox.prediction import predict

    # Settings of this stage's own: the release labels training images in another way than it tests.
    names = ("scales", "flip", "merge", "warp", "crf", "amp")
    test = {name: ctx.params[f"relabel_{name}"] for name in names}
    raw = LabelWriter(ctx.scratch / "raw", view, "dsrg: relabel")
    predict(replace(previous, test=test), view, raw, out, ctx, restrict=True)
    return out.close()


plugin = Dsrg()
