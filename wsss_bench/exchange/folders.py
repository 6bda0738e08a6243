"""Score a folder of other people's files: masks as PNG, class scores as ``.npz`` or ``.npy``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.evaluate.counts import Counts, CountsBuilder
from wsss_bench.evaluate.curves import CurveBuilder, ThresholdCurve
from wsss_bench.exchange.legacy import read_seed
from wsss_bench.io.images import check_png

KINDS = ("seeds", "labels", "prediction")
"""What a folder may hold."""

# Of two files of one image, the first suffix counts.
_SUFFIXES = {
    "seeds": (".npz", ".npy"),
    "labels": (".png",),
    "prediction": (".png",),
}

Progress = Callable[[str, int, int], None]


class Masks(Protocol):
    """What is needed of the truth: the ids of the split, and one mask by id."""

    @property
    def ids(self) -> Sequence[str]:
        """Image ids of the split, in order."""

    def __getitem__(self, image_id: str) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class Scored:
    """What a folder scored.

    Attributes:
        kind: one of `KINDS`.
        counts: by the names a run record uses: ``seeds_best`` and ``seeds_fixed``, or ``labels``, or ``val``.
        curve: the threshold curve, for seeds.
        thresholds: ``oracle`` and ``fixed``, for seeds.
        unused: files of the folder that belong to no image of the split.
    """

    kind: str
    counts: Mapping[str, Counts]
    curve: ThresholdCurve | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    unused: int = 0


def guess_kind(folder: Path) -> str:
    """Return ``seeds`` for a folder of score files, ``prediction`` for one of PNGs; raises `DataError` for neither."""
    files = filter(Path.is_file, item_folder(folder).iterdir())
    suffixes = {path.suffix for path in files}
    if ".png" in suffixes:
        return "prediction"
    if suffixes & {".npz", ".npy"}:
        return "seeds"
    fix = "Name the folder that the files themselves lie in."
    raise DataError(f"{folder} holds no .png, .npz or .npy file. {fix}")


def item_folder(folder: Path) -> Path:
    """Return the folder itself, or ``items/`` inside a stage's folder; raises `DataError` if there is none."""
    if not folder.is_dir():
        fix = "Name the folder that holds one file per image."
        raise DataError(f"{folder} is no folder. {fix}")
    items = folder / "items"
    is_stage = items.is_dir() and (folder / "manifest.json").exists()
    return items if is_stage else folder


def score_folder(
    folder: Path,
    masks: Masks,
    classes: Sequence[str],
    kind: str,
    fixed: float | None = None,
    progress: Progress | None = None,
) -> Scored:
    """Score every image of the split against the file of the same name.

    Args:
        folder: one file per image, named after the image id.
        masks: the truth.
        classes: class names by mask id.
        kind: one of `KINDS`; labels and predictions differ in where a board shows them, not in how they are counted.
        fixed: also count the seeds at this threshold; None for the oracle alone.
        progress: called after each image.

    Raises:
        DataError: an image of the split has no file.
        ArtifactError: a file is unreadable or breaks the rules; the message names it.
    """
    source, suffixes = item_folder(folder), _SUFFIXES[kind]
    files = _files(source, masks.ids, suffixes)
    unused = _count_unused(source, masks.ids, suffixes)
    steps = _counted(masks.ids, progress)
    if kind == "seeds":
        return _score_seeds(files, masks, classes, fixed, steps, unused)
    counts = CountsBuilder(classes)
    for image_id in steps:
        counts.add(image_id, read_label(files[image_id]), masks[image_id])
    name = "labels" if kind == "labels" else "val"
    return Scored(kind, {name: counts.result()}, unused=unused)


def _score_seeds(
    files: Mapping[str, Path],
    masks: Masks,
    classes: Sequence[str],
    fixed: float | None,
    steps: Iterable[str],
    unused: int,
) -> Scored:
    builder = _curve_builder(classes, fixed)
    for image_id in steps:
        truth = masks[image_id]
        size = (truth.shape[0], truth.shape[1])
        seed = read_seed(files[image_id], size)
        wrong = seed.problems(None)
        if wrong:
            raise ArtifactError(f"{files[image_id]}: {' '.join(wrong)}")
        builder.add(image_id, seed.class_ids, seed.upsampled(), truth)
    curve = builder.result()
    oracle, _ = curve.best()
    thresholds = {"oracle": oracle}
    counts = {"seeds_best": curve.counts(oracle)}
    if fixed is not None:
        thresholds["fixed"] = fixed
        counts["seeds_fixed"] = curve.counts(fixed)
    return Scored("seeds", counts, curve, thresholds, unused)


def _curve_builder(classes: Sequence[str], fixed: float | None) -> CurveBuilder:
    """Return a builder that sweeps the usual thresholds, and `fixed` among them."""
    builder = CurveBuilder(classes)
    # Compared as the scores are, in float32: a threshold that is there already would not increase strictly.
    swept = builder.thresholds.astype(np.float32)
    if fixed is None or np.float32(fixed) in swept:
        return builder
    thresholds = np.append(builder.thresholds, fixed)
    return CurveBuilder(classes, np.sort(thresholds))


def _files(
    folder: Path, ids: Sequence[str], suffixes: Sequence[str]
) -> dict[str, Path]:
    """Return the file of every image; raises `DataError` where one has none."""
    found: dict[str, Path] = {}
    for image_id in ids:
        candidates = (folder / f"{image_id}{suffix}" for suffix in suffixes)
        path = next(filter(Path.exists, candidates), None)
        if path is not None:
            found[image_id] = path
    missing = [image_id for image_id in ids if image_id not in found]
    if missing:
        wanted = " or ".join(suffixes)
        what = f"{len(missing)} of {len(ids)} images have no {wanted} file"
        # A mean over the files that happen to be there would be a number of another split.
        rule = "Every image of the split is scored"
        fix = "name another split, or write the missing files."
        raise DataError(f"{folder}: {what} (first: {missing[0]!r}). {rule}; {fix}")
    return found


def _count_unused(folder: Path, ids: Sequence[str], suffixes: Sequence[str]) -> int:
    known = frozenset(ids)
    files = (path for path in folder.iterdir() if path.suffix in suffixes)
    return sum(path.stem not in known for path in files)


def _counted(ids: Sequence[str], progress: Progress | None) -> Iterable[str]:
    """Yield the ids, and report each when its work is done: when the next one is asked for."""
    for index, image_id in enumerate(ids, 1):
        yield image_id
        if progress is not None:
            progress("score", index, len(ids))


def read_label(path: Path) -> NDArray[np.uint8]:
    """Return the class indices of a palette or 8-bit greyscale PNG, ``uint8 [H, W]``.

    Raises:
        ArtifactError: the file is missing, damaged, or a picture in colours.
    """
    from PIL import Image

    try:
        with Image.open(path) as handle:
            if handle.mode not in ("P", "L"):
                what = f"{path} is a {handle.mode} image: colours."
                fix = "Write class indices: a palette or 8-bit greyscale PNG."
                raise ArtifactError(f"{what} {fix}")
            check_png(path)
            # Not converted: the indices of a palette image are the labels, its colours are for the eye.
            return np.asarray(handle, dtype=np.uint8)
    except ArtifactError:
        raise
    except Exception as error:  # a damaged file may raise anything inside its decoder
        message = f"{path} cannot be read ({error}). Write the file again."
        raise ArtifactError(message) from error
