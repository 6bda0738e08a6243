"""Checks of compiled modules: whether the CRFs, OpenCV and the heavy packages load."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from wsss_bench.doctor.findings import FAIL, OK, PIP, WARN, Check, nearest
from wsss_bench.doctor.requirements import quoted, source
from wsss_bench.io.paths import PACKAGE

HEAVY = (
    "torch",
    "torchvision",
    "mmengine.runner",
    "mmcv",
    "mmseg",
    "scipy.sparse",
    "pandas",
)
"""Modules that `check_imports` imports; light ones are imported by the other checks."""

KERNELS = PACKAGE / "toolbox" / "kernels"
"""The folder beside whose modules numba keeps what it compiled. Named as a path: to import it would load numba."""

APT = "apt-get install -y libgl1 libglib2.0-0"
COMPILER = "apt-get install -y g++ python3-dev"

PATIENCE = 300
"""Seconds that the import of a heavy package may take."""


def check_crf() -> Iterator[Check]:
    """Load both back ends of the CRF, and OpenCV, which fails to load where system libraries are missing."""
    yield _pydensecrf()
    own = _import_error("numba")
    if own is None:
        yield _numba_cache()
    else:
        what = f"numba does not load ({own}), so neither CRF nor evaluator run."
        yield Check("crf", FAIL, what, f"{PIP} --force-reinstall {quoted('numba')}")
    vision = _import_error("cv2")
    if vision is not None:
        # A missing shared object is the system's fault, and no pip command mends it.
        fix = (
            APT
            if ".so" in vision
            else f"{PIP} --force-reinstall {quoted('opencv-python')}"
        )
        yield Check("crf", FAIL, f"cv2 (OpenCV) does not load: {vision}.", fix)


def _pydensecrf() -> Check:
    wrong = _import_error("pydensecrf.densecrf")
    if wrong is None:
        return Check("crf", OK, "pydensecrf loads")
    what = f"pydensecrf does not load ({wrong}); the own back end does its work."
    # Without --no-cache-dir pip would put back the very wheel that it built before the compiler or numpy changed.
    build = f"{PIP} --force-reinstall --no-cache-dir {quoted('pydensecrf2')}"
    return Check("crf", WARN, what, f"{COMPILER} && {build}")


def _numba_cache() -> Check:
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or KERNELS)
    if os.access(nearest(folder), os.W_OK):
        what = "own compiled back end (numba) loads and keeps its cache"
        return Check("crf", OK, what)
    what = f"own compiled back end loads, but {folder} is read-only: it is compiled anew where no cache can be kept."
    return Check("crf", WARN, what, "export NUMBA_CACHE_DIR=$HOME/.cache/numba")


def _import_error(module: str) -> str | None:
    """Import a module in this process; return what went wrong, or None."""
    try:
        importlib.import_module(module)
    except Exception as error:  # compiled modules raise more than ImportError
        return f"{type(error).__name__}: {error}".rstrip(".")
    return None


def check_imports() -> Iterator[Check]:
    """Import every heavy package, each in a process of its own, all at once; takes seconds."""
    # Processes of their own, since a broken binary can end the process that imports it.
    started = {name: _start_import(name) for name in HEAVY}
    for name, process in started.items():
        yield _imported(name, process)


def _start_import(name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-c", f"import {name}"]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _imported(name: str, process: subprocess.Popen[str]) -> Check:
    try:
        _, said = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        said = f"it took more than {PATIENCE} seconds"
    if process.returncode == 0:
        return Check("imports", OK, f"{name} imports")
    lines = said.strip().splitlines() or ["no message"]
    what = f"{name} does not import: {lines[-1]}"
    return Check("imports", FAIL, what, f"{PIP} --force-reinstall {source()}")
