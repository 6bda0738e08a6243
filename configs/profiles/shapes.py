"""The embedded data on a CPU in minutes: a tiny network from scratch, 96-pixel images, short schedules.

Methods keep their losses, thresholds and stages; sizes, iterations and learning rates are what a network without
pre-training needs here. What a single method needs beyond that stands in its own config, under ``profiles``.
"""

name = "shapes"

_training = dict(
    weights=None,
    backbone_options=dict(_delete_=True),
    batch=16,
    epochs=0,
    lr=0.05,
    new_mult=1.0,
    momentum=0.9,
    weight_decay=1e-4,
    schedule="poly",
    crop=96,
)
localize = {
    "*": dict(
        _training,
        backbone="tiny",
        normalize="imagenet",
        resize=(96, 144),
        iterations=300,
        optimizer="SGD",
        scales=(1.0, 1.5),
    ),
}
refine = {
    "*": dict(
        _training,
        backbone="tiny",
        normalize="imagenet",
        iterations=200,
        optimizer="SGD",
        augment="scale",
        resize=(0.75, 1.5),
        jitter=0.0,
    ),
}
segment = {
    "*": dict(
        {key: value for key, value in _training.items() if key != "epochs"},
        network="tiny",
        # The network brings its own.
        backbone="",
        iterations=200,
        bias_mult=1.0,
        resize=(0.75, 1.5),
    ),
}
