"""What affinity networks (irn, affinitynet) share in the profiles; their papers' settings have little in common."""

profiles = dict(
    # The tiny backbone learns along. "psa" borders would leave out a third of the pairs on this small grid.
    shapes=dict(
        refine=dict(
            backbone="tiny",
            weights=None,
            backbone_options=dict(_delete_=True),
            normalize="imagenet",
            border="full",
            radius=5,
            batch=16,
            epochs=0,
            iterations=200,
            optimizer="SGD",
            lr=0.05,
            new_mult=1.0,
            momentum=0.9,
            weight_decay=1e-4,
            schedule="poly",
            augment="scale",
            resize=(0.75, 1.5),
            crop=96,
            jitter=0.0,
        ),
    ),
    check=dict(refine=dict(iterations=8, batch=8, crop=64, steps=8)),
    # Real momentum 0.9, so learning rates are a tenth of the releases'; the backbone is frozen as IRN's is.
    mobilenet=dict(
        refine=dict(
            backbone="mobilenet_v2",
            backbone_options=dict(_delete_=True, padding="same", frozen_stages=5),
            normalize="tf",
            border="full",
            batch=16,
            epochs=3,
            iterations=0,
            optimizer="SGD",
            lr=0.01,
            momentum=0.9,
            weight_decay=1e-4,
            schedule="poly",
            augment="scale",
            resize=(0.5, 1.5),
            crop=224,
            jitter=0.0,
        ),
    ),
)
