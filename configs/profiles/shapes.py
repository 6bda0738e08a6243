"""The embedded data on a CPU in minutes: a tiny network from scratch, 96-pixel images, short schedules.

Methods keep their losses, thresholds and stages; sizes, iterations and learning rates are what a network without
pre-training needs here. The paper's settings are the defaults of `configs/methods/`.
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
_sec = dict(
    _classifier,
    head_channels=0,
    augment="resize_long",
    warp=0,
    saliency_stage=1,
    scales=(1.0,),
    step_epochs=0,
)

localize = {
    "*": {k: v for k, v in _classifier.items()},
    "dsrg": _sec,
    "vwe": dict(words=64),
    "ficklenet": dict(
        {k: v for k, v in _sec.items() if k != "head_channels"},
        head_channels=0,
        # A 9×9 window on a 24×24 grid covers what it covers on the paper's 41×41 at 5×5; about as many units stay.
        kernel=5,
        rate=0.7,
        draws=50,
    ),
}
# Affinity networks: the tiny backbone learns along. Their grid of 24×24 cells is a quarter of the papers' photographs in each
# direction (half for affinitynet), so a sixteenth (a quarter) of the steps walks as far; "psa" borders would leave out a third
# of the pairs.
_affinity = dict(
    backbone="tiny",
    weights=None,
    backbone_options=dict(_delete_=True),
    normalize="imagenet",
    border="full",
    radius=5,
    batch=16,
    epochs=0,
    iterations=200,
    optimizer="SGD",
    lr=0.05,
    new_mult=1.0,
    momentum=0.9,
    weight_decay=1e-4,
    schedule="poly",
    augment="scale",
    resize=(0.75, 1.5),
    crop=96,
    jitter=0.0,
)
refine = {
    "dsrg": dict(grid=24),
    "ficklenet": dict(grid=24),
    "irn": dict(_affinity, displacement_mult=1.0, steps=16),
    "affinitynet": dict(_affinity, group_norm=True, steps=64),
}
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
    "dsrg": dict(
        schedule="poly",
        resize=(1.0, 1.0),
        label_stride=4,
        crf_factor=4.0,
        relabel_scales=(1.0,),
        relabel_warp=0,
        test_scales=(1.0,),
        retrain_iterations=150,
        retrain_batch=16,
        retrain_lr=0.05,
        retrain_crop=96,
        retrain_resize=(0.75, 1.5),
    ),
}
