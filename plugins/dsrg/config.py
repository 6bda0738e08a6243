"""Deep seeded region growing (CVPR 2018). Released constants; the ablations of its Table 2 are parameters.

baseline: dsrg[balanced=False,grow=none,rounds=1]   +BSL: dsrg[grow=none,rounds=1]
+DSRG: dsrg[rounds=1]   +retrain: dsrg
"""

inherit = ["methods/seeds_sec.py", "methods/segmentor.py"]

segment = dict(
    network="deeplab_aspp",
    backbone="vgg16",
    backbone_options=dict(_delete_=True, frozen_stages=0),
    loss="dsrg",
    batch=20,
    epochs=0,
    iterations=8000,
    lr=5e-4,
    schedule="step",
    # Paper: ÷10 every 2000 iterations. Released solver: ×0.33 every 1000.
    step_every=2000,
    step_factor=0.1,
    augment="warp",
    resize=(1.0, 1.0),
    crop=321,
    label_stride=8,
    balanced=True,
    boundary=True,
    grow="both",
    theta_f=0.85,
    theta_b=0.99,
    # The release grows on the CRF's output and feeds it probabilities as energies; both are choices here.
    grow_on="crf",
    crf_unary="prob",
    crf_factor=12.0,
    # Photographs at the cues' grid: "points", as SEC's and DSRG's releases sample them, or a cell's "area" averaged.
    thumbnails="points",
    boundary_clip=(0.05, 20.0),
    test_scales=(0.75, 1.0, 1.25),
    test_merge="logits",
    crf="dsrg",
    rounds=2,
    # The retrain round replaces these.
    retrain_iterations=20000,
    retrain_batch=10,
    retrain_lr=1e-3,
    retrain_crop=321,
    retrain_resize=(1.0, 1.0),
    retrain_cutmix=0.0,
)
# Round 2: how the first round's segmentor labels the training images. The release warps to 241, 321 and 401 pixels and
# sums the logits.
refine = dict(
    relabel_scales=(0.75, 1.0, 1.25),
    relabel_flip=False,
    relabel_merge="logits",
    relabel_warp=321,
    relabel_crf="dsrg",
    relabel_amp="",
)
profiles = dict(
    shapes=dict(
        refine=dict(relabel_scales=(1.0,), relabel_warp=0),
        segment=dict(
            schedule="poly",
            resize=(1.0, 1.0),
            label_stride=4,
            crf_factor=4.0,
            test_scales=(1.0,),
            retrain_iterations=150,
            retrain_batch=16,
            retrain_lr=0.05,
            retrain_crop=96,
            retrain_resize=(0.75, 1.5),
        ),
    ),
    check=dict(
        segment=dict(retrain_iterations=6, retrain_batch=8, retrain_crop=64),
    ),
    mobilenet=dict(
        refine=dict(relabel_scales=(1.0,), relabel_flip=True, relabel_warp=224),
        segment=dict(
            # The first of two rounds; ficklenet has no second. Regions grow only where the network is sure, so it
            # learns fast and sees photographs as they are.
            iterations=300,
            lr=3e-4,
            new_mult=3.0,
            cutmix=0.0,
            schedule="poly",
            crop=224,
            resize=(1.0, 1.0),
            label_stride=8,
            retrain_iterations=700,
            retrain_batch=16,
            retrain_lr=1e-4,
            retrain_crop=192,
            retrain_resize=(0.5, 1.1),
            retrain_cutmix=0.7,
        ),
    ),
)

ranges = dict(
    refine=dict(background_fraction="[0, 1]", background_max="[0, 1]", grid="[1, inf)"),
    segment=dict(theta_f="[0, 1]", theta_b="[0, 1]", crf_factor="(0, inf)"),
)
