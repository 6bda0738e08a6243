"""Rounds: refine and segment take turns, and labels stay where last round's labels and segmentor agree."""

from functools import partial

import numpy as np

from wsss_bench import LabelWriter, MethodCard, hookimpl

OWN = {"refine": {"threshold": 0.3}, "segment": {"rounds": 3}}
DEFAULTS = {"inherit": ["methods/segmentor.py"], **OWN}


@hookimpl
def method_card():
    return MethodCard("alternate", "1", stages=tuple(OWN), defaults=DEFAULTS)


@hookimpl
def refine(view, seeds, previous, previous_labels, out, ctx):
    from wsss_bench.toolbox.labels import labels_from_seed
    from wsss_bench.toolbox.parallel import per_image
    from wsss_bench.toolbox.prediction import predict

    if previous is None:
        label = partial(labels_from_seed, threshold=ctx.params["threshold"])
        return per_image(label, view, out, ctx, lambda i: seeds[i.id])
    writer = LabelWriter(ctx.scratch / "found", view, "alternate")
    predict(previous, view, writer, None, ctx, restrict=True)
    now, before = writer.close(), previous_labels
    return per_image(agreed, view, out, ctx, lambda i: (now[i.id], before[i.id]))


def agreed(pair):
    return np.where(pair[0] == pair[1], pair[0], 255).astype(np.uint8)


@hookimpl
def segment(view, labels, previous, ctx):
    from wsss_bench.toolbox.segmentation import train_segmentor

    return train_segmentor(view, labels, ctx, start=previous)
