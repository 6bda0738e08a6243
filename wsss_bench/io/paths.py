"""Where the harness keeps its own files, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from wsss_bench.errors import WsssError

PACKAGE = Path(__file__).resolve().parents[1]


def checkout() -> Path | None:
    """The root of the source checkout the package runs from, or None when it runs from an installed wheel."""
    root = PACKAGE.parent
    return (
        root
        if (root / "pyproject.toml").is_file() and (root / "configs").is_dir()
        else None
    )


def configs_dir() -> Path:
    """The folder of bundled configs: ``<checkout>/configs``, or ``wsss_bench/configs`` in a wheel.

    Raises:
        WsssError: neither exists, so the installation is damaged.
    """
    root = checkout()
    folder = root / "configs" if root else PACKAGE / "configs"
    if not folder.is_dir():
        raise WsssError(
            f"the bundled configs are missing from {folder}. Reinstall: pip install --force-reinstall wsss-bench"
        )
    return folder
