"""The CAM classifier as IRN's released code trains and infers it (its run_sample.py and step/ defaults)."""

localize = dict(
    backbone="resnet50",
    weights="imagenet",
    backbone_options=dict(),
    normalize="imagenet",
    batch=16,
    epochs=5,
    iterations=0,
    lr=0.1,
    optimizer="SGD",
    new_mult=10.0,
    # The released PolyOptimizer hands weight_decay to SGD's momentum argument: 0.9 is advertised, 1e-4 is in force.
    momentum=1e-4,
    weight_decay=1e-4,
    schedule="poly",
    power=0.9,
    augment="resize_long",
    resize=(320, 640),
    crop=512,
    jitter=0.0,
    amp="",
    # Precision of inference: "" is float32; bf16 is up to three times as fast where the processor has it.
    test_amp="",
    # Images of one size that share a batch in inference; 0: the device decides (16 on a GPU, 1 on a CPU).
    test_batch=0,
    # Sides at every scale are rounded to a multiple of so many pixels, so that many sizes become few; 0: they are not.
    test_round=0,
    scales=(1.0, 0.5, 1.5, 2.0),
    flip=True,
    # Fixed background threshold at which the seeds are also scored.
    threshold=0.15,
)
# Settings of the maps: no training depends on them.
test_settings = dict(
    localize=("scales", "flip", "test_amp", "test_batch", "test_round", "threshold")
)
