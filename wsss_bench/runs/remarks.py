"""What a reader of a score should know and the score does not say: nothing found, one class only, nothing labelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsss_bench.evaluate import Counts

NAMES = {
    "seeds_best": "seeds at the oracle's threshold",
    "seeds_fixed": "seeds at the fixed threshold",
    "labels": "labels",
    "val": "predictions",
    "val_crf": "predictions with CRF",
}
"""What each kind of score is called in a sentence."""


def remarks(what: str, counts: Counts) -> list[str]:
    """Return sentences on label maps that hold at most one class where the truth holds several; usually none.

    Args:
        what: a key of `NAMES`.
        counts: the maps against the truth.
    """
    import numpy as np

    if np.count_nonzero(counts.truth.sum(0)) < 2:
        return []
    name = NAMES[what]
    found = np.flatnonzero(counts.prediction.sum(0))
    if not found.size:
        return [f"{name}: no scored pixel has a label, all are 255"]
    if found.size > 1:
        return []
    only = counts.classes[found[0]]
    # A score of nothing but background is the share of background in the data, over the classes.
    return [f"{name}: one class only, {only!r} in every image"]
