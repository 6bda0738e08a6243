"""Pickled arrays of every Python and numpy: read, and nothing else is."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsss_bench.errors import ArtifactError
from wsss_bench.io.pickles import load_arrays_only

HEADER = "{'descr': '|O', 'fortran_order': False, 'shape': (), }"


def npy(path: Path, body: bytes) -> Path:
    """Write a pickle behind the header that `numpy.save` gives an object."""
    head = HEADER.ljust(69).encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
    with path.open("ab") as handle:
        handle.write(body)
    return path


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    # What Python 2.7 wrote for {'a': array([200], uint8), u'b': array([1, 2], int8)}: its `str` are bytes to
    # Python 3 and hold the array's content.
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        b"(I1\n(I1\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\ntR"
        b"(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\xc8'\ntb"
    )
    body = b"(dS'a'\n" + array + b"sVb\n" + array + b"s."
    found = load_arrays_only(npy(tmp_path / "a.npy", body))
    assert {key: value.tolist() for key, value in found.items()} == {
        "a": [200],
        "b": [200],
    }
    (tmp_path / "a.pickle").write_bytes(body)
    assert set(load_arrays_only(tmp_path / "a.pickle")) == {"a", "b"}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_read(tmp_path: Path, protocol: int) -> None:
    # numpy before 1.16 wrote protocol 2, where Python 3 hides bytes behind `_codecs.encode`.
    stored = {np.int64(3): np.asarray([200, 1], np.uint8), b"x": np.zeros(0)}
    path = npy(tmp_path / "a.npy", pickle.dumps(stored, protocol))
    found = load_arrays_only(path)
    assert list(map(type, found)) == [int, str]
    assert found[3].tolist() == [200, 1]
    assert found["x"].shape == (0,)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({b"a": 1, "a": 2}, "the key 'a' is there twice"),
        ({"a": [[1], [1, 2]]}, "it holds a list"),
        ({(1, 2): 3}, "a key of type tuple"),
        ({"a": None}, "it holds a NoneType"),
        ({"a": {1, 2}}, "asks for __builtin__.set"),
    ],
)
def test_what_is_no_dict_of_arrays_is_refused(
    tmp_path: Path, stored: Any, message: str
) -> None:
    path = npy(tmp_path / "a.npy", pickle.dumps(stored, 2))
    with pytest.raises(ArtifactError, match=message):
        load_arrays_only(path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (b"c_codecs\nencode\n(Vx\nVzlib\ntR.", "asks for the codec 'zlib'"),
        (b"c__builtin__\nbytes\n(I99\ntR.", "was refused"),
        (b"cnumpy\nload\n(Vx\ntR.", r"asks for numpy\.load"),
    ],
)
def test_stand_ins_do_nothing_else(tmp_path: Path, call: bytes, message: str) -> None:
    (tmp_path / "a.pkl").write_bytes(call)
    with pytest.raises(ArtifactError, match=message):
        load_arrays_only(tmp_path / "a.pkl")
