"""A small network for `shapes`: two DeepLab branches with small dilations on the tiny backbone."""

_base_ = "_encoder_decoder.py"
model = dict(
    backbone=dict(_delete_=True, type="TinyBackbone"),
    decode_head=dict(
        type="DeepLabV1Head",
        in_channels=96,
        channels=96,
        rates=(1, 4),
        dropout_ratio=0.2,
    ),
)
