"""MobileNetV2 at a budget of minutes per stage on a CPU; for photographs where no GPU is at hand.

Give the weights with --weights. The classifier learns with real momentum 0.9, so its learning rate is a tenth of IRN's.
"""

_backbone = dict(_delete_=True, padding="same", frozen_stages=3)
_classifier = dict(
    backbone="mobilenet_v2",
    backbone_options=_backbone,
    normalize="tf",
    crop=224,
    resize=(224, 336),
    batch=16,
    epochs=4,
    iterations=0,
    optimizer="SGD",
    lr=0.01,
    new_mult=10.0,
    momentum=0.9,
    weight_decay=1e-4,
    schedule="poly",
    scales=(1.0, 1.5),
)
_sec = dict(_classifier, head_channels=0, augment="resize_long", warp=320, saliency_stage=2, scales=(1.0,), step_epochs=0)

localize = {
    "*": {k: v for k, v in _classifier.items()},
    "dsrg": _sec,
    # On a 16×16 grid a 5×5 window covers about what 9×9 covers on the paper's 41×41; with rate 0.7 about as many units stay.
    "ficklenet": dict(_sec, warp=256, kernel=5, rate=0.7, draws=100),
}
refine = {"dsrg": dict(grid=41), "ficklenet": dict(grid=41)}
segment = {
    "*": dict(
        network="deeplabv2",
        backbone="mobilenet_v2",
        backbone_options=dict(_delete_=True, padding="same", frozen_stages=3, output_stride=16, dilated=True),
        rates=(3, 6, 9, 12),
        normalize="tf",
        batch=16,
        iterations=160,
        lr=2.5e-4,
        new_mult=10.0,
        bias_mult=2.0,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="poly",
        crop=224,
        resize=(0.75, 1.25),
        # The loss is taken on a quarter of the resolution: full-size logits would double the time of a step on a CPU.
        label_stride=4,
        crf="dsrg",
    ),
    "dsrg": dict(
        schedule="poly",
        crop=224,
        resize=(1.0, 1.0),
        label_stride=8,
        relabel_scales=(1.0,),
        relabel_warp=224,
        test_scales=(1.0,),
        retrain_iterations=100,
        retrain_batch=16,
        retrain_lr=2.5e-4,
        retrain_crop=224,
        retrain_resize=(0.75, 1.25),
    ),
}
