"""Fully connected CRF (Krähenbühl & Koltun, NeurIPS 2011) with the constants that the field publishes.

Two back ends with the same result: `pydensecrf`, and a compiled one of our own that fuses the mean-field step, lets other
threads run meanwhile, and is faster for the few labels an image usually has. Both work on energies, ``-log p`` up to a
constant per pixel: energies from logits and from log-softmax give the same answer, and plain ``-p`` does not.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.view import IGNORE
from wsss_bench.errors import WsssError
from wsss_bench.toolbox.crf_presets import CrfParams

Backend = Literal["auto", "pydensecrf", "numba"]

FEW_LABELS = 12
"""`auto` takes the compiled back end up to this many labels; see benchmarks/bench_crf.py."""

LIKELY = 1e-3
"""`crf_labels(classes="likely")` drops classes that reach this probability nowhere."""


def unary_from_probabilities(
    probs: NDArray[np.floating], floor: float = 1e-5
) -> NDArray[np.float32]:
    """Energies ``-log(max(p, floor))`` of ``[K, H, W]`` scores; they need not sum to 1 (psa's do not)."""
    return -np.log(np.maximum(probs, floor)).astype(np.float32)


def unary_from_labels(
    labels: NDArray[np.integer], num_labels: int, gt_prob: float = 0.7
) -> NDArray[np.float32]:
    """Energies of a label map that is trusted with probability `gt_prob`; the rest is shared by the other labels (IRN).

    Args:
        labels: ``[H, W]``, values 0..num_labels-1; 0 is a label like any other. 255 = unlabelled: all labels equally likely.
        num_labels: at least 2.
        gt_prob: in (0, 1).

    Returns:
        ``float32 [num_labels, H, W]``.
    """
    if num_labels < 2 or not 0 < gt_prob < 1:
        raise ValueError(
            f"unary_from_labels: needs num_labels >= 2 and 0 < gt_prob < 1, not {num_labels} and {gt_prob}."
        )
    known = labels != IGNORE
    if labels.min(initial=0) < 0 or labels[known].max(initial=0) >= num_labels:
        raise ValueError(
            f"unary_from_labels: labels must lie in 0..{num_labels - 1} or be 255; map the ids of the image to 0..K first."
        )
    unary = np.full(
        (num_labels, *labels.shape),
        -np.log((1 - gt_prob) / (num_labels - 1)),
        np.float32,
    )
    unary[:, ~known] = np.log(num_labels)
    rows, columns = np.nonzero(known)
    unary[labels[known], rows, columns] = -np.log(gt_prob)
    return unary


def dense_crf(
    image: NDArray[np.uint8],
    unary: NDArray[np.float32],
    params: CrfParams,
    backend: Backend = "auto",
) -> NDArray[np.float32]:
    """Mean-field marginals of the CRF.

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
    if backend == "numba" or (
        backend == "auto" and _prefer_numba(len(unary), image, params)
    ):
        return _numba(image, unary, params, np.ones(len(unary), np.float32))
    return _pydensecrf(image, unary, params)


def dense_crf_shared(
    image: NDArray[np.uint8],
    unary: NDArray[np.float32],
    absent: NDArray[np.float32],
    count: int,
    params: CrfParams,
) -> NDArray[np.float32]:
    """`dense_crf` for K classes of their own energies and `count` absent classes that share one, at the price of K + 1.

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
    try:
        both = np.concatenate([unary, absent[None]])
        return _numba(
            image, both, params, np.array([1.0] * len(unary) + [count], np.float32)
        )[:-1]
    except WsssError:
        repeated = np.broadcast_to(absent, (count, *absent.shape))
        return _pydensecrf(image, np.concatenate([unary, repeated]), params)[
            : len(unary)
        ]


def crf_labels(
    image: NDArray[np.uint8],
    probs: NDArray[np.float32],
    params: CrfParams,
    classes: Literal["all", "likely"] = "all",
) -> NDArray[np.uint8]:
    """Label map after the CRF: the class of highest marginal.

    Args:
        image: ``uint8 [H, W, 3]``.
        probs: ``float32 [C+1, H, W]`` probabilities, channel = class id, on the image's grid.
        params: constants.
        classes: "all" runs the CRF on every channel; "likely" only on background and the classes that exceed 1e-3 somewhere:
            for many classes several times faster, and an approximation.

    Returns:
        ``uint8 [H, W]``.
    """
    if classes not in ("all", "likely"):
        raise ValueError(
            f"crf_labels: classes must be 'all' or 'likely', not {classes!r}."
        )
    wanted = np.arange(len(probs))
    if classes == "likely":
        likely = probs.max(axis=(1, 2)) > LIKELY
        likely[0] = True
        wanted = np.flatnonzero(likely)
    marginals = dense_crf(image, unary_from_probabilities(probs[wanted]), params)
    return wanted.astype(np.uint8)[marginals.argmax(axis=0)]


def _check(image: NDArray[np.uint8], unary: NDArray[np.float32]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"dense_crf: the image must be uint8 [H, W, 3], not {image.dtype} {image.shape}."
        )
    if (
        unary.ndim != 3
        or unary.shape[1:] != image.shape[:2]
        or unary.dtype != np.float32
        or not len(unary)
    ):
        raise ValueError(
            f"dense_crf: energies must be float32 [K, H, W] on the grid {image.shape[:2]}, not {unary.dtype} {unary.shape};"
            " resize the scores to the image first."
        )
    if not np.isfinite(unary).all():
        raise ValueError(
            "dense_crf: some energies are not finite; put a floor under the probabilities before the logarithm."
        )


def _prefer_numba(labels: int, image: NDArray[np.uint8], params: CrfParams) -> bool:
    try:
        from wsss_bench.toolbox.kernels import meanfield as _meanfield
    except ImportError:
        return False
    if not _meanfield.fits(image.shape[:2], params):
        return False
    return labels <= FEW_LABELS or not _has_pydensecrf()


def _has_pydensecrf() -> bool:
    from importlib.util import find_spec

    return find_spec("pydensecrf") is not None


def _numba(
    image: NDArray[np.uint8],
    unary: NDArray[np.float32],
    params: CrfParams,
    multiplicity: NDArray[np.float32],
) -> NDArray[np.float32]:
    try:
        from wsss_bench.toolbox.kernels import meanfield as _meanfield
    except ImportError as error:
        raise WsssError(
            f"dense_crf: the numba back end cannot be loaded: {error}. Run: pip install numba"
        ) from error
    return _meanfield.infer(image, unary, params, multiplicity)


def _pydensecrf(
    image: NDArray[np.uint8], unary: NDArray[np.float32], params: CrfParams
) -> NDArray[np.float32]:
    try:
        from pydensecrf.densecrf import DenseCRF2D
    except ImportError as error:
        raise WsssError(
            f"dense_crf: pydensecrf cannot be loaded: {error}. Run: pip install pydensecrf2==1.1"
        ) from error
    labels, height, width = unary.shape
    crf = DenseCRF2D(width, height, labels)
    # pydensecrf takes writable buffers only, and images decoded by PIL are read-only.
    crf.setUnaryEnergy(np.require(unary.reshape(labels, -1), requirements=["C", "W"]))
    crf.addPairwiseGaussian(sxy=params.gauss_sxy, compat=params.gauss_compat)
    colours = np.require(image, requirements=["C", "W"])
    crf.addPairwiseBilateral(
        sxy=params.bilateral_sxy,
        srgb=params.bilateral_srgb,
        rgbim=colours,
        compat=params.bilateral_compat,
    )
    return np.asarray(crf.inference(params.iterations), np.float32).reshape(unary.shape)
