"""AffinityNet (CVPR 2018) as its released README and train_aff.py / infer_aff.py set it.

The paper's own run has alpha_high=24; SEAM uses alpha_walk=6, alpha_high=24, steps=64, crf_after=1; MCTformer has
alphas 1 and 12.
"""

inherit = ["methods/affinity.py"]

refine = dict(
    # The release's ResNet38 has no weights in torchvision's layout; strides, stages and frozen part are those of its
    # place.
    backbone="resnet50",
    weights="imagenet",
    backbone_options=dict(output_stride=8, dilated=True, frozen_stages=2),
    normalize="imagenet",
    # Group norms before the ELUs: the release's VGG-16 has them, its ResNet38 has not.
    group_norm=False,
    # Background (1 - max)^alpha: much of it, for the walk, little of it.
    alpha_low=4.0,
    alpha_walk=16.0,
    alpha_high=32.0,
    crf="psa",
    # Pairs of cells closer than this many cells. border: "psa" as released, or "full", see the README.
    radius=5,
    border="psa",
    batch=8,
    epochs=8,
    iterations=0,
    # For ResNet38 some users take 0.01 (psa#18).
    lr=0.1,
    optimizer="SGD",
    new_mult=10.0,
    bias_mult=2.0,
    bias_decay=False,
    # The released PolyOptimizer hands weight_decay to SGD's momentum argument: 0.9 is advertised, 5e-4 is in force.
    momentum=5e-4,
    weight_decay=5e-4,
    schedule="poly",
    power=0.9,
    augment="scale",
    resize=(1.0, 1.0),
    crop=448,
    jitter=0.3,
    amp="",
    # Images of one size that share a batch in inference; 0: the device decides (16 on a GPU, 1 on a CPU).
    test_batch=0,
    # Inference: 2^8 steps. crf_after: mean-field steps on the walked scores; the released script has none.
    beta=8.0,
    steps=256,
    crf_after=0,
)

# Settings of the walk.
test_settings = dict(refine=("test_batch", "alpha_walk", "beta", "steps", "crf_after"))
profiles = dict(
    shapes=dict(
        refine=dict(
            group_norm=True,
            # The grid of 24×24 cells is half of the paper's in each direction, so a quarter of the steps walks as far.
            steps=64,
        ),
    ),
    mobilenet=dict(
        refine=dict(
            group_norm=True,
            # 256 steps are meant for photographs of 500 pixels; on the 40×30 cells of one of 320 they let background
            # flow through everything.
            steps=64,
        ),
    ),
)

ranges = dict(
    refine=dict(alpha_low="(0, inf)", alpha_walk="(0, inf)", alpha_high="(0, inf)"),
)
