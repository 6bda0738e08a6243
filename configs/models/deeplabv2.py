"""DeepLabV2: four dilated 3×3 classifiers on the last feature map, summed."""

_base_ = "_encoder_decoder.py"
model = dict(
    backbone=dict(type="TorchvisionResNet", depth=101),
    decode_head=dict(
        type="DeepLabV2Head",
        in_channels=2048,
        channels=1,
        rates=(6, 12, 18, 24),
        dropout_ratio=0.0,
    ),
)
