"""CAM files of other repositories, read without trusting them.

IRN, PSA and SEAM keep ``numpy.save`` of a Python dict. That is a pickle, and a pickle may run any code. The reader here
resolves only the callables that rebuild numpy arrays and CPU tensors, and refuses every other name before it is called.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.artifacts import Seed
from wsss_bench.errors import ArtifactError

_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
}
_HEADER = b"\x93NUMPY"


class _ArrayUnpickler(pickle.Unpickler):
    """Knows the names in `_ALLOWED` and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _load_storage
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which no file of arrays needs"
            )
        if module.startswith("numpy.core"):
            module = module.replace("numpy.core", "numpy._core")
        return getattr(import_module(module), name)

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def _load_storage(raw: bytes) -> Any:
    """The storage inside a pickled tensor, by torch's own restricted loader."""
    import torch

    return torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)


def load_arrays_only(path: Path) -> Any:
    """Read an ``.npy``: a plain array, or a pickled dict that holds arrays, tensors and numbers and nothing else.

    Raises:
        ArtifactError: the file is missing, damaged, or would need anything but arrays to be rebuilt.
    """
    try:
        with path.open("rb") as handle:
            if handle.read(len(_HEADER)) != _HEADER:
                raise ValueError("it is no .npy file")
            handle.seek(0)
            version = np.lib.format.read_magic(handle)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            _, _, dtype = read(handle)
            if not dtype.hasobject:
                handle.seek(0)
                return np.load(handle, allow_pickle=False)
            loaded = _ArrayUnpickler(handle, encoding="latin1").load()
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist.") from None
    except (
        Exception
    ) as error:  # a damaged pickle may raise anything; nothing of it was run
        raise ArtifactError(
            f"{path} was refused: {error}. Save it as .npz with plain arrays instead."
        ) from error
    return _plain(
        loaded.item()
        if isinstance(loaded, np.ndarray) and loaded.size == 1
        else loaded,
        path,
    )


def _plain(value: Any, path: Path) -> Any:
    """Tensors as arrays, dicts of those; raises for anything else."""
    if isinstance(value, Mapping):
        return {_key(k, path): _plain(v, path) for k, v in value.items()}
    if hasattr(value, "detach") and hasattr(value, "numpy"):
        value = value.detach().numpy()
    if isinstance(value, list | tuple | int | float | np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value
    raise ArtifactError(
        f"{path} was refused: it holds a {type(value).__name__}. Save it as .npz with plain arrays instead."
    )


def _key(value: Any, path: Path) -> str | int:
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    raise ArtifactError(
        f"{path} was refused: it has a key of type {type(value).__name__}. Use class ids or names as keys."
    )


def read_seed(path: Path, size: tuple[int, int]) -> Seed:
    """Class scores of one image from another repository's file, scaled to nothing, ids turned into mask ids.

    Understood: this package's ``.npz`` (``class_ids``, ``scores``); IRN's dict or ``.npz`` (``keys`` 0-based, ``high_res`` or
    ``cam``); PSA's, SC-CAM's and SEAM's dict ``{0-based class: [H, W]}``.

    Raises:
        ArtifactError: the file is none of these.
    """
    stored = _read_npz(path) if path.suffix == ".npz" else load_arrays_only(path)
    if not isinstance(stored, Mapping):
        raise ArtifactError(
            f"{path} holds one array, and no class ids. Use .npz with class_ids [K] and scores [K, h, w]."
        )
    try:
        ids, scores = _layout(stored)
        if np.ndim(scores) != 3 or len(scores) != len(ids):
            raise ValueError(
                f"{len(ids)} class ids, scores of shape {list(np.shape(scores))}"
            )
        if not (
            np.issubdtype(scores.dtype, np.number) or scores.dtype == bool
        ) or np.iscomplexobj(scores):
            raise ValueError(f"scores are {scores.dtype}")
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{path} holds {sorted(map(str, stored))[:8]} ({error}); expected class_ids and scores, keys and high_res (IRN), "
            "or one map per class (PSA, SEAM)."
        ) from error
    order = np.argsort(ids, kind="stable")
    return Seed(ids[order], np.ascontiguousarray(scores[order], np.float32), size)


def _layout(
    stored: Mapping[str | int, NDArray[Any]],
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    if "class_ids" in stored:
        return _ids(stored["class_ids"]), stored["scores"]
    if "keys" in stored:
        return _ids(stored["keys"]) + 1, stored[
            "high_res"
        ] if "high_res" in stored else stored["cam"]
    if not all(isinstance(key, int) for key in stored):
        raise KeyError("no known layout")
    ids = np.asarray(sorted(key for key in stored if isinstance(key, int)), np.int64)
    maps = [stored[int(key)] for key in ids]
    return ids + 1, np.stack(maps) if maps else np.zeros((0, 1, 1), np.float32)


def _ids(values: NDArray[Any]) -> NDArray[np.int64]:
    if values.size and not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"class ids are {values.dtype}")
    return values.reshape(-1).astype(np.int64)


def _read_npz(path: Path) -> dict[str | int, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist.") from None
    except Exception as error:
        raise ArtifactError(
            f"{path} cannot be read without pickle ({error}). Save plain arrays only."
        ) from error
