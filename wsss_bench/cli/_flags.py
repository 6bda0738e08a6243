"""Flags that name a dataset, shared by every verb that reads one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.data.opening import KINDS
from wsss_bench.errors import DataError

if TYPE_CHECKING:
    from wsss_bench.data.base import Dataset


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--dataset``, ``--data-root`` and the rest of the dataset's flags to `parser`."""
    group = parser.add_argument_group("dataset")
    group.add_argument(
        "--dataset",
        default="shapes",
        metavar="KIND",
        help=f"{', '.join(KINDS)} (default: %(default)s)",
    )
    where = (
        "where the data lie (default: $WSSS_BENCH_DATA_ROOT; shapes: work_dirs/data)"
    )
    group.add_argument("--data-root", type=Path, metavar="FOLDER", help=where)
    group.add_argument(
        "--name",
        metavar="NAME",
        help="what tables call this copy of the data (default: KIND)",
    )
    group.add_argument(
        "--labels",
        metavar="WHERE",
        help="voc2012: image-level labels from a CSV table, 'xml', or 'masks'",
    )
    group.add_argument(
        "--data-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="shapes: train, val, size, seed; coco2014: lists=all|tagged, cache=FOLDER (repeatable)",
    )
    group.add_argument(
        "--skip",
        type=Path,
        metavar="FILE",
        help="leave out the ids that FILE lists (data verify --write-skip)",
    )
    group.add_argument(
        "--train-split", metavar="SPLIT", help="split that methods are trained on"
    )
    group.add_argument(
        "--seeds-split",
        metavar="SPLIT",
        help="split on which seeds and pseudo-labels are scored",
    )
    group.add_argument(
        "--val-split", metavar="SPLIT", help="split on which segmentations are scored"
    )


def dataset_from_args(args: argparse.Namespace) -> Dataset:
    """Open the dataset that the flags name; raises `DataError` where it cannot be."""
    from wsss_bench.data.opening import open_dataset

    options: dict[str, Any] = {}
    for item in args.data_option:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise DataError(
                f"--data-option {item!r}: write it as KEY=VALUE, e.g. --data-option train=50"
            )
        options[key.strip().replace("-", "_")] = value.strip()
    for key in ("labels", "train_split", "seeds_split", "val_split"):
        if getattr(args, key) is not None:
            options[key] = getattr(args, key)
    dataset = open_dataset(args.dataset, args.data_root, args.name, **options)
    if args.skip is not None:
        from wsss_bench.data.skipping import skip

        print(skip(dataset, args.skip), file=sys.stderr)
    return dataset
