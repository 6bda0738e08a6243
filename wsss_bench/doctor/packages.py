"""Checks of Python, of the packages and of the installation."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from wsss_bench.doctor.compiled import COMPILER
from wsss_bench.doctor.findings import DISTRIBUTION, FAIL, OK, PIP, WARN, Check
from wsss_bench.doctor.requirements import (
    entry_points,
    needed,
    project,
    quoted,
    source,
    version,
)
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


def check_python() -> Iterator[Check]:
    """Compare the interpreter with ``requires-python``; look at the operating system."""
    from packaging.specifiers import SpecifierSet

    wanted, here = project()["python"], platform.python_version()
    if here in SpecifierSet(wanted, prereleases=True):
        yield Check("python", OK, f"{here} ({sys.executable})")
    else:
        fix = f"python3.11 -m venv venv && venv/bin/{PIP} {source()}"
        yield Check("python", FAIL, f"{here} is not {wanted}.", fix)
    if sys.platform != "linux":
        what = f"{platform.system()}: only Linux is tried; file locks and memory figures may differ."
        yield Check("python", WARN, what)


def check_packages() -> Iterator[Check]:
    """Compare every dependency with its requirement; look for clashes and for builds that do not fit each other."""
    for need in needed():
        yield _package(need)
    for name in CLASHES:
        yield from _clash(name)
    yield from _pair()


def _package(need: Requirement) -> Check:
    found = version(need.name)
    fix = f"{PIP} '{need.name}{need.specifier}'"
    if found is None:
        # The only dependency without wheels: pip builds it, and says little where that fails.
        built = need.name == "pydensecrf2"
        more = f" (its build needs a compiler: {COMPILER})" if built else ""
        what = f"{need.name} is not installed{more}."
        return Check("packages", FAIL, what, fix)
    # A release candidate of a version in range is good enough, here as for pip when it is asked for one.
    if not need.specifier.contains(found, prereleases=True):
        what = f"{need.name} {found} does not satisfy {need.specifier}."
        return Check("packages", FAIL, what, fix)
    asked = f" ({need.specifier})" if need.specifier else ""
    return Check("packages", OK, f"{need.name} {found}{asked}")


def _clash(name: str) -> Iterator[Check]:
    right, why = CLASHES[name]
    found = version(name)
    if found is None or version(right) is None:
        return
    # Both must go: whichever is removed takes files of the other with it.
    remove = f"python -m pip uninstall -y {name} {right}"
    what = f"{name} {found} lies over {right}: {why}."
    yield Check("packages", FAIL, what, f"{remove} && {PIP} {quoted(right)}")


def _pair() -> Iterator[Check]:
    """Fail where torch and torchvision are builds of different kinds, e.g. ``+cpu`` beside ``+cu128``."""
    torch, vision = version("torch"), version("torchvision")
    if torch is None or vision is None:
        return
    # The part behind "+" names the build; versions alone cannot tell, and torchvision's operators then fail to load.
    if torch.partition("+")[2] == vision.partition("+")[2]:
        return
    what = f"torch {torch} and torchvision {vision} are builds of different kinds."
    fix = f"{PIP} --force-reinstall {quoted('torch', 'torchvision')}"
    yield Check("packages", FAIL, what, fix)


def check_install() -> Iterator[Check]:
    """Check that the harness is installed, and that the installation knows the methods that the source names."""
    fix = f"{PIP} {source()}"
    try:
        installed = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        what = "wsss-bench is not installed, so no bundled method can be found."
        yield Check("install", FAIL, what, fix)
        return
    known = entry_points(installed)
    methods = project()["methods"]
    stale = sorted(name for name in methods if known.get(name) != methods[name])
    if stale:
        what = f"the installation is older than pyproject.toml: it does not know {', '.join(stale)}."
        yield Check("install", FAIL, what, fix)
        return
    place = f", from {checkout()}" if checkout() else ""
    yield Check("install", OK, f"wsss-bench {installed.version}{place}")
    here = _source_version()
    if installed.version != here:
        what = f"installed as {installed.version}, the source is {here}."
        yield Check("install", WARN, what, fix)


def _source_version() -> str:
    from wsss_bench import __version__

    return __version__
