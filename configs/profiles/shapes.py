"""The embedded data on a CPU in minutes: a tiny network from scratch, 96-pixel images, short schedules.

Methods keep their losses, thresholds and stages; sizes, iterations and learning rates are what a network without
pre-training needs here. What a single method needs beyond that stands in its own config, under ``profiles``.
"""

_classifier = dict(
    backbone="tiny",
    weights=None,
    backbone_options=dict(_delete_=True),
    normalize="imagenet",
    crop=96,
    resize=(96, 144),
    batch=16,
    epochs=0,
    iterations=300,
    optimizer="SGD",
    lr=0.05,
    new_mult=1.0,
    momentum=0.9,
    weight_decay=1e-4,
    schedule="poly",
    scales=(1.0, 1.5),
)
localize = {"*": dict(_classifier)}
segment = {
    "*": dict(
        network="tiny",
        backbone="",
        weights=None,
        backbone_options=dict(_delete_=True),
        batch=16,
        iterations=200,
        lr=0.05,
        new_mult=1.0,
        bias_mult=1.0,
        momentum=0.9,
        weight_decay=1e-4,
        schedule="poly",
        crop=96,
        resize=(0.75, 1.5),
    ),
}
