"""FickleNet: many localization maps from one network by random selection of hidden units; DSRG's segmentor trains on them."""

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
        """FickleNet's card."""
        return MethodCard(
            name="ficklenet",
            version="1.0",
            stages=("localize", "refine"),
            paper="Lee et al., FickleNet: Weakly and Semi-supervised Semantic Image Segmentation using Stochastic Inference, CVPR 2019",
            recipe="_/_/dsrg[rounds=1]",
            defaults=Path(__file__).with_name("config.py"),
            notes="no code was released; background cue: classifier gradient as in SEC unless saliency_dir is given",
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
        """A cell gets the class that fired in any draw (of several the one of highest mean); background from the cue."""
        from wsss_bench.toolbox.parallel import per_image

        external = bool(seeds.manifest.get("external_saliency", False))
        fn = partial(_label, params=dict(ctx.params), external=external)
        return per_image(fn, view, out, ctx, lambda image: seeds[image.id])


def _seed(model: Any, image: Any, ctx: StageContext) -> Seed:
    import numpy as np
    import torch

    from wsss_bench.rng import torch_generator
    from wsss_bench.toolbox.classifier import pixels_of
    from wsss_bench.toolbox.sec import background_of

    pixels = image.read()
    size = (pixels.shape[0], pixels.shape[1])
    warp = int(ctx.params["warp"])
    ids = np.asarray(image.present, np.int64)
    with torch.no_grad():
        features = model.features(
            pixels_of(pixels, (warp, warp) if warp else size, ctx.device)
        )
        # One generator per image: a map does not depend on which images came before.
        generator = torch_generator(ctx.seed, "ficklenet", image.id)
        maps = (
            model.head.draws(
                features, (ids - 1).tolist(), generator, int(ctx.params["draws"])
            )
            .float()
            .cpu()
        )
    grid = (maps.shape[2], maps.shape[3])
    background = background_of(ctx)(model, image, pixels, grid)
    # Over many draws the mean of a map is far below its maximum; only its order matters, so it is stored as it is.
    return Seed(ids, maps.amax(0).numpy(), size, background, maps.mean(0).numpy())


def _label(seed: Seed, params: dict[str, Any], external: bool) -> Any:
    """Rule 6 of the paper's aggregation on the cue grid, background where its cue is set and no class fired."""
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
        mean = resize_scores(seed.rank if seed.rank is not None else seed.scores, size)
        best = np.where(fired, mean, -1).argmax(0)
        grid = np.where(fired.any(0), seed.class_ids[best], grid).astype(np.uint8)
    return to_image_size(grid, seed.size)


plugin = FickleNet()
