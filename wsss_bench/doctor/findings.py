"""What one check of this machine found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DISTRIBUTION = "wsss-bench"
PIP = "python -m pip install"

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        part: what was looked at, e.g. ``gpu``.
        level: `OK`, `WARN` (works, but worth knowing) or `FAIL`.
        what: what was found, as a sentence.
        fix: the command that repairs it; "" where there is none or nothing to repair.
    """

    part: str
    level: str
    what: str
    fix: str = ""


def nearest(folder: Path) -> Path:
    """Return the folder as an absolute path, or the nearest of its parents that exists."""
    folder = folder.expanduser().absolute()
    # The root of the file system always exists, so there is always a next one.
    return next(path for path in (folder, *folder.parents) if path.exists())
