"""Counts and curves as ``.npz`` files that name their protocol."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from wsss_bench.errors import ArtifactError
from wsss_bench.evaluate import PROTOCOL
from wsss_bench.evaluate.arrays import AnyArray, Ints
from wsss_bench.io.files import save_arrays, write_atomic

SCORE_AGAIN = "Score it again: wsss-bench evaluate."

MISFIT = (KeyError, IndexError, ValueError, TypeError, MemoryError)
"""What numpy raises over arrays of a damaged file that do not fit together; `MemoryError` where a size is absurd."""


def store_arrays(path: Path, arrays: Mapping[str, AnyArray]) -> None:
    """Write arrays with the protocol's name beside them; the same arrays give the same bytes."""
    named = {**arrays, "protocol": np.asarray([PROTOCOL])}
    write_atomic(path, lambda handle: save_arrays(handle, named))


def load_arrays(path: Path, what: str) -> dict[str, AnyArray]:
    """Return the arrays that `store_arrays` wrote; no pickle is read.

    Args:
        path: the file.
        what: what it should hold, for messages.

    Raises:
        ArtifactError: the file is missing, damaged or of another protocol; the message names it.
    """
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as data:
            stored = {name: data[name] for name in data.files}
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing. {SCORE_AGAIN}") from None
    except Exception as error:  # a damaged file may raise anything inside its decoder
        message = f"{path} cannot be read as {what} ({error}). {SCORE_AGAIN}"
        raise ArtifactError(message) from error
    found = _protocol(stored)
    if found != PROTOCOL:
        mismatch = f"counted under protocol {found!r}, this version has {PROTOCOL!r}"
        raise ArtifactError(f"{path} was {mismatch}. {SCORE_AGAIN}")
    return stored


def _protocol(stored: Mapping[str, AnyArray]) -> str:
    if "protocol" not in stored:
        return "none"
    values = stored["protocol"].ravel()
    return str(values[0]) if values.size else "none"


def names(values: AnyArray) -> tuple[str, ...]:
    """Return a stored array of distinct names as a tuple; raises `ValueError` for any other."""
    found = values.tolist()
    listed = values.ndim == 1 and values.dtype.kind == "U"
    if not listed or len(set(found)) != len(found):
        what = f"{values.dtype} {list(values.shape)}"
        raise ValueError(f"{what} is no list of distinct names")
    return tuple(found)


def narrow(values: Ints) -> AnyArray:
    """Return the same integers, none negative, in the smallest unsigned type of 4 or 8 bytes that holds them."""
    fits = values.size == 0 or values.max() < 2**32
    return values.astype(np.uint32 if fits else np.uint64)
