"""CAM files of other repositories as seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsss_bench.contract.artifacts import Seed
from wsss_bench.exchange.forms import Form, extra_maps
from wsss_bench.exchange.stored import OWN, PLAIN, read_stored
from wsss_bench.io.pickles import load_arrays_only

__all__ = ["load_arrays_only", "read_seed"]

# Half precision does not hit -1 exactly.
_LOWEST = -1.001


def read_seed(path: Path, size: tuple[int, int], form: Form | None = None) -> Seed:
    """Return the class scores of one image from another repository's file.

    Class ids become mask ids (1..C); the scores stay on their grid. Understood are the layouts of
    `wsss_bench.exchange.stored`. In a dict of one map per class, scores down to -1 count as 0: SEAM's normalisation
    leaves some there (and -1 all over a map that never fired), and at every threshold they are background anyway.

    Args:
        path: the file.
        size: (H, W) of the photograph.
        form: how the folder's files are read; None to take keys as most repositories count them, from 0.

    Raises:
        ArtifactError: the file is none of these, or of another form.
    """
    stored = read_stored(path)
    if form is None:
        array = stored.choose(None) if stored.arrays else ""
        # Mask ids count as they stand.
        first = 0 if stored.layout == OWN else 1
        form = Form(stored.layout, array, first, extra_maps(stored, array))
    ids, maps = form.read(stored)
    # Other repositories keep classes in the order of their tables; a seed's ids increase.
    order = np.argsort(ids, kind="stable")
    scores = np.ascontiguousarray(maps[order], np.float32)
    # Lower ones are no scores but logits, and NaN compares as false: both are refused by whoever checks the seed.
    if form.layout == PLAIN and scores.size and scores.min() >= _LOWEST:
        scores = np.maximum(scores, 0)
    return Seed(ids[order], scores, size)
