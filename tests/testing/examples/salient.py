"""Extra inputs per image: a folder of saliency maps says where background is."""

from functools import partial
from pathlib import Path

import numpy as np

from wsss_bench import MethodCard, hookimpl

DEFAULTS = {"refine": {"saliency_dir": "", "threshold": 0.3, "background": 0.3}}


@hookimpl
def method_card():
    used = ("image labels", "saliency")
    return MethodCard("salient", "1", stages=("refine",), supervision=used, defaults=DEFAULTS)


@hookimpl
def refine(view, seeds, out, ctx):
    from wsss_bench.toolbox.parallel import per_image

    label = partial(label_image, params=dict(ctx.params))
    return per_image(label, view, out, ctx, lambda image: (image.id, seeds[image.id]))


def label_image(job, params):
    from wsss_bench.toolbox.labels import labels_from_seed
    from wsss_bench.toolbox.saliency import external_background

    image_id, seed = job
    found = labels_from_seed(seed, params["threshold"])
    # 1 where the map says background, at the photograph's size.
    background = external_background(Path(params["saliency_dir"]), image_id, seed.size)
    return np.where(background > 1 - params["background"], 0, found).astype(np.uint8)
