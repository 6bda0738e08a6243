"""CAM files of other repositories: IRN's, PSA's and SEAM's pickled dicts, and plain ``.npz``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.artifacts import Seed
from wsss_bench.errors import ArtifactError
from wsss_bench.io.pickles import load_arrays_only

__all__ = ["load_arrays_only", "read_seed"]


def read_seed(path: Path, size: tuple[int, int]) -> Seed:
    """Return the class scores of one image from another repository's file.

    Class ids become mask ids (1..C); the scores stay on their grid and in their range.

    Understood: this package's ``.npz`` (``class_ids``, ``scores``); IRN's dict or ``.npz`` (``keys`` 0-based,
    ``high_res`` or ``cam``); PSA's, SC-CAM's and SEAM's dict ``{0-based class: [H, W]}``.

    Args:
        path: the file.
        size: (H, W) of the photograph.

    Raises:
        ArtifactError: the file is none of these.
    """
    stored = _read_npz(path) if path.suffix == ".npz" else load_arrays_only(path)
    if not isinstance(stored, Mapping):
        fix = "Use .npz with class_ids [K] and scores [K, h, w]."
        raise ArtifactError(f"{path} holds one array, and no class ids. {fix}")
    try:
        ids, scores = _layout(stored)
        _check_scores(ids, scores)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        held = sorted(map(str, stored))[:8]
        raise ArtifactError(
            f"{path} holds {held} ({error}); expected class_ids and scores, "
            "keys and high_res (IRN), or one map per class (PSA, SEAM)."
        ) from error
    # Other repositories keep classes in the order of their tables; a seed's ids increase.
    order = np.argsort(ids, kind="stable")
    ordered = np.ascontiguousarray(scores[order], np.float32)
    return Seed(ids[order], ordered, size)


def _check_scores(ids: NDArray[np.int64], scores: NDArray[Any]) -> None:
    shape = list(np.shape(scores))
    if len(shape) != 3 or shape[0] != len(ids):
        raise ValueError(f"{len(ids)} class ids, scores of shape {shape}")
    numeric = np.issubdtype(scores.dtype, np.number) or scores.dtype == bool
    if not numeric or np.iscomplexobj(scores):
        raise ValueError(f"scores are {scores.dtype}")


def _layout(
    stored: Mapping[str | int, NDArray[Any]],
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return mask ids ``int64 [K]`` and scores ``[K, h, w]`` of a known layout; raises `KeyError` for any other."""
    if "class_ids" in stored:
        return _ids(stored["class_ids"]), stored["scores"]
    if "keys" in stored:
        # Those repositories count the foreground classes from 0; mask ids have the background there.
        ids = _ids(stored["keys"]) + 1
        # IRN keeps maps at the photograph's size and small ones; the former are what it scores itself.
        name = "high_res" if "high_res" in stored else "cam"
        return ids, stored[name]
    if not all(isinstance(key, int) for key in stored):
        raise KeyError("no known layout")
    keys = sorted(key for key in stored if isinstance(key, int))
    ids = np.asarray(keys, np.int64) + 1
    # An image without classes: numpy stacks no empty list.
    if not keys:
        return ids, np.zeros((0, 1, 1), np.float32)
    return ids, np.stack([stored[key] for key in keys])


def _ids(values: NDArray[Any]) -> NDArray[np.int64]:
    # Numbers with a fraction would be cut off to the id of some other class.
    if values.size and not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"class ids are {values.dtype}")
    return values.reshape(-1).astype(np.int64)


def _read_npz(path: Path) -> dict[str | int, NDArray[Any]]:
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist.") from None
    except Exception as error:  # a damaged file may raise anything inside its decoder
        what = f"{path} cannot be read without pickle ({error})."
        raise ArtifactError(f"{what} Save plain arrays only.") from error
