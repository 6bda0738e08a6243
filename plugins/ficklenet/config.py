"""FickleNet (CVPR 2019). No code was released: values are the paper's where known, see the README for the rest.

Its Table 5: ficklenet[dropout="deterministic"], ficklenet[dropout="general",rate=0.5], ficklenet[rate=0.3], …
"""

inherit = ["methods/seeds_sec.py"]

localize = dict(
    backbone_options=dict(_delete_=True, layout="deeplab", frozen_stages=0),
    dropout="centre",
    rate=0.9,
    kernel=9,
    draws=200,
    optimizer="Adam",
    lr=1e-3,
    new_mult=1.0,
    batch=10,
    epochs=20,
    iterations=0,
    step_epochs=10,
    step_factor=0.5,
    threshold=0.35,
)
refine = dict(threshold=0.35)

# What is drawn from a trained network, and how often: no training depends on it. Dropout and rate of the draws are the
# training's.
test_settings = dict(
    localize=(
        "draws",
        "warp",
        "scales",
        "flip",
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
            # A 9×9 window on a 24×24 grid covers what it covers on the paper's 41×41 at 5×5; about as many units stay.
            kernel=5,
            rate=0.7,
            draws=50,
        ),
    ),
    check=dict(localize=dict(draws=4)),
    mobilenet=dict(
        localize=dict(
            warp=256,
            # On a 16×16 grid a 5×5 window covers about what 9×9 covers on the paper's 41×41; with rate 0.7 about as
            # many units stay.
            kernel=5,
            rate=0.7,
            draws=100,
        ),
    ),
)

ranges = dict(localize=dict(rate="[0, 1)", kernel="[1, inf)", draws="[1, inf)"))
