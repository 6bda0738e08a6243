"""AffinityNet: learns from confident CAM pixels which cells belong together, and lets the CAMs walk among them."""

from __future__ import annotations

from collections.abc import Iterator
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


class Affinity:
    """Refinement by trained affinities and a random walk."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """Return AffinityNet's card."""
        return MethodCard(
            name="affinitynet",
            version="1.0",
            stages=("refine",),
            paper="Ahn and Kwak, Learning Pixel-level Semantic Affinity with "
            "Image-level Supervision, CVPR 2018",
            recipe="cam/affinitynet/_",
            defaults=Path(__file__).with_name("config.py"),
            url="https://github.com/jiwoon-ahn/psa",
        )

    @hookimpl
    def refine(
        self, view: WeakView, seeds: SeedSet, out: LabelWriter, ctx: StageContext
    ) -> LabelSet:
        """Write labels of the image's tags and background; every pixel is labelled."""
        from functools import partial

        from wsss_bench.toolbox.affinity import affinity_from_features
        from wsss_bench.toolbox.parallel import from_jobs, per_image
        from wsss_plugins.affinitynet.maths import crf_label, walked_labels
        from wsss_plugins.affinitynet.network import features_of
        from wsss_plugins.affinitynet.training import check, train_network

        p = dict(ctx.params)
        check(p)
        # Two sets of labels: much background and little. Where they agree, pixels are sure.
        labels = []
        for side in ("low", "high"):
            writer = LabelWriter(ctx.scratch / side, view, f"affinitynet: alpha_{side}")
            alpha = float(p[f"alpha_{side}"])
            label = partial(crf_label, alpha=alpha, crf=str(p["crf"]))
            made = per_image(label, view, writer, ctx, lambda i: (i.path, seeds[i.id]))
            labels.append(made)
        low, high = labels
        model = train_network(view, low, high, ctx)

        def jobs() -> Iterator[tuple[WeakImage, tuple[Any, ...]]]:
            # The network's part stays in this process, on its device; the walk goes to a worker.
            radius, border = int(p["radius"]), str(p["border"])
            for image, features in features_of(model, view, out.done, ctx):
                affinity = affinity_from_features(features, radius, border)
                yield image, (image.path, seeds[image.id], affinity, model.stride)

        walk = partial(walked_labels, params=p)
        return from_jobs(walk, jobs(), view, out, ctx)


plugin = Affinity()
