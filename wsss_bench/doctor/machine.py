"""Checks of the GPU, of the disk and of the work dir."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path

from wsss_bench.doctor.findings import FAIL, OK, PIP, WARN, Check, nearest
from wsss_bench.doctor.requirements import quoted

LOW_SPACE, LITTLE_SPACE = 1 << 30, 10 << 30
"""Free bytes below which a work dir is of no use, and below which VOC-sized runs will not fit."""

FEW_FILES = 100_000
"""Free inodes below which a file system that counts them will run out first."""

Release = tuple[int, ...]
"""A version of CUDA, major number first."""


def check_gpu() -> Iterator[Check]:
    """Ask the driver, and say whether the installed torch can use it; no GPU is a warning, not a failure."""
    found = driver()
    if found is None:
        what = "no NVIDIA driver: everything runs on the CPU (--device cpu); real data take days."
        yield Check("gpu", WARN, what)
        return
    names, release = found
    if names:
        yield _usable(", ".join(names), release, torch_cuda())
    else:
        what = "the NVIDIA driver is there, but shows no GPU. Is CUDA_VISIBLE_DEVICES empty?"
        yield Check("gpu", WARN, what, "nvidia-smi -L")


def _usable(names: str, release: Release, build: str | None) -> Check:
    if build is None:
        what = f"{names} is there, but the installed torch is a build without CUDA."
        fix = f"{PIP} --force-reinstall {quoted('torch', 'torchvision')}"
        return Check("gpu", FAIL, what, fix)
    known = f"{release[0]}.{release[1]}"
    # Major numbers only: within one, CUDA runs on a driver that is older than the build.
    if release[0] < int(build.partition(".")[0]):
        what = f"the driver knows CUDA {known}, torch is built for {build}: it will not start on the GPU."
        fix = "update the NVIDIA driver; until then: wsss-bench run --device cpu"
        return Check("gpu", FAIL, what, fix)
    what = f"{names}; driver for CUDA {known}, torch built for {build}"
    return Check("gpu", OK, what)


def torch_cuda() -> str | None:
    """Return the CUDA version torch is built for, e.g. ``12.8``; None for a CPU build and where there is no torch."""
    try:
        spec = importlib.util.find_spec("torch")
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    # Read rather than imported: `import torch` takes seconds, and may be the very thing that is broken.
    try:
        text = (Path(spec.origin).parent / "version.py").read_text()
    except OSError:
        return None
    found = re.search(r"^cuda\b[^=]*=\s*['\"]([\d.]+)['\"]", text, re.M)
    return found[1] if found else None


def driver() -> tuple[list[str], Release] | None:
    """Return the GPUs' names and the newest CUDA version that libcuda knows; None where there is no driver."""
    import ctypes

    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    number, count = ctypes.c_int(), ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(number))
    # libcuda writes 12.8 as 12080.
    release = (number.value // 1000, number.value % 1000 // 10)
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return [], release
    name = ctypes.create_string_buffer(128)
    names = []
    for index in range(count.value):
        cuda.cuDeviceGetName(name, len(name), index)
        names.append(name.value.decode(errors="replace"))
    return names, release


def check_work_dir(folder: Path) -> Iterator[Check]:
    """Try to write, rename and lock a file there, and look how much space is left; leaves nothing behind."""
    there = nearest(folder)
    wrong = _try_files(there)
    if wrong is not None:
        fix = "wsss-bench run --work-dir OTHER_FOLDER"
        yield Check("work dir", FAIL, f"{there}: {wrong}.", fix)
        return
    yield Check("work dir", OK, f"{there}: files can be written, renamed and locked")
    yield from _room(there)


def _room(folder: Path) -> Iterator[Check]:
    import shutil

    free = shutil.disk_usage(folder).free
    level = FAIL if free < LOW_SPACE else WARN if free < LITTLE_SPACE else OK
    fix = "" if level == OK else "wsss-bench cache gc"
    yield Check("work dir", level, f"{free / 2**30:.1f} GiB free", fix)
    inodes = os.statvfs(folder)
    # Some file systems make inodes as they need them, and report none at all.
    if inodes.f_files > 0 and inodes.f_favail < FEW_FILES:
        left = f"{inodes.f_favail:,} files can still be made"
        what = f"{left}; stages keep one per image."
        yield Check("work dir", WARN, what, "wsss-bench cache gc")


def _try_files(folder: Path) -> str | None:
    """Write, rename and lock a file as the store does; return what went wrong, or None."""
    import tempfile

    if not folder.is_dir():
        return "it is no folder"
    prefix = ".wsss-bench-doctor-"
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=prefix) as place:
            first, second = Path(place) / "a", Path(place) / "b"
            first.write_bytes(b"x" * 4096)
            os.replace(first, second)
            if _locks_hold(second):
                return None
    except OSError as error:
        return f"{error.strerror or error}"
    return "locks do not hold there (a network file system?), so two runs would disturb each other"


def _locks_hold(file: Path) -> bool:
    """Return whether a second lock on a locked file is refused."""
    import fcntl

    how = fcntl.LOCK_EX | fcntl.LOCK_NB
    # flock belongs to an open file, so two handles of one process exclude each other as two processes would.
    with file.open("rb") as one, file.open("rb") as other:
        fcntl.flock(one, how)
        try:
            fcntl.flock(other, how)
        except BlockingIOError:
            return True
    return False
