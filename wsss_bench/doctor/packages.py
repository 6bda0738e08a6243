"""Checks of Python, of the packages and of the installation."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.doctor.findings import DISTRIBUTION, FAIL, OK, PIP, WARN, Check, nearest
from wsss_bench.io.paths import checkout

if TYPE_CHECKING:
    from packaging.requirements import Requirement

CLASHES = {
    "mmcv": ("onedl-mmcv", "both install the module mmcv"),
    "mmcv-full": ("onedl-mmcv", "both install the module mmcv"),
    "mmcv-lite": ("onedl-mmcv", "both install the module mmcv"),
    "mmengine": ("onedl-mmengine", "both install the module mmengine"),
    "mmsegmentation": ("onedl-mmsegmentation", "both install the module mmseg"),
    "pydensecrf": ("pydensecrf2", "both install the module pydensecrf"),
    "opencv-python-headless": ("opencv-python", "both install the module cv2"),
    "opencv-contrib-python": ("opencv-python", "both install the module cv2"),
}
"""Distributions that overwrite files of one that is needed, and why."""

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

APT = "apt-get install -y libgl1 libglib2.0-0"
COMPILER = "apt-get install -y g++ python3-dev"


# ---- Python and packages


def project() -> Mapping[str, Any]:
    """``requires-python``, ``dependencies`` and ``methods`` (entry points) as the source says, else as installed.

    Raises:
        PackageNotFoundError: there is neither a checkout nor an installed distribution.
    """
    root = checkout()
    if root is not None:
        import tomllib

        table = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        methods = table.get("entry-points", {}).get("wsss_bench.methods", {})
        return {
            "python": table["requires-python"],
            "dependencies": table["dependencies"],
            "methods": dict(methods),
        }
    found = metadata.distribution(DISTRIBUTION)
    points = {
        p.name: p.value for p in found.entry_points if p.group == "wsss_bench.methods"
    }
    return {
        "python": found.metadata["Requires-Python"],
        "dependencies": found.requires or [],
        "methods": points,
    }


def check_python() -> Iterator[Check]:
    """The interpreter against ``requires-python``, and the operating system."""
    from packaging.specifiers import SpecifierSet

    wanted, here = project()["python"], platform.python_version()
    if here in SpecifierSet(wanted, prereleases=True):
        yield Check("python", OK, f"{here} ({sys.executable})")
    else:
        fix = f"python3.11 -m venv venv && venv/bin/{PIP} {_source()}"
        yield Check("python", FAIL, f"{here} is not {wanted}.", fix)
    if sys.platform != "linux":
        what = f"{platform.system()}: only Linux is tried; file locks and memory figures may differ."
        yield Check("python", WARN, what)


def check_packages() -> Iterator[Check]:
    """Every dependency against its requirement; clashes; whether torch and torchvision are builds of one kind."""
    wanted = requirements(project()["dependencies"])
    for need in wanted:
        yield _package(need)
    for name, (needed, why) in CLASHES.items():
        if version(name) is not None and version(needed) is not None:
            fix = f"python -m pip uninstall -y {name} {needed} && {PIP} {_quoted(needed, wanted)}"
            yield Check(
                "packages",
                FAIL,
                f"{name} {version(name)} lies over {needed}: {why}.",
                fix,
            )
    torch, vision = version("torch"), version("torchvision")
    if (
        torch is not None
        and vision is not None
        and torch.partition("+")[2] != vision.partition("+")[2]
    ):
        what = f"torch {torch} and torchvision {vision} are builds of different kinds."
        fix = f"{PIP} --force-reinstall {_quoted('torch', wanted)} {_quoted('torchvision', wanted)}"
        yield Check("packages", FAIL, what, fix)


def requirements(lines: Iterable[str]) -> list[Requirement]:
    """The requirements that apply here: extras and foreign markers are left out."""
    from packaging.requirements import Requirement

    found = [Requirement(line) for line in lines]
    return [
        need
        for need in found
        if need.marker is None or need.marker.evaluate({"extra": ""})
    ]


def version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _package(need: Requirement) -> Check:
    found = version(need.name)
    fix = f"{PIP} '{need.name}{need.specifier}'"
    if found is None:
        more = (
            f" (its build needs a compiler: {COMPILER})"
            if need.name == "pydensecrf2"
            else ""
        )
        return Check("packages", FAIL, f"{need.name} is not installed{more}.", fix)
    if found not in need.specifier and not need.specifier.contains(
        found, prereleases=True
    ):
        return Check(
            "packages",
            FAIL,
            f"{need.name} {found} does not satisfy {need.specifier}.",
            fix,
        )
    return Check(
        "packages",
        OK,
        f"{need.name} {found}" + (f" ({need.specifier})" if need.specifier else ""),
    )


def _quoted(name: str, wanted: Iterable[Requirement]) -> str:
    return next(
        (f"'{need.name}{need.specifier}'" for need in wanted if need.name == name), name
    )


def _source() -> str:
    """What pip installs the harness from."""
    root = checkout()
    return f"-e {root}" if root is not None else DISTRIBUTION


def check_install() -> Iterator[Check]:
    """Whether the harness is installed, and whether the installation knows the methods that the source names."""
    fix = f"{PIP} {_source()}"
    try:
        installed = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        yield Check(
            "install",
            FAIL,
            "wsss-bench is not installed, so no bundled method can be found.",
            fix,
        )
        return
    known = {
        point.name: point.value
        for point in installed.entry_points
        if point.group == "wsss_bench.methods"
    }
    stale = sorted(
        name
        for name, target in project()["methods"].items()
        if known.get(name) != target
    )
    if stale:
        what = f"the installation is older than pyproject.toml: it does not know {', '.join(stale)}."
        yield Check("install", FAIL, what, fix)
        return
    yield Check(
        "install",
        OK,
        f"wsss-bench {installed.version}"
        + (f", from {checkout()}" if checkout() else ""),
    )
    if installed.version != _source_version():
        yield Check(
            "install",
            WARN,
            f"installed as {installed.version}, the source is {_source_version()}.",
            fix,
        )


def _source_version() -> str:
    from wsss_bench import __version__

    return __version__


# ---- what is compiled


def check_crf() -> Iterator[Check]:
    """Both back ends of the CRF, and OpenCV, which fails to load where system libraries are missing."""
    compiled = _import_error("pydensecrf.densecrf")
    if compiled is None:
        yield Check("crf", OK, "pydensecrf loads")
    else:
        fix = f"{COMPILER} && {PIP} --force-reinstall --no-cache-dir pydensecrf2==1.1"
        yield Check(
            "crf",
            WARN,
            f"pydensecrf does not load ({compiled}); the own back end does its work.",
            fix,
        )
    own = _import_error("numba")
    if own is None:
        yield from _numba_cache()
    else:
        yield Check(
            "crf",
            FAIL,
            f"numba does not load ({own}), so neither CRF nor evaluator run.",
            f"{PIP} --force-reinstall numba",
        )
    vision = _import_error("cv2")
    if vision is not None:
        fix = APT if ".so" in vision else f"{PIP} --force-reinstall opencv-python"
        yield Check("crf", FAIL, f"cv2 (OpenCV) does not load: {vision}.", fix)


def _numba_cache() -> Iterator[Check]:
    import wsss_bench.toolbox.kernels

    folder = Path(
        os.environ.get("NUMBA_CACHE_DIR")
        or Path(str(wsss_bench.toolbox.kernels.__file__)).parent
    )
    if os.access(folder if folder.exists() else nearest(folder), os.W_OK):
        yield Check(
            "crf", OK, "own compiled back end (numba) loads and keeps its cache"
        )
    else:
        what = f"own compiled back end loads, but {folder} is read-only: it is compiled anew where no cache can be kept."
        yield Check("crf", WARN, what, "export NUMBA_CACHE_DIR=$HOME/.cache/numba")


def _import_error(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as error:
        return f"{type(error).__name__}: {error}".rstrip(".")
    return None


def check_imports() -> Iterator[Check]:
    """Import every heavy package, each in a process of its own, all at once; takes seconds."""
    command = [sys.executable, "-W", "ignore", "-c"]
    started = {
        name: subprocess.Popen(
            [*command, f"import {name}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in HEAVY
    }
    for name, process in started.items():
        try:
            _, said = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            said = "it took more than 300 seconds"
        if process.returncode == 0:
            yield Check("imports", OK, f"{name} imports")
        else:
            last = (said.strip().splitlines() or ["no message"])[-1]
            yield Check(
                "imports",
                FAIL,
                f"{name} does not import: {last}",
                f"{PIP} --force-reinstall {_source()}",
            )
