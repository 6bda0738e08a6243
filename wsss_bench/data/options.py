"""Options of datasets: the names that a kind takes, and their values as command lines hand them over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsss_bench.data.base import ROLES, Splits
from wsss_bench.errors import DataError, did_you_mean

SPLIT_OPTIONS = tuple(f"{role}_split" for role in ROLES)
"""Options that every kind takes: ``train_split``, ``seeds_split``, ``val_split``."""


def check_options(
    kind: str, options: Mapping[str, Any], known: Mapping[str, str]
) -> None:
    """Refuse an option that the kind does not take.

    Args:
        kind: the name of the kind, for messages.
        options: the options as given.
        known: what the kind takes, each option with a few words that explain it; all take `SPLIT_OPTIONS` besides.

    Raises:
        DataError: an unknown option; the message has the near misses and explains what there is.
    """
    names = (*known, *SPLIT_OPTIONS)
    for option in options:
        if option not in names:
            what = f"dataset {kind!r} has no option {option!r}."
            explained = explain_options(known)
            own = f" Its own: {explained}." if explained else ""
            raise DataError(f"{what}{did_you_mean(option, names)}{own}")


def explain_options(options: Mapping[str, str]) -> str:
    """Return ``name (explanation), name (explanation)`` for help texts and messages; empty where there are none."""
    return ", ".join(f"{name} ({words})" for name, words in options.items())


def choose_splits(default: Splits, options: Mapping[str, Any]) -> Splits:
    """Return the default roles with the user's ``train_split``, ``seeds_split`` and ``val_split`` put in."""
    return Splits(
        train=str(options.get("train_split") or default.train),
        seeds=str(options.get("seeds_split") or default.seeds),
        val=str(options.get("val_split") or default.val),
    )


def integer_option(
    kind: str, options: Mapping[str, Any], name: str, default: int, low: int, high: int
) -> int:
    """Return an integer option in [low, high]; raises `DataError` for anything else."""
    value = options.get(name, default)
    # Command lines hand strings over, and 12.5 must not quietly become 12.
    try:
        number = int(str(value))
    except ValueError:
        what = f"dataset {kind!r}: option {name}={value!r}"
        raise DataError(f"{what} is not an integer.") from None
    if not low <= number <= high:
        what = f"dataset {kind!r}: option {name}={number}"
        raise DataError(f"{what} must lie in {low}..{high}.")
    return number
