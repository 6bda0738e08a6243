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
        from wsss_plugins.ficklenet.head import FickleHead

        head = partial(FickleHead, params=ctx.training_params)
        model = train_classifier(view, ctx, head)
        external = bool(ctx.params["saliency_dir"])
        out.facts |= {
            "external_saliency": external,
            "extra_data": "saliency maps" if external else "-",
        }
        for index, image in enumerate(view):
            if not out.done(image.id):
                out.write(image.id, _seed(model, image, ctx))
            ctx.progress("images", index + 1, len(view))
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


def _seed(model: Any, image: Any, ctx: StageContext) -> Seed:
    """Return the maximum (scores) and the mean (rank) of the draws for one image, and its background cue."""
    import numpy as np
    import torch

    from wsss_bench.rng import torch_generator
    from wsss_bench.toolbox.classifier import pixels_of
    from wsss_bench.toolbox.sec import background_of

    pixels = image.read()
    size = (pixels.shape[0], pixels.shape[1])
    warp = int(ctx.params["warp"])
    seen = (warp, warp) if warp else size
    ids = np.asarray(image.present, np.int64)
    channels = (ids - 1).tolist()
    # One generator per image: a map does not depend on which images came before.
    generator = torch_generator(ctx.seed, "ficklenet", image.id)
    number = int(ctx.params["draws"])
    with torch.no_grad():
        features = model.features(pixels_of(pixels, seen, ctx.device))
        drawn = model.head.draws(features, channels, generator, number)
    maps = drawn.float().cpu()
    grid = (maps.shape[2], maps.shape[3])
    background = background_of(ctx)(model, image, pixels, grid)
    # Over many draws the mean of a map is far below its maximum; only its order matters, so it is stored as it is.
    highest = maps.amax(0).numpy()
    mean = maps.mean(0).numpy()
    return Seed(ids, highest, size, background, mean)


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
