"""Arrays of many images in few files: packs of a thousand, each a plain ``.npz`` whose members are called ``ID/NAME``.

A pack is written when all its images are there, in their order, so its bytes depend on neither the order of the work
nor an interruption. Until then they lie in a journal beside it, to which every image is appended whole: of one that a
kill has cut, the rest is dropped and the image counts as missing.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import EPOCH, write_atomic

SIZE = 1000
"""Images in a pack."""

Arrays = Mapping[str, NDArray[Any]]

_HEADER = struct.Struct("<4sIIQ")
"""Mark, length of the id, checksum of id and content, length of the content."""

_MARK = b"WSB1"
_PART = ".part"

_LOCAL = struct.Struct("<4s5H3I2H")
"""The header before a member of a ZIP file; the last two numbers are the lengths of its name and of what follows it."""


def pack_name(position: int) -> str:
    """Return the file name, without a suffix, of the pack of image number `position`, counted from 0."""
    return f"{position // SIZE:03d}"


class PackWriter:
    """Writes the arrays of images into packs; knows which are there already.

    Args:
        folder: where the packs go.
        ids: all images, in order.
    """

    def __init__(self, folder: Path, ids: Sequence[str]) -> None:
        self.folder = folder
        self._ids = tuple(ids)
        self._places = {image_id: place for place, image_id in enumerate(ids)}
        self._done: set[str] = set()
        # Where in its journal an image lies; those of finished packs are not needed any more.
        self._parts: dict[str, dict[str, tuple[int, int]]] = {}
        for start in range(0, len(self._ids), SIZE):
            self._take_up(pack_name(start))

    def _members(self, name: str) -> tuple[str, ...]:
        start = int(name) * SIZE
        return self._ids[start : start + SIZE]

    def _take_up(self, name: str) -> None:
        members = self._members(name)
        if (self.folder / f"{name}.npz").exists():
            self._done.update(members)
            # A kill may have come between the pack and the end of its journal.
            (self.folder / f"{name}{_PART}").unlink(missing_ok=True)
            return
        journal = self.folder / f"{name}{_PART}"
        if not journal.exists():
            return
        known = frozenset(members)
        found = {}
        end = 0
        for image_id, start, length in _records(journal):
            end = start + length
            if image_id in known:
                found[image_id] = (start, length)
        os.truncate(journal, end)
        self._parts[name] = found
        self._done.update(found)
        self._finish(name)

    def done(self, image_id: str) -> bool:
        """Return whether this image was written already."""
        return image_id in self._done

    def write(self, image_id: str, arrays: Arrays) -> None:
        """Write the arrays of one image of `ids`.

        Raises:
            ArtifactError: the folder is read-only or the disk is full; what was written before stays.
        """
        name = pack_name(self._places[image_id])
        if (self.folder / f"{name}.npz").exists():
            self._reopen(name)
        content = _content(arrays)
        start = self._append(name, image_id, content)
        self._parts.setdefault(name, {})[image_id] = (start, len(content))
        self._done.add(image_id)
        self._finish(name)

    def _append(self, name: str, image_id: str, content: bytes) -> int:
        """Append one image to its journal whole, or not at all; return where its content begins."""
        path = self.folder / f"{name}{_PART}"
        label = image_id.encode(errors="surrogateescape")
        checksum = zlib.crc32(content, zlib.crc32(label))
        header = _HEADER.pack(_MARK, len(label), checksum, len(content))
        try:
            with path.open("ab", buffering=0) as journal:
                before = journal.tell()
                try:
                    _write_all(journal, header + label + content)
                except BaseException:
                    os.truncate(path, before)
                    raise
        except OSError as error:
            what = f"cannot write {path}: {error.strerror or error}."
            fix = "Free some space or choose another --work-dir."
            raise ArtifactError(f"{what} {fix}") from error
        return before + len(header) + len(label)

    def _reopen(self, name: str) -> None:
        """Put a finished pack back into a journal: an image of it is written once more."""
        path = self.folder / f"{name}.npz"
        pack = Pack(path)
        for image_id in self._members(name):
            content = _content(pack.read(image_id))
            start = self._append(name, image_id, content)
            self._parts.setdefault(name, {})[image_id] = (start, len(content))
        path.unlink()

    def _finish(self, name: str) -> None:
        """Make a pack of a journal that is complete."""
        parts, members = self._parts[name], self._members(name)
        if len(parts) < len(members):
            return
        journal = self.folder / f"{name}{_PART}"

        def pack(handle: IO[bytes]) -> None:
            with (
                journal.open("rb") as source,
                # A fast level: most arrays here are nearly all zeros, which every level squeezes.
                zipfile.ZipFile(
                    handle, "w", zipfile.ZIP_DEFLATED, compresslevel=1
                ) as archive,
            ):
                for image_id in members:
                    start, length = parts[image_id]
                    source.seek(start)
                    _put(archive, image_id, source.read(length))

        write_atomic(self.folder / f"{name}.npz", pack)
        journal.unlink()
        del self._parts[name]


def _write_all(journal: Any, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[journal.write(rest) :]


def _content(arrays: Arrays) -> bytes:
    """Return arrays by name as bytes: of each the lengths of its name and of its ``.npy``, and both."""
    out = io.BytesIO()
    for name in sorted(arrays):
        member = io.BytesIO()
        array = np.ascontiguousarray(arrays[name])
        np.lib.format.write_array(member, array, allow_pickle=False)
        label = name.encode()
        out.write(struct.pack("<IQ", len(label), member.tell()))
        out.write(label)
        out.write(member.getbuffer())
    return out.getvalue()


def _put(archive: zipfile.ZipFile, image_id: str, content: bytes) -> None:
    start = 0
    while start < len(content):
        label, length = struct.unpack_from("<IQ", content, start)
        start += struct.calcsize("<IQ")
        name = content[start : start + label].decode()
        start += label
        info = zipfile.ZipInfo(f"{image_id}/{name}.npy", date_time=EPOCH)
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, content[start : start + length])
        start += length


def _records(journal: Path) -> Iterator[tuple[str, int, int]]:
    """Yield the id of every whole image in a journal, and where its content begins and how long it is."""
    with journal.open("rb") as source:
        while True:
            header = source.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return
            mark, label_length, checksum, length = _HEADER.unpack(header)
            if mark != _MARK:
                return
            label = source.read(label_length)
            start = source.tell()
            content = source.read(length)
            if zlib.crc32(content, zlib.crc32(label)) != checksum:
                return
            if len(content) < length:
                return
            yield label.decode(errors="surrogateescape"), start, length


class Pack:
    """Reads the arrays of single images out of a pack; keeps no file open, so forks and threads may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._members: dict[str, list[tuple[str, zipfile.ZipInfo]]] = {}
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                image_id, _, name = info.filename.rpartition("/")
                key = name.removesuffix(".npy")
                self._members.setdefault(image_id, []).append((key, info))

    @property
    def ids(self) -> tuple[str, ...]:
        """The images, in order."""
        return tuple(self._members)

    def read(self, image_id: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of one image by name.

        Raises:
            KeyError: the pack has no such image.
            ValueError, OSError: the file is damaged.
        """
        found = {}
        handle = os.open(self.path, os.O_RDONLY)
        try:
            for name, info in self._members[image_id]:
                member = io.BytesIO(_member(handle, info))
                found[name] = np.lib.format.read_array(member, allow_pickle=False)
        finally:
            os.close(handle)
        return found


def _member(handle: int, info: zipfile.ZipInfo) -> bytes:
    """Return what a member of a ZIP file holds, from the file's own positions: nobody else's reading moves them."""
    header = os.pread(handle, _LOCAL.size, info.header_offset)
    *_, name, extra = _LOCAL.unpack(header)
    start = info.header_offset + _LOCAL.size + name + extra
    data = os.pread(handle, info.compress_size, start)
    try:
        if info.compress_type == zipfile.ZIP_DEFLATED:
            data = zlib.decompress(data, -zlib.MAX_WBITS)
    except zlib.error as error:
        raise ValueError(f"{info.filename} is damaged ({error})") from error
    if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
        raise ValueError(f"{info.filename} is damaged")
    return data


class Packs:
    """Reads images out of the packs of a folder; the indices of a few packs are kept."""

    KEPT = 16

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._packs: OrderedDict[str, Pack] = OrderedDict()

    def read(self, position: int, image_id: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of image number `position`; raises as `Pack.read` does, and `FileNotFoundError`."""
        name = pack_name(position)
        pack = self._packs.get(name)
        if pack is None:
            pack = Pack(self.folder / f"{name}.npz")
            self._packs[name] = pack
            while len(self._packs) > self.KEPT:
                self._packs.popitem(last=False)
        return pack.read(image_id)


def member_of(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of ``PACK.npz/ID.npz``, the way to name one image of a pack; None for any other path."""
    if not path.parent.is_file():
        return None
    return Pack(path.parent).read(path.stem)
