"""Flags that several verbs share: those that name a dataset, and where run records and boards lie."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.data.options import explain_options
from wsss_bench.data.registry import KINDS
from wsss_bench.runs import request as requests

if TYPE_CHECKING:
    from wsss_bench.data.base import Dataset

_PLACES = (Path("work_dirs/leaderboards"), Path("leaderboards"))

_DATA_ROOT = (
    "where the data lie (default: $WSSS_BENCH_DATA_ROOT; shapes: work_dirs/data)"
)
_LABELS = (
    "image-level labels from a file (CSV, cls_labels.npy), from 'masks', "
    "or, in voc2012, from 'xml' or 'main' (ImageSets/Main)"
)
_SKIP = "leave out the ids that FILE lists (data verify --write-skip)"
_SPLITS = {
    "train": "split that methods are trained on",
    "seeds": "split on which seeds and pseudo-labels are scored",
    "val": "split on which segmentations are scored",
}
_BOARDS = (
    "where runs/ and the tables lie "
    "(default: work_dirs/leaderboards, where `run` writes; else leaderboards)"
)


def say(line: str) -> None:
    """Print a line to standard error, where it disturbs nobody who reads the output."""
    print(line, file=sys.stderr, flush=True)


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--dataset``, ``--data-root`` and the rest of the dataset's flags to `parser`."""
    add = parser.add_argument_group("dataset").add_argument
    # Anybody may name a kind as he likes, and `argparse` takes a percent sign for a format.
    names = ", ".join(KINDS).replace("%", "%%")
    kinds = f"{names} (default: %(default)s)"
    add("--dataset", default="shapes", metavar="KIND", help=kinds)
    add("--data-root", type=Path, metavar="FOLDER", help=_DATA_ROOT)
    name = "what tables call this copy of the data (default: KIND)"
    add("--name", metavar="NAME", help=name)
    add("--labels", metavar="WHERE", help=_LABELS)
    add(
        "--data-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=_options(),
    )
    add("--skip", type=Path, metavar="FILE", help=_SKIP)
    for role, text in _SPLITS.items():
        add(f"--{role}-split", metavar="SPLIT", help=text)


def _options() -> str:
    # Only of the bundled kinds: those of others are known when they are imported, which no help text should do.
    bundled = [f"{one.name}: {explain_options(one.options)}" for one in KINDS.bundled()]
    others = "an installed kind answers an unknown KEY with its own"
    return f"{'; '.join(bundled)}; {others} (repeatable)"


def dataset_request(args: argparse.Namespace) -> requests.DatasetRequest:
    """Return what the flags ask for; raises `DataError` for a ``--data-option`` that is no ``KEY=VALUE``."""
    splits = {role: getattr(args, f"{role}_split") for role in _SPLITS}
    return requests.DatasetRequest(
        kind=args.dataset,
        root=args.data_root,
        name=args.name,
        options=requests.parse_data_options(args.data_option),
        splits={role: split for role, split in splits.items() if split is not None},
        labels=args.labels,
        skip=args.skip,
    )


def dataset_from_args(args: argparse.Namespace) -> Dataset:
    """Open the dataset that the flags name; raises `DataError` where it cannot be."""
    return requests.open_requested(dataset_request(args), say)


def add_leaderboard_dir(parser: argparse.ArgumentParser) -> None:
    """Add ``--leaderboard-dir`` to `parser`."""
    parser.add_argument("--leaderboard-dir", type=Path, metavar="FOLDER", help=_BOARDS)


def leaderboard_dir(folder: Path | None, work_dir: Path | None = None) -> Path:
    """Return `folder`, else the first of the usual places that has runs, else the first.

    Where the verb has a ``--work-dir``, its ``leaderboards`` is the first place.
    """
    if folder is not None:
        return folder
    # A work dir's own boards come before those that the project ships.
    places = list(_PLACES)
    if work_dir is not None:
        places.insert(0, work_dir / requests.LEADERBOARDS)
    return next((place for place in places if (place / "runs").is_dir()), places[0])
