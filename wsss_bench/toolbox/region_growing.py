"""Deep seeded region growing (Huang et al., CVPR 2018, section 3.3) on small label grids.

Two implementations that agree bit for bit: a compiled flood from the cues, and a connected-component version on
`scipy.ndimage` that serves as its oracle in the tests and as fallback where numba is missing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from wsss_bench.contract.view import IGNORE
from wsss_bench.toolbox.arrays import Bytes, Flags, Floats

_EIGHT = np.ones((3, 3), np.int64)
"""Cells that touch at a corner are connected too, as in the released code."""


def grow(
    cues: Bytes,
    probs: Floats,
    present: Sequence[int],
    theta_f: float = 0.85,
    theta_b: float = 0.99,
    *,
    conduct: bool = True,
) -> Bytes:
    """Grow cues into the 8-connected cells on which the network is sure of the same class.

    DSRG's *released* rule. Per cell take the best class among background and `present`, and its probability v. A label
    map starts from the cues and is overwritten by that class where v > `theta_f` (background: also v > `theta_b`).
    An 8-connected component of one class is accepted if it contains a cue cell of that class; all its cells become cues
    of the class, except those that carry another class's cue. Cues are never removed.

    Args:
        cues: ``uint8 [h, w]``, 0 = background, 1..C = foreground, 255 = no cue.
        probs: ``float32 [C+1, h, w]``, probabilities; NaN never wins.
        present: ids of the tagged foreground classes, each in 1..C; background always counts as present.
        theta_f: threshold on foreground (and on everything), strict.
        theta_b: additional threshold on background, strict.
        conduct: True: cells with a foreign cue, on which the network disagrees with that cue, let growth through
            without being relabelled (released code). False: growth starts at every cue cell and visits only unlabelled
            cells (the paper's text).

    Returns:
        ``uint8 [h, w]``, the grown cues: a superset of `cues`.

    Raises:
        ValueError: shapes, dtypes, or class ids break the contract above.
    """
    batch = grow_batch(
        cues[None],
        probs[None],
        [present],
        theta_f,
        theta_b,
        conduct=conduct,
    )
    return batch[0]


def grow_batch(
    cues: Bytes,
    probs: Floats,
    present: Sequence[Sequence[int]],
    theta_f: float = 0.85,
    theta_b: float = 0.99,
    *,
    conduct: bool = True,
) -> Bytes:
    """Do what `grow` does for a batch; releases the interpreter lock while it runs.

    Args:
        cues: ``uint8 [B, h, w]``.
        probs: ``float32 [B, C+1, h, w]``.
        present: ids of the tagged foreground classes, per image.
        theta_f: as for `grow`, like the others.
        theta_b: additional threshold on background, strict.
        conduct: whether foreign cues let growth through.

    Returns:
        ``uint8 [B, h, w]``.

    Raises:
        ValueError: as `grow` does.
    """
    tagged = _tag_matrix(cues, probs, present)
    try:
        from wsss_bench.toolbox.kernels import growing
    except ImportError:
        grown = cues.copy()
        for image, tags in enumerate(tagged):
            grown[image] = _by_components(
                cues[image],
                probs[image],
                tags,
                theta_f,
                theta_b,
                conduct,
            )
        return grown
    return growing.grow_batch(
        np.ascontiguousarray(cues),
        np.ascontiguousarray(probs),
        tagged,
        # Compared in float32 like the probabilities: 0.85 in double precision is another
        # number, and a probability of exactly float32(0.85) would exceed it or not.
        np.float32(theta_f),
        np.float32(theta_b),
        conduct,
    )


def grow_reference(
    cues: Bytes,
    probs: Floats,
    present: Sequence[int],
    theta_f: float = 0.85,
    theta_b: float = 0.99,
    *,
    conduct: bool = True,
) -> Bytes:
    """Do what `grow` does by connected components of `scipy.ndimage`: same contract, same bits, needs no compiler."""
    tagged = _tag_matrix(cues[None], probs[None], [present])[0]
    return _by_components(cues, probs, tagged, theta_f, theta_b, conduct)


def _by_components(
    cues: Bytes,
    probs: Floats,
    tagged: Flags,
    theta_f: float,
    theta_b: float,
    conduct: bool,
) -> Bytes:
    """Grow the cues of one image; `tagged` is ``bool [C+1]``, background included."""
    classes = np.flatnonzero(tagged)
    planes = probs[classes]
    # NaN would win every `argmax`; as -1 it wins none.
    planes = np.where(np.isnan(planes), np.float32(-1), planes)
    best = classes[planes.argmax(axis=0)]
    value = planes.max(axis=0)
    enough = value > np.float32(theta_f)
    sure = enough & ((best != 0) | (value > np.float32(theta_b)))
    labels = np.where(sure, best, cues)
    unlabelled = cues == IGNORE
    grown = cues.copy()
    for c in classes:
        starts = cues == c
        region = labels == c
        if conduct:
            # A cue that the network takes for another class starts nothing.
            starts = starts & region
        else:
            region = starts | (region & unlabelled)
        components, _ = ndimage.label(region, structure=_EIGHT)
        reached = np.isin(components, np.unique(components[starts]))
        # Component 0 is what lies outside all regions.
        grown[reached & region & unlabelled] = c
    return grown


def _tag_matrix(
    cues: Bytes,
    probs: Floats,
    present: Sequence[Sequence[int]],
) -> Flags:
    """Check a batch against the contract of `grow`; return ``bool [B, C+1]``, background always on."""
    same_grid = (
        cues.ndim == 3
        and probs.ndim == 4
        and len(cues) == len(probs)
        and cues.shape[1:] == probs.shape[2:]
    )
    if not same_grid:
        raise ValueError(
            f"region growing: cues {cues.shape} must be [B, h, w] on the grid of "
            f"probs {probs.shape} [B, C+1, h, w]."
        )
    if cues.dtype != np.uint8 or probs.dtype != np.float32:
        raise ValueError(
            "region growing: cues must be uint8 and probs float32, "
            f"not {cues.dtype} and {probs.dtype}; convert them first."
        )
    channels = probs.shape[1]
    # The compiled loops check no index: a class without a channel would read elsewhere.
    foreign = cues[(cues >= channels) & (cues != IGNORE)]
    if foreign.size:
        raise ValueError(
            f"region growing: cue value {foreign[0]} has no channel in probs "
            f"(C+1 = {channels}); use 0..{channels - 1} or 255."
        )
    if len(present) != len(probs):
        raise ValueError(
            f"region growing: {len(present)} lists of present classes for "
            f"{len(probs)} images; give one per image."
        )
    tagged = np.zeros((len(probs), channels), np.bool_)
    for row, classes in zip(tagged, present, strict=True):
        if any(not 0 <= c < channels for c in classes):
            raise ValueError(
                f"region growing: present classes {list(classes)} must lie in "
                f"1..{channels - 1}."
            )
        row[[0, *classes]] = True
    return tagged
