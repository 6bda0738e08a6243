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
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.artifacts import Seed
from wsss_bench.errors import ArtifactError

# What `numpy.save` and `torch.save` write for arrays and CPU tensors, under numpy's names of both 1.x and 2.x. None
# of these can be made to run other code or to open a file.
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
_SAVE_PLAIN = "Save it as .npz with plain arrays instead."


class _ArrayUnpickler(pickle.Unpickler):
    """Knows the names in `_ALLOWED` and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        # torch's own function would unpickle freely what the tensor's bytes hold.
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _load_storage
        if (module, name) not in _ALLOWED:
            what = f"it asks for {module}.{name}, which no file of arrays needs"
            raise pickle.UnpicklingError(what)
        # Files of numpy 1.x; the old place still exists, but warns.
        if module.startswith("numpy.core"):
            module = module.replace("numpy.core", "numpy._core")
        return getattr(import_module(module), name)

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def _load_storage(raw: bytes) -> Any:
    """Return the storage inside a pickled tensor, by torch's own restricted loader."""
    import torch

    return torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)


def load_arrays_only(path: Path) -> Any:
    """Read an ``.npy``: a plain array, or a pickled dict that holds arrays, tensors and numbers and nothing else.

    Raises:
        ArtifactError: the file is missing, damaged, or would need anything but arrays to be rebuilt.
    """
    try:
        with path.open("rb") as handle:
            loaded = _load(handle)
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist.") from None
    # A damaged pickle may raise anything; nothing of it was run.
    except Exception as error:
        raise ArtifactError(f"{path} was refused: {error}. {_SAVE_PLAIN}") from error
    return _plain(loaded, path)


def _load(handle: IO[bytes]) -> Any:
    if handle.read(len(_HEADER)) != _HEADER:
        raise ValueError("it is no .npy file")
    handle.seek(0)
    dtype = _stored_dtype(handle)
    if not dtype.hasobject:
        handle.seek(0)
        return np.load(handle, allow_pickle=False)
    # The header is read, a pickle follows. numpy's own reader would run whatever it names.
    unpickler = _ArrayUnpickler(handle, encoding="latin1")  # for Python 2's arrays
    loaded = unpickler.load()
    # `numpy.save` wraps a dict into an array of one object.
    wrapped = isinstance(loaded, np.ndarray) and loaded.size == 1
    return loaded.item() if wrapped else loaded


def _stored_dtype(handle: IO[bytes]) -> np.dtype[Any]:
    version = np.lib.format.read_magic(handle)
    if version == (1, 0):
        _, _, dtype = np.lib.format.read_array_header_1_0(handle)
    else:
        _, _, dtype = np.lib.format.read_array_header_2_0(handle)
    return dtype


def _plain(value: Any, path: Path) -> Any:
    """Return `value` with tensors and numbers as arrays, in dicts too; raises `ArtifactError` for anything else."""
    if isinstance(value, Mapping):
        return {_key(key, path): _plain(item, path) for key, item in value.items()}
    # By what a tensor can do, so that torch is imported for files that hold one only.
    if hasattr(value, "detach") and hasattr(value, "numpy"):
        value = value.detach().numpy()
    if isinstance(value, list | tuple | int | float | np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value
    what = f"{path} was refused: it holds a {type(value).__name__}."
    raise ArtifactError(f"{what} {_SAVE_PLAIN}")


def _key(value: Any, path: Path) -> str | int:
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    what = f"{path} was refused: it has a key of type {type(value).__name__}."
    raise ArtifactError(f"{what} Use class ids or names as keys.")


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
