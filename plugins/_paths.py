"""Where the bundled methods' default parameters are."""

from __future__ import annotations

from pathlib import Path

from wsss_bench.io.paths import configs_dir


def defaults(name: str) -> Path:
    """The config file of a bundled method."""
    return configs_dir() / "methods" / f"{name}.py"
