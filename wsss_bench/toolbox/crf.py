"""Fully connected CRF (Krähenbühl & Koltun, NeurIPS 2011) with the constants that the field publishes.

Two back ends with the same result up to rounding: `pydensecrf`, and a compiled one of our own that fuses the mean-field
step, lets other threads run meanwhile, and is faster for the few labels an image usually has. Both work on energies,
``-log p`` up to a constant per pixel: energies from logits and from log-softmax give the same answer, ``-p`` does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.view import IGNORE
from wsss_bench.errors import WsssError
from wsss_bench.toolbox.arrays import Bytes, Floats
from wsss_bench.toolbox.crf_presets import PRESETS, CrfParams
from wsss_bench.toolbox.parallel import in_threads

Backend = Literal["auto", "pydensecrf", "numba"]

FEW_LABELS = 20
"""`auto` takes the compiled back end up to this many labels: from there on `pydensecrf` is as fast (see
benchmarks/bench_crf.py), but lets no other thread run meanwhile."""

LIKELY = 1e-3
"""`likely_classes` drops classes that reach this probability nowhere."""

MOST = 20
"""How many classes `likely_classes` keeps at most."""


def unary_from_probabilities(
    probs: NDArray[np.floating],
    floor: float = 1e-5,
) -> Floats:
    """Return the energies ``-log(max(p, floor))`` of scores, ``float32 [K, H, W]``.

    Args:
        probs: ``[K, H, W]``, not negative; the classes need not sum to 1 (psa's scores do not).
        floor: a class of probability 0 would have infinite energy, which mean field cannot use.
    """
    # The logarithm keeps the precision of `probs`; only its result is rounded.
    energies = -np.log(np.maximum(probs, floor))
    return energies.astype(np.float32)


def unary_from_labels(
    labels: NDArray[np.integer],
    num_labels: int,
    gt_prob: float = 0.7,
) -> Floats:
    """Return energies of a label map that is trusted with probability `gt_prob`; the other labels share the rest (IRN).

    Args:
        labels: ``[H, W]``, values 0..num_labels-1, 0 a label like any other; 255 = unlabelled, all equally likely.
        num_labels: at least 2.
        gt_prob: in (0, 1).

    Returns:
        ``float32 [num_labels, H, W]``.

    Raises:
        ValueError: a label or a parameter lies outside its range.
    """
    if num_labels < 2 or not 0 < gt_prob < 1:
        raise ValueError(
            "unary_from_labels: needs num_labels >= 2 and 0 < gt_prob < 1, "
            f"not {num_labels} and {gt_prob}."
        )
    known = labels != IGNORE
    lowest = labels.min(initial=0)
    highest = labels[known].max(initial=0)
    if lowest < 0 or highest >= num_labels:
        raise ValueError(
            f"unary_from_labels: labels must lie in 0..{num_labels - 1} or be 255; "
            "map the ids of the image to 0..K first."
        )
    doubted = (1 - gt_prob) / (num_labels - 1)
    size = (num_labels, *labels.shape)
    unary = np.full(size, -np.log(doubted), np.float32)
    unary[:, ~known] = np.log(num_labels)
    rows, columns = np.nonzero(known)
    unary[labels[known], rows, columns] = -np.log(gt_prob)
    return unary


def dense_crf(
    image: Bytes,
    unary: Floats,
    params: CrfParams,
    backend: Backend = "auto",
) -> Floats:
    """Return the mean-field marginals of the CRF.

    Args:
        image: ``uint8 [H, W, 3]``.
        unary: ``float32 [K, H, W]`` energies, finite.
        params: constants, for instance ``PRESETS["dsrg"]``.
        backend: "pydensecrf", "numba", or "auto": the faster one for this K, of those installed.

    Returns:
        ``float32 [K, H, W]``, summing to 1 over K.

    Raises:
        ValueError: shapes or dtypes break the contract.
        WsssError: the wanted back end is not installed.
    """
    _check(image, unary)
    if backend not in ("auto", "pydensecrf", "numba"):
        raise ValueError(
            f"dense_crf: no back end {backend!r}; use 'auto', 'pydensecrf' or 'numba'."
        )
    if backend == "auto":
        preferred = _prefer_numba(len(unary), image, params)
        backend = "numba" if preferred else "pydensecrf"
    if backend == "pydensecrf":
        return _pydensecrf(image, unary, params)
    each_once = np.ones(len(unary), np.float32)
    return _numba(image, unary, params, each_once)


def dense_crf_shared(
    image: Bytes,
    unary: Floats,
    absent: Floats,
    count: int,
    params: CrfParams,
) -> Floats:
    """Return `dense_crf` of K classes beside `count` absent ones that share their energies, at the price of K + 1.

    Classes with one common energy stay equal under mean field, so one of them stands for all, counted `count` times in
    every normaliser. This is exact; leaving absent classes out altogether is not.

    Args:
        image: ``uint8 [H, W, 3]``.
        unary: ``float32 [K, H, W]`` energies.
        absent: ``float32 [H, W]``, the common energy.
        count: how many classes share it.
        params: constants.

    Returns:
        ``float32 [K, H, W]``: marginals of the K classes; they sum to 1 minus the share of the absent ones.
    """
    _check(image, unary)
    if count <= 0:
        return dense_crf(image, unary, params)
    energies = np.concatenate([unary, absent[None]])
    counts = np.ones(len(energies), np.float32)
    counts[-1] = count
    try:
        marginals = _numba(image, energies, params, counts)
    except WsssError:
        # pydensecrf cannot count a label several times: there it is repeated instead.
        repeated = np.broadcast_to(absent, (count, *absent.shape))
        energies = np.concatenate([unary, repeated])
        marginals = _pydensecrf(image, energies, params)
    return marginals[: len(unary)]


def crf_labels(
    image: Bytes,
    probs: Floats,
    params: CrfParams,
    classes: Literal["all", "likely"] = "all",
) -> Bytes:
    """Return the label map after the CRF: per pixel the class of highest marginal, the lowest id among equals.

    Args:
        image: ``uint8 [H, W, 3]``.
        probs: ``float32 [C+1, H, W]`` probabilities, channel = class id, on the image's grid.
        params: constants.
        classes: "all" runs the CRF on every channel; "likely" on `likely_classes` only: for many classes several
            times faster, and an approximation.

    Returns:
        ``uint8 [H, W]``.

    Raises:
        ValueError: `classes` is not known, or shapes or dtypes break the contract of `dense_crf`.
    """
    if classes not in ("all", "likely"):
        raise ValueError(
            f"crf_labels: classes must be 'all' or 'likely', not {classes!r}."
        )
    wanted = likely_classes(probs) if classes == "likely" else np.arange(len(probs))
    unary = unary_from_probabilities(probs[wanted])
    winners = dense_crf(image, unary, params).argmax(axis=0)
    return wanted.astype(np.uint8)[winners]


def likely_classes(probs: Floats) -> NDArray[np.intp]:
    """Return background and the classes that some pixel gives more than `LIKELY` to, ``int [K]``, increasing.

    There are `MOST` at most: of more, those of the highest maxima, of equal ones those of the lowest ids. What is left
    out changes fewer than one label in a thousand; see docs/benchmarks.md.

    Args:
        probs: ``float32 [C+1, H, W]``.
    """
    highest = probs.max(axis=(1, 2))
    # Background stays, so that there is a label even where no class is likely.
    highest[0] = np.inf
    order = np.argsort(-highest, kind="stable")[:MOST]
    return np.sort(order[highest[order] > LIKELY])


CrfJob = tuple[str, Path, NDArray[np.intp], Floats]
"""An image's id, its photograph, K classes (increasing), and their probabilities ``float32 [K, H, W]``."""


def crf_job(image_id: str, path: Path, probabilities: Floats, restrict: bool) -> CrfJob:
    """Return what `crf_of_job` needs of one predicted image: no more classes than take part.

    Args:
        image_id: its id.
        path: its photograph.
        probabilities: ``float32 [C+1, H, W]`` on its grid.
        restrict: let only classes take part that have a probability above 0 somewhere, else the likely ones.
    """
    # A class that is ruled out would keep the energy of the floor and so a share of every
    # pixel. Without it the labels are those of the present classes alone.
    if restrict:
        kept = np.flatnonzero(probabilities.any(axis=(1, 2)))
    else:
        kept = likely_classes(probabilities)
    return image_id, path, kept, np.ascontiguousarray(probabilities[kept])


@in_threads
def crf_of_job(job: CrfJob, preset: str) -> tuple[str, Bytes]:
    """Return the image's id and its label map after the CRF, ``uint8 [H, W]``; `preset` is a name in `PRESETS`."""
    from wsss_bench.io.images import read_image

    image_id, path, kept, probabilities = job
    labels = crf_labels(read_image(path), probabilities, PRESETS[preset])
    return image_id, kept[labels].astype(np.uint8)


def _check(image: Bytes, unary: Floats) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            "dense_crf: the image must be uint8 [H, W, 3], "
            f"not {image.dtype} {image.shape}."
        )
    on_grid = unary.ndim == 3 and unary.shape[1:] == image.shape[:2]
    if not on_grid or unary.dtype != np.float32 or not len(unary):
        raise ValueError(
            f"dense_crf: energies must be float32 [K, H, W] on the grid "
            f"{image.shape[:2]}, not {unary.dtype} {unary.shape}; "
            "resize the scores to the image first."
        )
    if not np.isfinite(unary).all():
        raise ValueError(
            "dense_crf: some energies are not finite; "
            "put a floor under the probabilities before the logarithm."
        )


def _prefer_numba(labels: int, image: Bytes, params: CrfParams) -> bool:
    try:
        from wsss_bench.toolbox.kernels import meanfield
    except ImportError:
        return False
    if not meanfield.fits(image.shape[:2], params):
        return False
    return labels <= FEW_LABELS or not _has_pydensecrf()


def _has_pydensecrf() -> bool:
    from importlib.util import find_spec

    return find_spec("pydensecrf") is not None


def _numba(
    image: Bytes,
    unary: Floats,
    params: CrfParams,
    multiplicity: Floats,
) -> Floats:
    try:
        from wsss_bench.toolbox.kernels import meanfield
    except ImportError as error:
        raise WsssError(
            f"dense_crf: the numba back end cannot be loaded: {error}. "
            "Run: pip install numba"
        ) from error
    return meanfield.infer(image, unary, params, multiplicity)


def _pydensecrf(
    image: Bytes,
    unary: Floats,
    params: CrfParams,
) -> Floats:
    try:
        from pydensecrf.densecrf import DenseCRF2D
    except ImportError as error:
        raise WsssError(
            f"dense_crf: pydensecrf cannot be loaded: {error}. "
            "Run: pip install pydensecrf2==1.1"
        ) from error
    labels, height, width = unary.shape
    crf = DenseCRF2D(width, height, labels)
    # pydensecrf takes writable buffers only, and images decoded by PIL are read-only.
    energies = np.require(unary.reshape(labels, -1), requirements=["C", "W"])
    colours = np.require(image, requirements=["C", "W"])
    crf.setUnaryEnergy(energies)
    crf.addPairwiseGaussian(sxy=params.gauss_sxy, compat=params.gauss_compat)
    crf.addPairwiseBilateral(
        sxy=params.bilateral_sxy,
        srgb=params.bilateral_srgb,
        rgbim=colours,
        compat=params.bilateral_compat,
    )
    marginals = np.asarray(crf.inference(params.iterations), np.float32)
    return marginals.reshape(unary.shape)
