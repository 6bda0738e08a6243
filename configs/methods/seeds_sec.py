"""The localisation net that SEC released and DSRG's pipeline uses, and its cue thresholds."""

localize = dict(
    backbone="vgg16",
    weights="imagenet",
    backbone_options=dict(layout="cam"),
    normalize="imagenet",
    # Two 3×3 convolutions of this width before pooling; 0 classifies the backbone's features directly.
    head_channels=1024,
    batch=15,
    epochs=0,
    iterations=8000,
    lr=1e-3,
    optimizer="SGD",
    new_mult=10.0,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="step",
    step_every=2000,
    step_epochs=0,
    step_factor=0.1,
    power=0.9,
    augment="warp",
    resize=(1.0, 1.0),
    crop=321,
    jitter=0.0,
    amp="",
    # Precision of inference: "" is float32; bf16 is up to three times as fast where the processor has it.
    test_amp="",
    # Images of one size that share a batch in inference; 0: the device decides (16 on a GPU, 1 on a CPU).
    test_batch=0,
    # Sides at every scale are rounded to a multiple of so many pixels, so that many sizes become few; 0: they are not.
    test_round=0,
    scales=(1.0,),
    flip=False,
    warp=321,
    threshold=0.2,
    # Background: a folder of saliency maps (counts as extra supervision), or "" for the classifier's own gradient.
    saliency_dir="",
    saliency_stage=3,
)
refine = dict(
    grid=41,
    foreground=0.2,
    # The least salient tenth of the cells is background (SEC); with saliency maps, cells below background_max (DSRG).
    background_fraction=0.1,
    background_max=0.06,
)
# Settings of the maps and of the background cue: no training depends on them.
test_settings = dict(
    localize=(
        "scales",
        "flip",
        "warp",
        "test_amp",
        "test_batch",
        "test_round",
        "threshold",
        "saliency_dir",
        "saliency_stage",
    )
)

profiles = dict(
    shapes=dict(
        localize=dict(
            head_channels=0,
            augment="resize_long",
            warp=0,
            saliency_stage=1,
            scales=(1.0,),
            epochs=0,
            step_epochs=0,
        ),
        refine=dict(grid=24),
    ),
    check=dict(refine=dict(grid=16)),
    mobilenet=dict(
        localize=dict(
            head_channels=0,
            augment="resize_long",
            warp=320,
            saliency_stage=2,
            scales=(1.0,),
            step_epochs=0,
        ),
        refine=dict(grid=41),
    ),
)
