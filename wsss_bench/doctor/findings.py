"""What one check of this machine found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DISTRIBUTION = "wsss-bench"
PIP = "python -m pip install"

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True)
class Check:
    """One finding: `part` of the machine, `level` (`OK`, `WARN`, `FAIL`), `what` was found, and the command that repairs it."""

    part: str
    level: str
    what: str
    fix: str = ""


def nearest(folder: Path) -> Path:
    """The folder, or the nearest of its parents that exists."""
    folder = folder.expanduser().absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())
