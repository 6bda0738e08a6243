"""Inter-pixel relation network (CVPR 2019) as its released run_sample.py trains and infers it.

Later users change thresholds: RIB conf_fg=.35, conf_bg=.17, background=.27; ReCAM .35, .10, .28; CLIMS .30, .10, .20.
"""

inherit = ["methods/affinity.py"]

refine = dict(
    backbone="resnet50",
    weights="imagenet",
    # ImageNet weights, not the CAM classifier's; nothing of it learns.
    backbone_options=dict(frozen_stages=5),
    normalize="imagenet",
    # Labels of relations: constant background scores, then the CRF.
    conf_fg=0.30,
    conf_bg=0.05,
    crf="irn",
    gt_prob=0.7,
    # Pairs of cells closer than this many cells. border: "psa" as released, or "full", see the README.
    radius=10,
    border="psa",
    # Semantic labels do not depend on the displacement field (its author, irn#19); False saves its time.
    displacement=True,
    displacement_mult=10.0,
    centring="running",
    batch=32,
    epochs=3,
    iterations=0,
    lr=0.1,
    optimizer="SGD",
    new_mult=1.0,
    # The released PolyOptimizer hands weight_decay to SGD's momentum argument: 0.9 is advertised, 1e-4 is in force.
    momentum=1e-4,
    weight_decay=1e-4,
    schedule="poly",
    power=0.9,
    augment="scale",
    resize=(0.5, 1.5),
    crop=512,
    jitter=0.0,
    amp="",
    # Images of one size that share a batch in inference; 0: the device decides (16 on a GPU, 1 on a CPU).
    test_batch=0,
    # Inference.
    scales=(1.0,),
    flip=True,
    walk_radius=5,
    beta=10.0,
    steps=256,
    background=0.25,
)

# Settings of the boundary map and of the walk.
test_settings = dict(
    refine=(
        "scales",
        "flip",
        "test_batch",
        "walk_radius",
        "beta",
        "steps",
        "background",
    )
)
profiles = dict(
    shapes=dict(
        refine=dict(
            displacement_mult=1.0,
            # The grid of 24×24 cells is a quarter of the papers' photographs in each direction, so a sixteenth of the
            # steps walks as far.
            steps=16,
        ),
    ),
    # A 56×56 grid; the displacement field would double the time and touches no label.
    mobilenet=dict(refine=dict(displacement=False)),
)

ranges = dict(
    refine=dict(conf_fg="[0, 1]", conf_bg="[0, 1]", walk_radius="[1, inf)"),
)
