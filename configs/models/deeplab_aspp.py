"""DeepLab-ASPP: four fc6-fc7-fc8 branches with dilations 6, 12, 18, 24, summed (DSRG)."""

_base_ = "_encoder_decoder.py"
model = dict(
    decode_head=dict(
        type="DeepLabV1Head", in_channels=512, channels=1024, rates=(6, 12, 18, 24)
    )
)
