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
_sec = dict(
    _classifier,
    head_channels=0,
    augment="resize_long",
    warp=320,
    saliency_stage=2,
    scales=(1.0,),
    step_epochs=0,
)

localize = {
    "*": {k: v for k, v in _classifier.items()},
    "dsrg": _sec,
    # On a 16×16 grid a 5×5 window covers about what 9×9 covers on the paper's 41×41; with rate 0.7 about as many units stay.
    "ficklenet": dict(_sec, warp=256, kernel=5, rate=0.7, draws=100),
}
# Affinity networks: real momentum 0.9, so learning rates are a tenth of the releases'; the backbone is frozen as IRN's is.
_affinity = dict(
    backbone="mobilenet_v2",
    backbone_options=dict(_delete_=True, padding="same", frozen_stages=5),
    normalize="tf",
    border="full",
    batch=16,
    epochs=3,
    iterations=0,
    optimizer="SGD",
    lr=0.01,
    momentum=0.9,
    weight_decay=1e-4,
    schedule="poly",
    augment="scale",
    resize=(0.5, 1.5),
    crop=224,
    jitter=0.0,
)
refine = {
    "dsrg": dict(grid=41),
    "ficklenet": dict(grid=41),
    # A 56×56 grid; the displacement field would double the time and touches no label.
    "irn": dict(_affinity, displacement=False),
    # 256 steps are meant for photographs of 500 pixels; on the 40×30 cells of one of 320 they let background flow through everything.
    "affinitynet": dict(_affinity, group_norm=True, steps=64),
}
segment = {
    "*": dict(
        network="deeplab_mobilenet",
        backbone="mobilenet_v2",
        backbone_options=dict(
            _delete_=True,
            padding="same",
            frozen_stages=3,
            output_stride=16,
            dilated=True,
        ),
        normalize="tf",
        # Eight epochs of 1,346 images, where the literature makes twenty of ten times as many: AdamW, which needs no tuning to
        # the width of the head, learns most in so few. A backbone that moves slowly keeps what ImageNet taught it; dropout,
        # colour jitter and pasted squares keep the network from learning the noise of the labels by heart.
        dropout=0.5,
        batch=16,
        iterations=700,
        optimizer="AdamW",
        lr=8e-5,
        new_mult=12.0,
        bias_mult=1.0,
        weight_decay=0.01,
        schedule="poly",
        warmup=20,
        crop=192,
        jitter=0.3,
        cutmix=0.7,
        # The backbone saw whole objects at 224 pixels: training enlarges photographs little.
        resize=(0.5, 1.1),
        test_scales=(0.5, 0.75, 1.0, 1.25, 1.5),
        test_flip=True,
        # The loss is taken on a quarter of the resolution: full-size logits would double the time of a step on a CPU.
        label_stride=4,
    ),
    "dsrg": dict(
        # The first of two rounds; ficklenet has no second. Regions grow only where the network is sure, so it learns fast and
        # sees photographs as they are.
        iterations=300,
        lr=3e-4,
        new_mult=3.0,
        cutmix=0.0,
        schedule="poly",
        crop=224,
        resize=(1.0, 1.0),
        label_stride=8,
        relabel_scales=(1.0,),
        relabel_warp=224,
        retrain_iterations=700,
        retrain_batch=16,
        retrain_lr=1e-4,
        retrain_crop=192,
        retrain_resize=(0.5, 1.1),
        retrain_cutmix=0.7,
    ),
}
