"""FickleNet: many localization maps from one network, by random selection of hidden units."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from wsss_bench import (
    LabelSet,
    LabelWriter,
    MethodCard,
    Seed,
    SeedSet,
    SeedWriter,
    StageContext,
    WeakView,
    hookimpl,
)


class FickleNet:
    """Stochastic localizer and aggregation; its segment stage is DSRG's, without the retrain round."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """Return FickleNet's card."""
        return MethodCard(
            name="ficklenet",
            version="1.0",
            stages=("localize", "refine"),
            paper="Lee et al., FickleNet: Weakly and Semi-supervised Semantic Image "
            "Segmentation using Stochastic Inference, CVPR 2019",
            recipe="_/_/dsrg[rounds=1]",
            defaults=Path(__file__).with_name("config.py"),
            notes="no code was released; background cue: classifier gradient as in SEC "
            "unless saliency_dir is given",
        )

    @hookimpl
    def localize(self, view: WeakView, out: SeedWriter, ctx: StageContext) -> SeedSet:
        """Train under random selection; per image keep the maximum over draws (scores) and the mean (rank)."""
        from wsss_bench.toolbox.classifier import train_classifier
        from wsss_plugins.ficklenet.drawing import drawn_seeds
        from wsss_plugins.ficklenet.head import FickleHead

        head = partial(FickleHead, params=ctx.training_params)
        model = train_classifier(view, ctx, head)
        external = bool(ctx.params["saliency_dir"])
        out.facts |= {
            "external_saliency": external,
            "extra_data": "saliency maps" if external else "-",
        }
        written = sum(out.done(image.id) for image in view)
        for image, seed in drawn_seeds(model, view, out.done, ctx):
            out.write(image.id, seed)
            written += 1
            ctx.progress("images", written, len(view))
        return out.close()

    @hookimpl
    def refine(
        self, view: WeakView, seeds: SeedSet, out: LabelWriter, ctx: StageContext
    ) -> LabelSet:
        """Give a cell the class that fired in any draw, of several that of highest mean; background from the cue."""
        from wsss_bench.toolbox.parallel import per_image

        external = bool(seeds.manifest.get("external_saliency", False))
        label = partial(_label, params=dict(ctx.params), external=external)
        return per_image(label, view, out, ctx, lambda image: seeds[image.id])


def _label(
    seed: Seed,
    params: dict[str, Any],
    external: bool,
) -> Any:
    """Return labels by rule 6 of the paper's aggregation: background where its cue is set and no class fired."""
    import numpy as np

    from wsss_bench.toolbox.cues import resize_scores
    from wsss_bench.toolbox.sec import background_mask, to_image_size

    size = (int(params["grid"]), int(params["grid"]))
    grid = np.full(size, 255, np.uint8)
    background = background_mask(seed, size, params, external)
    if background is not None:
        grid[background] = 0
    if len(seed.class_ids):
        fired = resize_scores(seed.scores, size) > float(params["threshold"])
        rank = seed.scores if seed.rank is None else seed.rank
        mean = resize_scores(rank, size)
        best = np.where(fired, mean, -1).argmax(0)
        grid = np.where(fired.any(0), seed.class_ids[best], grid).astype(np.uint8)
    return to_image_size(grid, seed.size)


plugin = FickleNet()
