"""Pickled arrays of other repositories, read without trusting them.

This field keeps ``numpy.save`` of a Python dict, and bare pickles. A pickle may run any code. The reader here resolves
only the callables that rebuild numpy arrays and CPU tensors, and refuses every other name before it is called.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np

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
_BARE = (".pkl", ".pickle")
_SAVE_PLAIN = "Save it as .npz with plain arrays instead."


def _latin1(text: str, encoding: str) -> bytes:
    """Stand in for ``_codecs.encode``, by which Python 3 keeps bytes in the pickles that Python 2 could read."""
    # Any other codec is not needed for arrays, and would be looked up by a name from the file.
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the codec {encoding!r}")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    """Stand in for ``bytes()``: with a number it would take as much memory as the file likes."""
    return b""


def _load_storage(raw: bytes) -> Any:
    """Return the storage inside a pickled tensor, by torch's own restricted loader."""
    import torch

    return torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)


_STAND_INS = {
    ("_codecs", "encode"): _latin1,
    ("builtins", "bytes"): _no_bytes,
    # Python 2's name for that module, in protocols 0 to 2.
    ("__builtin__", "bytes"): _no_bytes,
    # torch's own function would unpickle freely what the tensor's bytes hold.
    ("torch.storage", "_load_from_bytes"): _load_storage,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Knows the names in `_ALLOWED` and `_STAND_INS` and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        stand_in = _STAND_INS.get((module, name))
        if stand_in is not None:
            return stand_in
        if (module, name) not in _ALLOWED:
            what = f"it asks for {module}.{name}, which no file of arrays needs"
            raise pickle.UnpicklingError(what)
        # Files of numpy 1.x; the old place still exists, but warns.
        if module.startswith("numpy.core"):
            module = module.replace("numpy.core", "numpy._core")
        return getattr(import_module(module), name)

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def load_arrays_only(path: Path) -> Any:
    """Read an ``.npy`` or a bare pickle (``.pkl``, ``.pickle``) of arrays, whichever Python and numpy wrote it.

    An ``.npy`` holds a plain array, or a pickled dict.

    Returns:
        An array, or a dict (in dicts) of arrays. Tensors, lists and numbers become arrays; keys become ``int`` (numpy's
        integers too) or ``str`` (bytes too).

    Raises:
        ArtifactError: the file is missing, damaged, or would need anything but arrays to be rebuilt.
    """
    try:
        with path.open("rb") as handle:
            loaded = _load(handle, bare=path.suffix.lower() in _BARE)
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist.") from None
    # A damaged pickle may raise anything; nothing of it was run.
    except Exception as error:
        raise ArtifactError(f"{path} was refused: {error}. {_SAVE_PLAIN}") from error
    return _plain(loaded, path)


def _load(handle: IO[bytes], bare: bool) -> Any:
    if bare:
        return _unpickled(handle)
    if handle.read(len(_HEADER)) != _HEADER:
        raise ValueError("it is no .npy file")
    handle.seek(0)
    dtype = _stored_dtype(handle)
    if not dtype.hasobject:
        handle.seek(0)
        return np.load(handle, allow_pickle=False)
    # The header is read, a pickle follows. numpy's own reader would run whatever it names.
    return _unpickled(handle)


def _unpickled(handle: IO[bytes]) -> Any:
    # Python 2 wrote an array's bytes as text, which no other encoding gives back.
    loaded = _ArrayUnpickler(handle, encoding="latin1").load()
    # `numpy.save` wraps a dict into an array of one object.
    wrapped = isinstance(loaded, np.ndarray) and loaded.dtype.hasobject
    return loaded.item() if wrapped and loaded.size == 1 else loaded


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
        return _plain_dict(value, path)
    found = _as_array(value)
    if isinstance(found, np.ndarray) and not found.dtype.hasobject:
        return found
    what = f"{path} was refused: it holds a {type(value).__name__}."
    raise ArtifactError(f"{what} {_SAVE_PLAIN}")


def _plain_dict(value: Mapping[Any, Any], path: Path) -> dict[str | int, Any]:
    found: dict[str | int, Any] = {}
    for key, item in value.items():
        plain = _key(key, path)
        # Python 2 told bytes from text: two keys may become one, and only one of the values would be seen.
        if plain in found:
            what = f"{path} was refused: the key {plain!r} is there twice."
            raise ArtifactError(f"{what} Use class ids or names as keys, each once.")
        found[plain] = _plain(item, path)
    return found


def _as_array(value: Any) -> Any:
    # By what a tensor can do, so that torch is imported for files that hold one only.
    if hasattr(value, "detach") and hasattr(value, "numpy"):
        return value.detach().numpy()
    if not isinstance(value, list | tuple | int | float | np.generic):
        return value
    try:
        return np.asarray(value)
    except ValueError:  # lists of unequal lengths
        return None


def _key(value: Any, path: Path) -> str | int:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, int | np.integer):
        return int(value)
    what = f"{path} was refused: it has a key of type {type(value).__name__}."
    raise ArtifactError(f"{what} Use class ids or names as keys.")
