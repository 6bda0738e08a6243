"""`open_dataset`: from a kind and a root to a `Dataset`."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from wsss_bench.data.base import ROOT_VARIABLE, Dataset, check_options
from wsss_bench.errors import DataError, did_you_mean

KINDS: dict[str, str] = {
    "shapes": "wsss_bench.data.shapes.dataset:ShapesDataset",
    "voc2012": "wsss_bench.data.voc.dataset:VocDataset",
    "coco2014": "wsss_bench.data.coco.dataset:CocoDataset",
}
"""Dataset kinds and the loaders behind them, imported on first use."""


def open_dataset(
    kind: str, root: Path | None = None, name: str | None = None, **options: Any
) -> Dataset:
    """Open a dataset without reading its images.

    Args:
        kind: a key of `KINDS`.
        root: data root; else the environment variable ``WSSS_BENCH_DATA_ROOT``; `shapes` alone has a default of its own,
            ``work_dirs/data`` under the working directory.
        name: what tables call it; default `kind`.
        options: the loader's own (strings as a command line gives them are understood), and ``train_split``,
            ``seeds_split``, ``val_split``. An option that is None counts as not given.

    Raises:
        DataError: unknown kind or option, or a root that does not hold the dataset.
    """
    if kind not in KINDS:
        raise DataError(f"there is no dataset {kind!r}.{did_you_mean(kind, KINDS)}")
    module, _, attribute = KINDS[kind].partition(":")
    loader = getattr(import_module(module), attribute)
    given = {key: value for key, value in options.items() if value is not None}
    check_options(kind, given, loader.known_options)
    if root is None and os.environ.get(ROOT_VARIABLE):
        root = Path(os.environ[ROOT_VARIABLE])
    dataset: Dataset = loader(root, name or kind, given)
    dataset.options = given
    return dataset


def find_folder(
    kind: str, root: Path | None, candidates: tuple[str, ...], marker: str, how: str
) -> Path:
    """The first of ``root/candidate`` that holds `marker`; raises `DataError` saying where it looked and how to get the data."""
    if root is None:
        raise DataError(
            f"dataset {kind!r} needs a data root: pass --data-root or set {ROOT_VARIABLE}. {how}"
        )
    root = Path(root).expanduser()
    for candidate in candidates:
        if (root / candidate / marker).exists():
            return root / candidate
    if not root.exists():
        raise DataError(f"data root {root} does not exist. {how}")
    looked = ", ".join(str(root / candidate / marker) for candidate in candidates)
    raise DataError(f"no {kind} under {root} (looked for {looked}). {how}")
