"""`open_dataset`: from a kind and a root to a `Dataset`; `verify_dataset`: what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wsss_bench.data.base import ROLES, ROOT_VARIABLE, Dataset, Finding, Progress
from wsss_bench.data.options import check_options
from wsss_bench.data.registry import KINDS, Listing
from wsss_bench.errors import DataError, WsssError

__all__ = ["KINDS", "open_dataset", "verify_dataset"]

_ATTRIBUTES = {"name": str, "classes": tuple, "root": Path, "labels_source": str}


def open_dataset(
    kind: str, root: Path | None = None, name: str | None = None, **options: Any
) -> Dataset:
    """Open a dataset without reading its images.

    Args:
        kind: a key of `KINDS`: a bundled kind, or one that an installed distribution brings.
        root: data root; else the environment variable ``WSSS_BENCH_DATA_ROOT``; `shapes` alone has a default of its
            own, ``work_dirs/data`` under the working directory.
        name: what tables call it; default `kind`.
        options: the kind's own (strings as a command line gives them are understood), and ``train_split``,
            ``seeds_split``, ``val_split``. An option that is None counts as not given.

    Raises:
        DataError: unknown kind or option, a root that does not hold the dataset, or a third party's kind that is
            broken.
    """
    listing = KINDS.find(kind)
    loaded = listing.load()
    given = {key: value for key, value in options.items() if value is not None}
    check_options(kind, given, loaded.options)
    if root is None and os.environ.get(ROOT_VARIABLE):
        root = Path(os.environ[ROOT_VARIABLE])
    # A fault of our own keeps its traceback; a third party's is told apart from ours, and named.
    try:
        dataset = loaded.loader(root, name or kind, given)
    except WsssError:
        raise
    except Exception as error:
        if not listing.origin:
            raise
        raise _fault(listing, "opening", error) from error
    for what in _faults(dataset, kind):
        raise DataError(f"{listing.who}: {what}")
    dataset.options = given
    dataset.origin = listing.origin
    return dataset


def verify_dataset(dataset: Dataset, progress: Progress | None = None) -> list[Finding]:
    """Read everything: counts, files, palettes, sizes, labels against masks.

    Returns:
        What was found, errors first; no finding above ``"info"`` means that all is well.

    Raises:
        DataError: the verifier of a third party's kind is broken.
    """
    listing = KINDS.find(dataset.kind)
    verify = listing.load().verify
    if verify is None:
        from wsss_bench.data.verifying import verify_images

        return verify_images(dataset, progress)
    try:
        return verify(dataset, progress)
    except WsssError:
        raise
    except Exception as error:
        if not listing.origin:
            raise
        raise _fault(listing, "verifying", error) from error


def _fault(listing: Listing, doing: str, error: Exception) -> DataError:
    reason = f"{type(error).__name__}: {error}"
    fix = f"Report it to the authors of {listing.distribution}."
    return DataError(f"{listing.who}: {doing} it failed with {reason}. {fix}")


def _faults(dataset: Any, kind: str) -> Iterator[str]:
    """Yield what a loader's result lacks of a dataset."""
    if not isinstance(dataset, Dataset):
        yield f"the loader made a {type(dataset).__name__}, not a Dataset."
        return
    if getattr(dataset, "kind", None) != kind:
        yield f"`kind` of {type(dataset).__name__} must be {kind!r}."
    for attribute, of in _ATTRIBUTES.items():
        if not isinstance(getattr(dataset, attribute, None), of):
            yield f"the loader must set `{attribute}`, a {of.__name__}."
    if getattr(dataset, "classes", ())[:1] != ("background",):
        yield "`classes` must begin with 'background'; mask id k is classes[k]."
    # 255 means "ignored" in masks, and the palette has no more colours.
    if not 2 <= len(dataset.classes) <= 255:
        yield "`classes` must name 1 to 254 classes besides the background."
    splits = getattr(dataset, "splits", None)
    if not all(isinstance(getattr(splits, role, None), str) for role in ROLES):
        yield "the loader must set `splits`, a Splits."
