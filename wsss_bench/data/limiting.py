"""A few images of every split, for a rehearsal of a long run: which ones, and what such data are called."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Protocol


class Limited(Protocol):
    """A dataset, as far as it is limited."""

    limit: int
    name: str


WORD = "-limit"
"""Stands between the dataset's name and the number, in the name of a rehearsal's data."""


def chosen(
    ids: Sequence[str], count: int, before: Collection[str] = ()
) -> tuple[str, ...]:
    """Return at most `count` of the ids, in their order.

    Which ones follows from the ids alone: those of the smallest digest, first of those that are in `before`. So a
    smaller rehearsal has images of a larger one, and two splits that share images share the chosen ones.
    """

    def rank(image_id: str) -> tuple[bool, str]:
        digest = hashlib.sha256(image_id.encode(errors="surrogateescape")).hexdigest()
        return image_id not in before, digest

    kept = frozenset(sorted(ids, key=rank)[:count])
    return tuple(image_id for image_id in ids if image_id in kept)


def limit(dataset: Limited, count: int) -> None:
    """Let every split of `dataset` have `count` images at most from now on, under a name of its own."""
    dataset.limit = count
    dataset.name = f"{plain_name(dataset.name)}{WORD}{count}"


def plain_name(name: str) -> str:
    """Return the name of the whole data that a rehearsal's name is made of."""
    before, word, number = name.rpartition(WORD)
    return before if word and number.isdigit() else name
