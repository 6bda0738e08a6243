"""Fetch and unpack the official archives: resumable, checked, and never writing outside the data root."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO

from wsss_bench.data.base import ROOT_VARIABLE, Progress
from wsss_bench.data.kind import Archive
from wsss_bench.data.registry import KINDS
from wsss_bench.errors import DataError

CHUNK = 1 << 20
TIMEOUT = 60.0
"""Seconds without a byte before a download counts as stalled; the same command resumes it."""


def download(
    kind: str,
    root: Path | None,
    archives: Sequence[Archive] | None = None,
    progress: Progress | None = None,
) -> None:
    """Fetch and unpack what a dataset needs into `root`; what is there already is not fetched again.

    A kind may convert what was unpacked: VOC's makes SBD's masks into ``SegmentationClassAug`` and writes
    ``train_aug.txt``.

    Args:
        kind: a key of `wsss_bench.data.KINDS`; one that needs nothing ("shapes") is left alone.
        root: the data root (else the environment variable ``WSSS_BENCH_DATA_ROOT``); created where it does not exist.
        archives: what to fetch instead of the kind's own.
        progress: told the bytes of each file.

    Raises:
        DataError: no such kind, or one that does not say what to fetch; no root, no connection, a wrong checksum, a
            damaged archive, or one that would write outside `root`.
    """
    found = KINDS.find(kind).load()
    if not found.archives:
        # `get` is empty where there is nothing to get.
        if found.get:
            what = f"dataset {kind!r} cannot be fetched by --download."
            raise DataError(f"{what} How to get it: {found.how_to_get(root or 'ROOT')}")
        return
    place = root or os.environ.get(ROOT_VARIABLE)
    if not place:
        needs = f"--download needs to know where to put {kind}"
        raise DataError(f"{needs}: pass --data-root or set {ROOT_VARIABLE}.")
    root = Path(place).expanduser()
    for archive in found.archives if archives is None else archives:
        _fetch_once(archive, root, progress)
    if found.unpacked is not None:
        found.unpacked(root, progress)


def _fetch_once(archive: Archive, root: Path, progress: Progress | None) -> None:
    # The mark outlives the archive, which is as large as the data and no longer needed.
    done = root / "archives" / f"{archive.name}.unpacked"
    if done.exists():
        return
    file = fetch(archive, root / "archives", progress)
    unpack(file, root / archive.into, progress)
    done.touch()
    file.unlink()


def fetch(archive: Archive, folder: Path, progress: Progress | None = None) -> Path:
    """Download one file into `folder`, going on where an interrupted download stopped; raises `DataError`."""
    target = folder / archive.name
    partial = folder / f"{archive.name}.part"
    if target.exists():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _stream(archive, partial, progress)
    except (OSError, urllib.error.URLError, ValueError) as error:
        what = f"{archive.url} cannot be fetched ({error})."
        fix = "Run the same command again to go on where it stopped."
        raise DataError(f"{what} {fix}") from error
    if archive.md5 is not None and _md5(partial) != archive.md5:
        # To go on from these bytes would fail again.
        partial.unlink()
        what = (
            f"the file that came is not the known one (MD5 differs from {archive.md5})."
        )
        raise DataError(f"{archive.url}: {what} Fetch it again.")
    return partial.rename(target)


def _stream(archive: Archive, partial: Path, progress: Progress | None) -> None:
    """Append to the partial file until it is complete; a server that ignores the range starts it anew."""
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(archive.url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        # "Range not satisfiable" with the whole size: the download had ended just before the rename.
        covered = error.headers.get("Content-Range", "")
        size = covered.rpartition("/")[2]
        if error.code == 416 and size == str(have):
            return
        raise
    with closing(response):
        resumed = have > 0 and response.status == 206
        if not resumed:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else 0
        with partial.open("ab" if resumed else "wb") as handle:
            while chunk := response.read(CHUNK):
                handle.write(chunk)
                have += len(chunk)
                if progress is not None:
                    progress(f"fetching {archive.name}", have, max(total, have))
    # `read` takes a connection that breaks off for the end of the file.
    if total and have != total:
        raise OSError(f"the connection ended after {have:,} of {total:,} bytes")


def _md5(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()


def unpack(archive: Path, root: Path, progress: Progress | None = None) -> None:
    """Unpack a tar or zip under `root`; every name is checked before the first file is written.

    Raises:
        DataError: a damaged archive, or a member that is a link or a device or would land outside `root`.
    """
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, root, progress)
        else:
            _unpack_tar(archive, root, progress)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        what = f"archive {archive} cannot be unpacked ({error})."
        raise DataError(f"{what} Delete it and run the command again.") from error


def _unpack_zip(archive: Path, root: Path, progress: Progress | None) -> None:
    with zipfile.ZipFile(archive) as zipped:
        infos = [info for info in zipped.infolist() if not info.is_dir()]
        targets = [_target(archive, root, info.filename) for info in infos]
        # Opened one by one while they are written: the archives have up to eighty thousand members.
        streams = map(zipped.open, infos)
        _write_all(archive, streams, targets, progress)


def _unpack_tar(archive: Path, root: Path, progress: Progress | None) -> None:
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if not member.isdir()]
        targets = [_tar_target(archive, root, member) for member in members]
        streams = (_open(tar, member) for member in members)
        _write_all(archive, streams, targets, progress)


def _open(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = tar.extractfile(member)
    if stream is None:
        raise tarfile.ReadError(f"{member.name} has no content")
    return stream


def _tar_target(archive: Path, root: Path, member: tarfile.TarInfo) -> Path:
    if not member.isreg():
        what = f"{member.name!r} is a link or a device, which no dataset needs."
        raise DataError(f"archive {archive}: {what} Nothing was unpacked.")
    return _target(archive, root, member.name)


def _target(archive: Path, root: Path, name: str) -> Path:
    path = PurePosixPath(name)
    outside = f"archive {archive}: {name!r} would land outside {root}"
    # A backslash or a colon would be harmless here, and lead elsewhere on Windows.
    foreign = "\\" in name or ":" in path.parts[0]
    if path.is_absolute() or ".." in path.parts or foreign:
        fix = "Nothing was unpacked; do not trust this archive."
        raise DataError(f"{outside}. {fix}")
    target = root / path
    if not target.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{outside} through a link there. Remove the link.")
    return target


def _write_all(
    archive: Path,
    streams: Iterable[IO[bytes]],
    targets: Sequence[Path],
    progress: Progress | None,
) -> None:
    pairs = zip(streams, targets, strict=True)
    for number, (stream, target) in enumerate(pairs, 1):
        target.parent.mkdir(parents=True, exist_ok=True)
        with stream, target.open("wb") as handle:
            shutil.copyfileobj(stream, handle, CHUNK)
        if progress is not None:
            progress(f"unpacking {archive.name}", number, len(targets))
