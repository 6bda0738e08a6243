"""DeepLabV2 on ResNet-101 as deeplab-pytorch's voc12.yaml trains it, from ImageNet weights, with the balanced loss.

Segmentor recipe of the WSSS literature since IRN (batch 5×2, 20k iterations, 321 crops, poly 0.9). With ImageNet
initialisation the plain loss is reported to diverge and the balanced one of DSRG to help, hence the default.
"""

segment = dict(
    network="deeplabv2",
    backbone="resnet101",
    weights="imagenet",
    backbone_options=dict(frozen_stages=1),
    # Dilations of the head; empty: the network's own.
    rates=(),
    # Share of the head's inputs dropped in training; None: the network's own.
    dropout=None,
    normalize="imagenet",
    loss="balanced",
    batch=10,
    epochs=0,
    iterations=20000,
    lr=2.5e-4,
    optimizer="SGD",
    new_mult=10.0,
    bias_mult=2.0,
    bias_decay=False,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="poly",
    power=0.9,
    # Iterations over which the learning rate rises linearly to its value.
    warmup=0,
    augment="scale",
    resize=(0.5, 1.5),
    crop=321,
    jitter=0.0,
    # Probability that a square of the crop shows another training image with its labels (CutMix); 0 in the literature.
    cutmix=0.0,
    amp="",
    # Precision of inference: "" is float32; bf16 is up to three times as fast where the processor has it.
    test_amp="",
    # Images of one size that share a batch in prediction; 0: the device decides (16 on a GPU, 1 on a CPU).
    test_batch=0,
    # Sides at every scale are rounded to a multiple of so many pixels, so that many sizes become few; 0: they are not.
    test_round=0,
    label_stride=1,
    test_scales=(1.0,),
    test_flip=False,
    test_merge="probs",
    test_warp=0,
    crf="deeplab",
    rounds=1,
)
# Settings of the prediction: no training depends on them.
test_settings = dict(
    segment=(
        "test_scales",
        "test_flip",
        "test_merge",
        "test_warp",
        "test_amp",
        "test_batch",
        "test_round",
        "crf",
    )
)
