"""Visual words learning and hybrid pooling (IJCAI 2021). Its Table 1: vwe[encoder=False,pooling=gap] is the baseline,
vwe[pooling=gap] adds the encoder, vwe[encoder=False] adds the pooling.
"""

inherit = ["methods/classifier.py"]

localize = dict(
    epochs=6,
    lr=0.01,
    encoder=True,
    words=256,
    pooling="hspp",
    gamma=2.0,
    levels=(1, 2, 4),
    # The paper averages the word histogram; the release sums it (cosines make the mean almost flat).
    hist="sum",
    # Feature that predicts the words: paper "hspp", release "gap".
    word_feat="hspp",
    # Fusion of the image and the word CAM: paper "max", release "none".
    fuse="max",
    flip_merge="max",
    threshold=0.14,
)

test_settings = dict(
    localize=(
        "scales",
        "flip",
        "flip_merge",
        "fuse",
        "test_amp",
        "test_batch",
        "test_round",
        "threshold",
    )
)
profiles = dict(
    shapes=dict(localize=dict(words=64)),
    check=dict(localize=dict(words=16)),
)

ranges = dict(localize=dict(words="[2, inf)", gamma="[0, inf)"))
