"""The packages of the wheel, told from the folders: no method or room need be listed. All else is in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
PLACES = {
    "wsss_bench": "wsss_bench",
    "plugins": "wsss_plugins",
    "configs": "wsss_bench.configs",
}
"""Top-level folder to the package it is installed as."""


def packages() -> list[str]:
    """Every folder with Python files, under the name it is installed as."""
    found = {"wsss_bench.leaderboards"}  # data only: the published numbers
    for place, name in PLACES.items():
        for file in (ROOT / place).rglob("*.py"):
            found.add(".".join([name, *file.parent.relative_to(ROOT / place).parts]))
    return sorted(found)


if __name__ == "__main__":
    setup(packages=packages())
