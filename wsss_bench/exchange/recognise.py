"""The form of a folder of score files, found by comparing their keys with the classes that the images show.

Decided for the folder and never for one image: in one image any reading may fit by chance, over many only the right
one does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wsss_bench.errors import ArtifactError
from wsss_bench.exchange.forms import Form, extra_maps
from wsss_bench.exchange.stored import KEYED, OWN, Stored, read_stored

SAMPLE = 200
"""Files that are looked at, evenly from all of a folder; reading all would double the time of scoring."""

Shown = Callable[[str], Collection[int]]
"""Called with an image id; returns the classes that the image shows, as mask ids."""

_WORDS = {
    1: "counted from 0 (key 0 is the first class)",
    0: "as mask ids (key 0 is the background)",
}


@dataclass
class _Votes:
    """Images in favour of a reading.

    Attributes:
        exact: images whose keys are just the classes that they show.
        partly: images whose keys are some of these, or these and some more.
    """

    exact: int = 0
    partly: int = 0


@dataclass
class _Survey:
    """What a sample of files holds.

    Attributes:
        last: the highest mask id.
        votes: by the mask id that key 0 stands for.
        count: images that have a vote: those with a key or a class.
        keys: every set of keys that occurs in them.
        example: what one of them holds and shows, for messages.
        category_ids: mask id by the source's own class id, where there are such.
        categories: images whose keys are the source's own ids of the classes that they show.
    """

    last: int
    category_ids: Mapping[int, int] = field(default_factory=dict)
    categories: int = 0
    votes: dict[int, _Votes] = field(default_factory=lambda: {1: _Votes(), 0: _Votes()})
    count: int = 0
    keys: set[frozenset[int]] = field(default_factory=set)
    example: str = ""

    def add(self, stored: Stored, extra: int, shown: Collection[int]) -> None:
        keys = frozenset(stored.keys.tolist())
        wanted = frozenset(shown)
        if not keys and not wanted:
            return
        self.count += 1
        self.keys.add(keys)
        for first, votes in self.votes.items():
            # A background key that has no map can only be the background's.
            possible = first == 0 or extra >= 0
            found = {key + first for key in keys} - {0}
            votes.exact += possible and found == wanted
            votes.partly += possible and self._partly(found, wanted)
        self.categories += {self.category_ids.get(key) for key in keys} == wanted
        if not self.example and keys != wanted:
            self.example = (
                f"{stored.path.name} has keys {sorted(keys)[:9]}, "
                f"the image shows classes {sorted(wanted)[:9]}"
            )

    def _partly(self, found: set[int], wanted: frozenset[int]) -> bool:
        within = bool(found) and max(found) <= self.last
        return within and (found <= wanted or wanted <= found)

    def first(self) -> int | None:
        """Return the mask id that key 0 stands for; None where no reading, or more than one, fits most images."""
        half = self.count / 2
        exact = [first for first, votes in self.votes.items() if votes.exact > half]
        if len(exact) == 1:
            return exact[0]
        # Maps of all classes in every file: then their number alone says whether the background is among them.
        if self.keys == {frozenset(range(self.last))}:
            return 1
        partly = [first for first, votes in self.votes.items() if votes.partly > half]
        return partly[0] if len(partly) == 1 else None

    def said(self) -> str:
        """Return what was seen, in a sentence."""
        parts = [
            f"{votes.exact} of {self.count} images have the right classes if keys are read {_WORDS[first]}"
            for first, votes in self.votes.items()
        ]
        if self.categories > self.count / 2:
            number = f"{self.categories} of {self.count}"
            parts.append(f"{number} if they are category ids of the annotations")
        example = f"; {self.example}" if self.example else ""
        return f"{', '.join(parts)}{example}."


def recognise(
    files: Mapping[str, Path],
    shown: Shown,
    classes: Sequence[str],
    array: str | None = None,
    category_ids: Mapping[int, int] | None = None,
) -> tuple[Form, str]:
    """Return the form of score files, and a warning about it, which may be empty.

    Args:
        files: the files by image id, at least one.
        shown: the classes in an image, by its id.
        classes: class names by mask id.
        array: the array to score; None for the usual one.
        category_ids: mask id by the source's own class id, to name such keys where no reading fits.

    Raises:
        ArtifactError: a file is unreadable, files differ in layout, or no reading fits most images, or several do.
    """
    ids = list(files)
    # At least the first: a step of the sample never passes over it.
    sample = ids[:: -(-len(ids) // SAMPLE)]
    survey = _Survey(len(classes) - 1, category_ids or {})
    forms: list[Form] = []
    for image_id in sample:
        stored = read_stored(files[image_id])
        form = _structure(stored, array)
        if form is not None:
            _check_same(forms, form, stored)
            forms.append(form)
        extra = form.extra if form is not None else 0
        survey.add(stored, extra, shown(image_id))
    return _decide(forms, survey, stored.layout, files[ids[0]].parent)


def _structure(stored: Stored, array: str | None) -> Form | None:
    """Return what one file says of the form: all but `Form.first`; None for an image without classes."""
    if not len(stored.keys):
        return None
    name = stored.choose(array)
    extra = extra_maps(stored, name)
    maps = [key for key, held in stored.arrays.items() if held.ndim == 3]
    others = tuple(sorted(set(maps) - {name})) if stored.layout == KEYED else ()
    # A background map without a key, or a key 0, which is the background's where it turns out not to be a class.
    background = extra > 0 or (extra == 0 and 0 in stored.keys)
    return Form(stored.layout, name, 0, extra, background, others)


def _check_same(forms: Sequence[Form], form: Form, stored: Stored) -> None:
    if not forms:
        return
    before = forms[0]
    if form.layout != before.layout:
        differ = (
            f"{stored.path} is {form.layout!r}, files before it are {before.layout!r}"
        )
    elif form.array != before.array:
        differ = f"{stored.path} has the array {form.array!r}, files before it have {before.array!r}"
    elif form.extra != before.extra and len(stored.keys):
        differ = f"{stored.path} has {form.extra:+d} maps to its keys, files before it have {before.extra:+d}"
    else:
        return
    raise ArtifactError(f"{differ}. Keep files of one form in a folder.")


def _decide(
    forms: Sequence[Form], survey: _Survey, layout: str, folder: Path
) -> tuple[Form, str]:
    if not forms:
        # Nothing to read: every reading gives background everywhere.
        return Form(layout, "", 1), ""
    seen = forms[0]
    first = survey.first() if survey.count else 1
    if seen.layout == OWN:
        return _own(seen, survey, folder)
    if first is None:
        what = f"{folder}: which key means which class cannot be told. {survey.said()}"
        check = "Check that the folder belongs to this dataset and split"
        fix = "or write .npz with class_ids (mask ids) and scores."
        raise ArtifactError(f"{what} {check}, {fix}")
    # Keys counted from 0 have no background among them, but for a map that comes without a key.
    background = seen.extra > 0
    if first == 0:
        background = any(form.background for form in forms)
    form = Form(seen.layout, seen.array, first, seen.extra, background, seen.others)
    return form, ""


def _own(seen: Form, survey: _Survey, folder: Path) -> tuple[Form, str]:
    """Return the form of this package's own files, which says itself what its ids are: mask ids."""
    form = Form(OWN, seen.array, 0, 0, False, seen.others)
    half = survey.count / 2
    if survey.votes[1].exact > half:
        what = f"{folder}: class_ids are one too low. {survey.said()}"
        raise ArtifactError(f"{what} Write mask ids: the first class is 1.")
    if not survey.count or survey.votes[0].partly > half:
        return form, ""
    return form, f"class_ids fit the classes of few images: {survey.said()}"


def classes_in(mask: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> frozenset[int]:
    """Return the foreground classes that a true mask shows."""
    counts = np.bincount(mask.ravel(), minlength=256)
    found = np.flatnonzero(counts[1:255]) + 1
    return frozenset(found.tolist())
