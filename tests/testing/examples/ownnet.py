"""A segmentor with a network of its own, which is kept with it and found again in any process."""

from wsss_bench import MethodCard, hookimpl

DEFAULTS = {"inherit": ["methods/segmentor.py"], "segment": {"width": 16}}


@hookimpl
def method_card():
    return MethodCard("ownnet", "1", stages=("segment",), recipe="cam/_/_", defaults=DEFAULTS)


@hookimpl
def segment(view, labels, ctx):
    from wsss_bench.toolbox.segmentation import train_segmentor

    model = {"type": "Stack", "width": ctx.params["width"], "num_classes": view.num_classes}
    network = {"model": model, "custom_imports": ["ownnet_network"]}
    return train_segmentor(view, labels, ctx, network=network)
