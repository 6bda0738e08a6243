"""DeepLab as MobileNetV2's authors build it for small budgets: a dilated backbone, no ASPP (CVPR 2018, section 6.3).

One 1×1 classifier has a thirty-sixth of the weights of DeepLabV2's head on 1,280 channels: it fits sooner and, where
images are few, generalises better.
"""

_base_ = "_encoder_decoder.py"
model = dict(
    backbone=dict(type="TorchvisionMobileNetV2"),
    decode_head=dict(
        type="DeepLabV2Head",
        in_channels=1280,
        channels=1,
        kernel=1,
        rates=(1,),
        dropout_ratio=0.5,
    ),
)
