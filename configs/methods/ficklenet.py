"""FickleNet (CVPR 2019). No code was released: values are the paper's where known, see the method's README for the rest.

Its Table 5: ficklenet[dropout="deterministic"], ficklenet[dropout="general",rate=0.5], ficklenet[rate=0.3], …
"""

_base_ = "_seeds_sec.py"

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
