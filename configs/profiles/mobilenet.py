"""MobileNetV2 at a budget of minutes per stage on a CPU; for photographs where no GPU is at hand.

Give the weights with --weights. The classifier learns with real momentum 0.9, so its learning rate is a tenth of IRN's.
What a single method needs beyond that stands in its own config, under ``profiles``.
"""

localize = {
    "*": dict(
        backbone="mobilenet_v2",
        backbone_options=dict(_delete_=True, padding="same", frozen_stages=3),
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
    ),
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
        # Eight epochs of 1,346 images, where the literature makes twenty of ten times as many: AdamW, which needs no
        # tuning to the width of the head, learns most in so few. A backbone that moves slowly keeps what ImageNet
        # taught it; dropout, colour jitter and pasted squares keep the network from learning the noise of the labels
        # by heart.
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
}
