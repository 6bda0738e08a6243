"""DeepLab-LargeFOV: one fc6 with dilation 12 (SEC)."""

_base_ = "_encoder_decoder.py"
model = dict(
    decode_head=dict(type="DeepLabV1Head", in_channels=512, channels=1024, rates=(12,))
)
