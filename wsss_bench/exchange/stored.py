"""What a file of class scores holds, before it is decided which key means which class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.errors import ArtifactError
from wsss_bench.io.packs import member_of
from wsss_bench.io.pickles import load_arrays_only

OWN = "class_ids and scores"
"""This package's layout: mask ids, and their maps."""

KEYED = "IRN dict"
"""``keys`` and arrays of maps: IRN, AdvCAM, ReCAM, CLIMS, AMN, PuzzleCAM, SIPE, CLIP-ES."""

PLAIN = "PSA dict"
"""One map per class, by the class: PSA, SEAM, SC-CAM, EPS, MCTformer, WeakTr, L2G."""

_IDS = {OWN: "class_ids", KEYED: "keys"}

_PREFERRED = (
    # Maps at the photograph's size come before small ones: they are what those repositories score themselves.
    "scores",
    "high_res",
    "hr_cam",
    "attn_highres",
    "highres",
    "IS_CAM",
    "rw",
    "cam",
)

# What a file may bring beside the maps of its classes: of one plane, or on the same grid.
_BESIDE = ("background", "bg_score", "bg", "rank", "size")

_EXPECTED = (
    "expected class_ids and scores, keys and high_res (IRN), "
    "or one map per class (PSA, SEAM)."
)

Entries = Mapping[str | int, NDArray[Any]]


@dataclass(frozen=True)
class Stored:
    """The content of one file.

    Attributes:
        path: the file.
        layout: `OWN`, `KEYED` or `PLAIN`.
        keys: ``int64 [K]`` as they stand there.
        arrays: ``[M, h, w]`` by name; in a `PLAIN` file one without a name. Empty where the image has no class.
    """

    path: Path
    layout: str
    keys: NDArray[np.int64]
    arrays: Mapping[str, NDArray[Any]]

    def choose(self, wanted: str | None) -> str:
        """Return the name of the array to score.

        Raises:
            ArtifactError: `wanted` is not there; or nothing is wanted, and of several arrays none is usual.
        """
        names = sorted(self.arrays)
        if wanted is not None and wanted not in names:
            held = ", ".join(filter(None, names)) or "no array with a name"
            what = f"{self.path} has no array {wanted!r} of maps"
            raise ArtifactError(f"{what}; it holds {held}. Correct --array.")
        if wanted is not None:
            return wanted
        usual = [name for name in _PREFERRED if name in names]
        if usual or len(names) == 1:
            return [*usual, *names][0]
        what = f"{self.path} holds several arrays of maps ({', '.join(names)})."
        raise ArtifactError(f"{what} Name the one to score with --array.")


def read_stored(path: Path) -> Stored:
    """Read a score file without running what it holds; raises `ArtifactError` where it is none."""
    is_npz = path.suffix.lower() == ".npz"
    entries = _read_npz(path) if is_npz else load_arrays_only(path)
    if not isinstance(entries, Mapping):
        fix = "Use .npz with class_ids [K] and scores [K, h, w]."
        raise ArtifactError(f"{path} holds one array, and no class ids. {fix}")
    try:
        layout = _layout(entries)
        keys, arrays = _content(entries, layout)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise unreadable(path, list(entries), error) from error
    return Stored(path, layout, keys, arrays)


def unreadable(path: Path, held: list[Any], error: Exception) -> ArtifactError:
    """Return the error for a file whose entries fit no layout."""
    names = sorted(map(str, held))[:8]
    return ArtifactError(f"{path} holds {names} ({error}); {_EXPECTED}")


def _layout(entries: Entries) -> str:
    for layout, name in _IDS.items():
        if name in entries:
            return layout
    if all(isinstance(key, int) for key in entries):
        return PLAIN
    raise KeyError("no known layout")


def _content(
    entries: Entries, layout: str
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    if layout == PLAIN:
        return _by_class(entries)
    name = _IDS[layout]
    keys = _ids(entries[name])
    arrays = {
        str(key): array
        for key, array in entries.items()
        if key != name and key not in _BESIDE
    }
    # Files of images without classes leave the maps out, or keep an array of nothing.
    if not len(keys):
        arrays = {key: array for key, array in arrays.items() if array.ndim == 3}
    elif not arrays:
        raise KeyError(f"{name} without an array of maps")
    return keys, arrays


def _by_class(entries: Entries) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    keys = sorted(key for key in entries if isinstance(key, int))
    # numpy stacks no empty list.
    if not keys:
        return np.zeros(0, np.int64), {}
    return np.asarray(keys, np.int64), {"": np.stack([entries[key] for key in keys])}


def _ids(values: NDArray[Any]) -> NDArray[np.int64]:
    # Numbers with a fraction would be cut off to the id of some other class.
    if values.size and not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"class ids are {values.dtype}")
    return values.reshape(-1).astype(np.int64)


def _read_npz(path: Path) -> dict[str | int, NDArray[Any]]:
    try:
        packed = member_of(path)
        if packed is not None:
            return dict(packed.items())
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist.") from None
    except Exception as error:  # a damaged file may raise anything inside its decoder
        what = f"{path} cannot be read without pickle ({error})."
        raise ArtifactError(f"{what} Save plain arrays only.") from error
