"""What the harness asks for (Python, packages, methods), and what is installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

from wsss_bench.doctor.findings import DISTRIBUTION
from wsss_bench.io.paths import checkout

if TYPE_CHECKING:
    from packaging.requirements import Requirement

METHODS = "wsss_bench.methods"
"""The entry-point group of methods."""


def project() -> Mapping[str, Any]:
    """Return ``python`` (the versions asked for), ``dependencies`` and ``methods`` (target by entry-point name).

    In a checkout they are read from ``pyproject.toml``, elsewhere from the installed distribution.

    Raises:
        PackageNotFoundError: there is neither a checkout nor an installed distribution.
    """
    root = checkout()
    if root is not None:
        # The source comes first: an editable installation keeps the metadata of the day it was made.
        import tomllib

        table = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        methods = table.get("entry-points", {}).get(METHODS, {})
        return {
            "python": table["requires-python"],
            "dependencies": table["dependencies"],
            "methods": dict(methods),
        }
    found = metadata.distribution(DISTRIBUTION)
    return {
        "python": found.metadata["Requires-Python"],
        "dependencies": found.requires or [],
        "methods": entry_points(found),
    }


def entry_points(installed: metadata.Distribution) -> dict[str, str]:
    """Return the methods an installed distribution registers, target by name."""
    points = installed.entry_points
    return {point.name: point.value for point in points if point.group == METHODS}


def needed() -> list[Requirement]:
    """Return the requirements of `project` that apply on this machine."""
    return applying(project()["dependencies"])


def applying(lines: Iterable[str]) -> list[Requirement]:
    """Return the requirements that apply here: those of extras and of other platforms are left out."""
    from packaging.requirements import Requirement

    # An empty `extra` makes the marker of every optional dependency false.
    here = {"extra": ""}
    found = [Requirement(line) for line in lines]
    return [need for need in found if not need.marker or need.marker.evaluate(here)]


def version(name: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def quoted(*names: str) -> str:
    """Return what to type after ``pip install``, e.g. ``'numpy>=2.0'``; the bare name where none is asked."""
    asked = {need.name: f"'{need.name}{need.specifier}'" for need in needed()}
    return " ".join(asked.get(name, name) for name in names)


def source() -> str:
    """Return what pip installs the harness from: the checkout, or the package's name."""
    root = checkout()
    return f"-e {root}" if root is not None else DISTRIBUTION
