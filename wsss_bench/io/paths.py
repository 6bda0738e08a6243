"""Where the harness keeps its own files, in a checkout and in an installed wheel."""

from __future__ import annotations

import os
from pathlib import Path

from wsss_bench.errors import WsssError

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of the package `wsss_bench`."""


CACHE_VARIABLE = "WSSS_BENCH_CACHE"
"""Names another folder for `user_cache`."""


def user_cache() -> Path:
    """Return the folder for what can be made again, and is this user's alone; it need not exist.

    That is ``$WSSS_BENCH_CACHE``, else ``wsss-bench`` in ``$XDG_CACHE_HOME``, else ``~/.cache/wsss-bench``.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    parent = Path(shared) if shared else Path.home() / ".cache"
    return parent / "wsss-bench"


def checkout() -> Path | None:
    """Return the root of the source checkout that the package runs from, None when it runs from an installed wheel."""
    root = PACKAGE.parent
    # Both, for a wheel's parent folder is `site-packages`, where anybody's file may lie.
    project = (root / "pyproject.toml").is_file()
    return root if project and (root / "configs").is_dir() else None


def configs_dir() -> Path:
    """Return the folder of bundled configs: ``<checkout>/configs``, or ``wsss_bench/configs`` in a wheel.

    Raises:
        WsssError: neither exists, so the installation is damaged.
    """
    root = checkout()
    folder = root / "configs" if root else PACKAGE / "configs"
    if not folder.is_dir():
        fix = "Reinstall: pip install --force-reinstall wsss-bench"
        raise WsssError(f"the bundled configs are missing from {folder}. {fix}")
    return folder
