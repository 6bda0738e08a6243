"""The flag that says where run records and boards lie, shared by the verbs that read them."""

from __future__ import annotations

import argparse
from pathlib import Path

_PLACES = (Path("work_dirs/leaderboards"), Path("leaderboards"))


def add_leaderboard_dir(parser: argparse.ArgumentParser) -> None:
    """Add ``--leaderboard-dir`` to `parser`."""
    parser.add_argument(
        "--leaderboard-dir",
        type=Path,
        metavar="FOLDER",
        help="where runs/ and the tables lie (default: work_dirs/leaderboards, where `run` writes; else leaderboards)",
    )


def leaderboard_dir(args: argparse.Namespace) -> Path:
    """The folder that the flag names, else the first of the default places that has runs, else the first.

    Where the verb has a ``--work-dir``, its ``leaderboards`` is the first place.
    """
    if args.leaderboard_dir is not None:
        return Path(args.leaderboard_dir)
    places = (
        [args.work_dir / "leaderboards", *_PLACES]
        if getattr(args, "work_dir", None)
        else [*_PLACES]
    )
    return next((place for place in places if (place / "runs").is_dir()), places[0])
