"""What label maps were scored on: image ids and the truth's pixels by class, as the counts of every record hold them.

Only scores on one set of images and masks may be ranked against each other.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from wsss_bench.evaluate.arrays import Ints
from wsss_bench.evaluate.counts import Counts
from wsss_bench.results.records import RunRecord

ROLES = {
    "seeds_best": "seeds",
    "seeds_fixed": "seeds",
    "labels": "seeds",
    "val": "val",
    "val_crf": "val",
}
"""The role of the split that each kind of score is taken on."""


@dataclass(frozen=True)
class ScoredOn:
    """Images and the masks they were scored against; two are equal where both agree.

    Attributes:
        digest: of ids and pixel counts.
        ids: the image ids, sorted.
        truth: ``int64 [N, C+1]`` pixels of each class in the truth, in the order of `ids`.
    """

    digest: str
    ids: tuple[str, ...] = field(compare=False, repr=False)
    truth: Ints = field(compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.ids)


class Sets:
    """The sets met so far, each held once: a hundred runs on one split share its ids and pixel counts."""

    def __init__(self) -> None:
        self._known: dict[str, ScoredOn] = {}

    def of(self, counts: Counts) -> ScoredOn:
        """Return what some counts were scored on."""
        found = scored_on(counts)
        return self._known.setdefault(found.digest, found)

    def common(self, seeds: Iterable[Counts | None]) -> ScoredOn | None:
        """Return what all seeds that have a score share; None where there is none, or they saw different sets."""
        found = {self.of(counts) for counts in seeds if counts is not None}
        return found.pop() if len(found) == 1 else None


def scored_on(counts: Counts) -> ScoredOn:
    """Return what counts were scored on; the order of their images does not matter."""
    ids = tuple(sorted(counts.ids))
    truth = counts.rows(ids)[..., 2]
    # Of one byte order, so that boards are the same on every machine.
    pixels = np.ascontiguousarray(truth, "<i8")
    digest = hashlib.sha256("\0".join(ids).encode())
    digest.update(b"\0\0")
    digest.update(pixels.tobytes())
    return ScoredOn(digest.hexdigest(), ids, truth)


def digests(records: Iterable[RunRecord], what: str) -> dict[str, str]:
    """Return the digest of what each run that has a kind of score was scored on, by run id.

    Raises:
        ArtifactError: a counts file is missing or unsound.
    """
    found = {}
    for record in records:
        # One at a time: the counts themselves are not kept.
        counts = record.load_counts(what)
        if counts is not None:
            found[record.run_id] = scored_on(counts).digest
    return found


def differences(other: ScoredOn, main: ScoredOn, whose: str) -> str:
    """Return how one set differs from another, as the end of a sentence; "" where they are the same.

    Args:
        other: the set to describe.
        main: the set it is measured against.
        whose: what the images of `main` are called, as in ``"the {} of the main section"``.
    """
    theirs = dict(zip(main.ids, main.truth, strict=True))
    shared = changed = 0
    for image_id, truth in zip(other.ids, other.truth, strict=True):
        if image_id in theirs:
            shared += 1
            changed += not np.array_equal(truth, theirs[image_id])
    found = _overlap(shared, other, main, whose)
    if changed == 0:
        return found
    masks = f"other masks on {changed} of them"
    return f"{found}, {masks}" if found else masks


def _overlap(shared: int, one: ScoredOn, reference: ScoredOn, whose: str) -> str:
    """Return which of the images are shared, or "" where all are."""
    other, main = len(one), len(reference)
    named = whose.format(main)
    if shared == other == main:
        return ""
    if shared == 0:
        return f"none of {named}"
    if shared == other:
        return f"a part of {named}"
    if shared == main:
        return f"{named} and {other - main} more"
    return f"{shared} of {named} and {other - shared} others"


def images_of(number: int, splits: Sequence[str]) -> str:
    """Return ``80 images of val``; several names where runs call one set differently."""
    plural = "image" if number == 1 else "images"
    return f"{number} {plural} of {' / '.join(splits)}"


def splits_of(records: Iterable[RunRecord], what: str) -> tuple[str, ...]:
    """Return what runs call the split that a kind of score is taken on, each name once, sorted."""
    role = ROLES[what]
    names = set()
    for record in records:
        name = record.dataset["splits"].get(role, "-")
        names.add(str(name))
    return tuple(sorted(names))


def most_common(found: Sequence[ScoredOn]) -> ScoredOn:
    """Return the set that most of some scores were taken on; ties by most images, then by digest."""
    times = Counter(found)
    return max(times, key=lambda one: (times[one], len(one), one.digest))
