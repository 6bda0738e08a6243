"""Checks of the GPU, of the disk and of the work dir."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path

from wsss_bench.doctor.findings import FAIL, OK, PIP, WARN, Check, nearest

# ---- GPU


LOW_SPACE, LITTLE_SPACE = 1 << 30, 10 << 30
"""Free bytes below which a work dir is of no use, and below which VOC-sized runs will not fit."""


def check_gpu() -> Iterator[Check]:
    """What the driver says, and whether the installed torch can use it; a machine without GPU is a warning, not a failure."""
    build = torch_cuda()
    found = driver()
    if found is None:
        yield Check(
            "gpu",
            WARN,
            "no NVIDIA driver: everything runs on the CPU (--device cpu); real data take days.",
        )
        return
    names, release = found
    if not names:
        yield Check(
            "gpu",
            WARN,
            "the NVIDIA driver is there, but shows no GPU. Is CUDA_VISIBLE_DEVICES empty?",
            "nvidia-smi -L",
        )
    elif build is None:
        what = f"{', '.join(names)} is there, but the installed torch is a build without CUDA."
        yield Check(
            "gpu",
            FAIL,
            what,
            f"{PIP} --force-reinstall torch==2.15.0 torchvision==0.29.2",
        )
    elif release < _release(build)[:1]:
        what = f"the driver knows CUDA {release[0]}.{release[1]}, torch is built for {build}: it will not start on the GPU."
        yield Check(
            "gpu",
            FAIL,
            what,
            "update the NVIDIA driver; until then: wsss-bench run --device cpu",
        )
    else:
        yield Check(
            "gpu",
            OK,
            f"{', '.join(names)}; driver for CUDA {release[0]}.{release[1]}, torch built for {build}",
        )


def torch_cuda() -> str | None:
    """The CUDA version torch is built for, from its ``version.py``, without importing torch; None for a CPU build."""
    try:
        spec = importlib.util.find_spec("torch")
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text()
    except OSError:
        return None
    found = re.search(r"^cuda\b[^=]*=\s*['\"]([\d.]+)['\"]", text, re.M)
    return found[1] if found else None


def driver() -> tuple[list[str], tuple[int, int]] | None:
    """Names of the GPUs and the newest CUDA version the driver knows; None where there is no driver. Asks libcuda itself."""
    import ctypes

    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    number, count, name = (
        ctypes.c_int(),
        ctypes.c_int(),
        ctypes.create_string_buffer(128),
    )
    cuda.cuDriverGetVersion(ctypes.byref(number))
    release = (number.value // 1000, number.value % 1000 // 10)
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return [], release
    names = []
    for index in range(count.value):
        cuda.cuDeviceGetName(name, len(name), index)
        names.append(name.value.decode(errors="replace"))
    return names, release


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def check_work_dir(folder: Path) -> Iterator[Check]:
    """Whether a file can be written, renamed and locked there, and how much space is left; leaves nothing behind."""
    import shutil

    there = nearest(folder)
    fix = "wsss-bench run --work-dir OTHER_FOLDER"
    wrong = _try_files(there)
    if wrong is not None:
        yield Check("work dir", FAIL, f"{there}: {wrong}.", fix)
        return
    yield Check("work dir", OK, f"{there}: files can be written, renamed and locked")
    free = shutil.disk_usage(there).free
    level = FAIL if free < LOW_SPACE else WARN if free < LITTLE_SPACE else OK
    yield Check(
        "work dir",
        level,
        f"{free / 2**30:.1f} GiB free",
        "" if level == OK else "wsss-bench cache gc",
    )
    inodes = os.statvfs(there)
    if inodes.f_files > 0 and inodes.f_favail < 100_000:
        what = (
            f"{inodes.f_favail:,} files can still be made; stages keep one per image."
        )
        yield Check("work dir", WARN, what, "wsss-bench cache gc")


def _try_files(folder: Path) -> str | None:
    """Do what the store does; what went wrong, or None."""
    import fcntl
    import tempfile

    if not folder.is_dir():
        return "it is no folder"
    try:
        with tempfile.TemporaryDirectory(
            dir=folder, prefix=".wsss-bench-doctor-"
        ) as place:
            first, second = Path(place) / "a", Path(place) / "b"
            first.write_bytes(b"x" * 4096)
            os.replace(first, second)
            with second.open("rb") as one, second.open("rb") as other:
                fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
                try:
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return None
                return "locks do not hold there (a network file system?), so two runs would disturb each other"
    except OSError as error:
        return f"{error.strerror or error}"
