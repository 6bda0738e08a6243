"""Class activation maps, the baseline. ``maps`` is "cam" or "gradcam" (equal for this head, and a test says so)."""

inherit = ["methods/classifier.py"]
localize = dict(maps="cam")

test_settings = dict(
    localize=(
        "maps",
        "scales",
        "flip",
        "test_amp",
        "test_batch",
        "test_round",
        "threshold",
    )
)
