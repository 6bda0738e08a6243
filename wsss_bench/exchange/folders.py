"""Score a folder of other people's files: masks as PNG, class scores as ``.npz`` or ``.npy``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.view import IGNORE
from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.evaluate.counts import Counts, CountsBuilder
from wsss_bench.evaluate.curves import CurveBuilder, ThresholdCurve
from wsss_bench.exchange.labels import read_label
from wsss_bench.exchange.legacy import read_seed
from wsss_bench.exchange.listing import Listing, guess_kind, item_folder, listing
from wsss_bench.exchange.recognise import classes_in, recognise
from wsss_bench.exchange.slips import Reading, cause, doubts

__all__ = [
    "KINDS",
    "Known",
    "Masks",
    "Scored",
    "guess_kind",
    "item_folder",
    "read_label",
    "score_folder",
]

KINDS = ("seeds", "labels", "prediction")
"""What a folder may hold."""

_SAMPLE = 50
"""Label maps whose values are looked at to tell why one of them is out of range."""


Progress = Callable[[str, int, int], None]
"""Called with the step, and how many of how many images are done."""


class Masks(Protocol):
    """What is needed of the truth: the ids of the split, and one mask by id."""

    @property
    def ids(self) -> Sequence[str]:
        """Image ids of the split, in order."""

    def __getitem__(self, image_id: str) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class Known:
    """What is known beside the files.

    Attributes:
        labels: the classes of each image, where the split has image-level labels; else its masks tell.
        category_ids: mask id by the source's own class id; see `wsss_bench.data.base.Dataset`.
        array: the array of a score file to score; None for the usual one.
    """

    labels: Mapping[str, Collection[int]] | None = None
    category_ids: Reading = field(default_factory=dict)
    array: str | None = None


@dataclass(frozen=True)
class Scored:
    """What a folder scored.

    Attributes:
        kind: one of `KINDS`.
        counts: by the names a run record uses: ``seeds_best`` and ``seeds_fixed``, or ``labels``, or ``val``.
        curve: the threshold curve, for seeds.
        thresholds: ``oracle`` and ``fixed``, for seeds.
        unused: files of the folder that belong to no image of the split.
        read_as: for seeds, the form that the files were found to have.
        warnings: what is doubtful about the files, in sentences.
        ignored: whether the truth leaves out any pixel (255).
    """

    kind: str
    counts: Mapping[str, Counts]
    curve: ThresholdCurve | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    unused: int = 0
    read_as: str = ""
    warnings: tuple[str, ...] = ()
    ignored: bool = True


@dataclass
class _Truth:
    """The true masks, and whether any pixel of those that were read is left out."""

    masks: Masks
    ignored: bool = False

    def __getitem__(self, image_id: str) -> NDArray[np.uint8]:
        mask = self.masks[image_id]
        self.ignored = self.ignored or bool((mask == IGNORE).any())
        return mask


def score_folder(
    folder: Path,
    masks: Masks,
    classes: Sequence[str],
    kind: str,
    fixed: float | None = None,
    progress: Progress | None = None,
    known: Known | None = None,
) -> Scored:
    """Score every image of the split against the file of the same name.

    Args:
        folder: one file per image, named after the image id.
        masks: the truth.
        classes: class names by mask id.
        kind: one of `KINDS`; labels and predictions differ in where a board shows them, not in how they are counted.
        fixed: also count the seeds at this threshold, within 0..1; None for the oracle alone.
        progress: called after each image.
        known: what is known beside the files.

    Raises:
        DataError: an image of the split has no file, or `fixed` is no threshold.
        ArtifactError: a file is unreadable or breaks the rules, or the form of score files cannot be told; the message
            names it.
    """
    if fixed is not None and not 0 <= fixed <= 1:
        percent = f" {fixed:g} % is given as {fixed / 100:g}." if fixed > 1 else ""
        what = f"the threshold {fixed:g} lies outside 0..1, where scores are."
        raise DataError(f"{what} Name another.{percent}")
    found = listing(folder, kind)
    files = found.of(masks.ids)
    steps = _counted(masks.ids, progress)
    job = _Job(found, files, _Truth(masks), tuple(classes), known or Known())
    if kind == "seeds":
        return _score_seeds(job, fixed, steps)
    return _score_labels(job, kind, steps)


@dataclass(frozen=True)
class _Job:
    """Files, truth, and what is known of both."""

    found: Listing
    files: Mapping[str, Path]
    truth: _Truth
    classes: tuple[str, ...]
    known: Known

    @property
    def unused(self) -> int:
        return self.found.unused(self.files)

    def shown(self, image_id: str) -> Collection[int]:
        """Return the classes that an image shows."""
        labels = self.known.labels
        if labels is not None and image_id in labels:
            return labels[image_id]
        return classes_in(self.truth[image_id])


def _score_labels(job: _Job, kind: str, steps: Iterable[str]) -> Scored:
    builder = CountsBuilder(job.classes)
    for image_id in steps:
        label = read_label(job.files[image_id])
        _check_values(job, image_id, label)
        builder.add(image_id, label, job.truth[image_id])
    counts = builder.result()
    name = "labels" if kind == "labels" else "val"
    what = "labels" if kind == "labels" else "predictions"
    return Scored(
        kind,
        {name: counts},
        unused=job.unused,
        warnings=tuple(doubts(counts, what, job.known.category_ids)),
        ignored=job.truth.ignored,
    )


def _check_values(job: _Job, image_id: str, label: NDArray[np.uint8]) -> None:
    """Raise `ArtifactError` for values that are no class, and say what they seem to be."""
    last = len(job.classes) - 1
    foreign = _outside(label, last)
    if not foreign:
        return
    # One image shows few classes; others tell more about what the values are.
    values = set(foreign)
    for path in list(job.files.values())[:_SAMPLE]:
        values.update(np.unique(read_label(path)).tolist())
    name = job.files[image_id].name
    what = f"image {image_id!r}: the prediction {name} holds {foreign[:10]}"
    allowed = f"allowed are 0..{last} and {IGNORE}."
    guess = cause(values, last + 1, job.known.category_ids)
    fix = guess or "Write class indices (palette or greyscale PNG), not colours."
    raise ArtifactError(f"{what}; {allowed} {fix}")


def _outside(label: NDArray[np.uint8], last: int) -> list[int]:
    counts = np.bincount(label.ravel(), minlength=IGNORE + 1)
    outside = np.flatnonzero(counts[last + 1 : IGNORE]) + last + 1
    return [int(value) for value in outside]


def _score_seeds(job: _Job, fixed: float | None, steps: Iterable[str]) -> Scored:
    known = job.known
    form, doubt = recognise(
        job.files, job.shown, job.classes, known.array, known.category_ids
    )
    builder = _curve_builder(job.classes, fixed)
    for image_id in steps:
        truth = job.truth[image_id]
        size = (truth.shape[0], truth.shape[1])
        seed = read_seed(job.files[image_id], size, form)
        wrong = seed.problems(None)
        if wrong:
            raise ArtifactError(f"{job.files[image_id]}: {' '.join(wrong)}")
        builder.add(image_id, seed.class_ids, seed.upsampled(), truth)
    curve = builder.result()
    oracle, _ = curve.best()
    thresholds = {"oracle": oracle}
    counts = {"seeds_best": curve.counts(oracle)}
    if fixed is not None:
        thresholds["fixed"] = fixed
        counts["seeds_fixed"] = curve.counts(fixed)
    return Scored(
        "seeds",
        counts,
        curve,
        thresholds,
        unused=job.unused,
        read_as=form.describe(job.classes),
        warnings=tuple(filter(None, [doubt, *doubts(counts["seeds_best"], "seeds")])),
        ignored=job.truth.ignored,
    )


def _curve_builder(classes: Sequence[str], fixed: float | None) -> CurveBuilder:
    """Return a builder that sweeps the usual thresholds, and `fixed` among them."""
    builder = CurveBuilder(classes)
    # Compared as the scores are, in float32: a threshold that is there already would not increase strictly.
    swept = builder.thresholds.astype(np.float32)
    if fixed is None or np.float32(fixed) in swept:
        return builder
    thresholds = np.append(builder.thresholds, fixed)
    return CurveBuilder(classes, np.sort(thresholds))


def _counted(ids: Sequence[str], progress: Progress | None) -> Iterable[str]:
    """Yield the ids, and report each when its work is done: when the next one is asked for."""
    for index, image_id in enumerate(ids, 1):
        yield image_id
        if progress is not None:
            progress("score", index, len(ids))
