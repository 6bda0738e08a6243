"""The frame of every DeepLab here. The backbone's name, weights and stride come from the method's parameters."""

model = dict(
    type="EncoderDecoder",
    backbone=dict(type="TorchvisionVGG16", weights=None),
    decode_head=dict(
        num_classes=21,
        in_index=-1,
        dropout_ratio=0.5,
        align_corners=False,
        loss_decode=dict(
            type="CrossEntropyLoss",
            use_sigmoid=False,
            avg_non_ignore=True,
            loss_weight=1.0,
        ),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
