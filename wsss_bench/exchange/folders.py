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
_SUFFIXES = {"seeds": (".npz", ".npy"), "labels": (".png",), "prediction": (".png",)}

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
    """``seeds`` for a folder of score files, ``prediction`` for one of PNGs; raises `DataError` for an empty one."""
    names = {path.suffix for path in item_folder(folder).iterdir() if path.is_file()}
    if ".png" in names:
        return "prediction"
    if names & {".npz", ".npy"}:
        return "seeds"
    raise DataError(
        f"{folder} holds no .png, .npz or .npy file. Name the folder that the files themselves lie in."
    )


def item_folder(folder: Path) -> Path:
    """The folder itself, or ``items/`` inside a stage's folder; raises `DataError` if there is none."""
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder. Name the folder that holds one file per image."
        )
    return (
        folder / "items"
        if (folder / "items").is_dir() and (folder / "manifest.json").exists()
        else folder
    )


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
    files = _files(item_folder(folder), masks.ids, _SUFFIXES[kind])
    known, unused = frozenset(masks.ids), 0
    unused = sum(
        p.suffix in _SUFFIXES[kind] and p.stem not in known
        for p in item_folder(folder).iterdir()
    )
    steps = _counted(masks.ids, progress)
    if kind != "seeds":
        counts = CountsBuilder(classes)
        for image_id in steps:
            counts.add(image_id, read_label(files[image_id]), masks[image_id])
        return Scored(
            kind,
            {"labels" if kind == "labels" else "val": counts.result()},
            unused=unused,
        )
    return _score_seeds(files, masks, classes, fixed, steps, unused)


def _score_seeds(
    files: Mapping[str, Path],
    masks: Masks,
    classes: Sequence[str],
    fixed: float | None,
    steps: Iterable[str],
    unused: int,
) -> Scored:
    builder = CurveBuilder(classes)
    if fixed is not None and np.float32(fixed) not in builder.thresholds.astype(
        np.float32
    ):
        builder = CurveBuilder(classes, np.sort(np.append(builder.thresholds, fixed)))
    for image_id in steps:
        truth = masks[image_id]
        seed = read_seed(files[image_id], (truth.shape[0], truth.shape[1]))
        wrong = seed.problems(None)
        if wrong:
            raise ArtifactError(f"{files[image_id]}: {' '.join(wrong)}")
        builder.add(image_id, seed.class_ids, seed.upsampled(), truth)
    curve = builder.result()
    chosen = {"oracle": curve.best()[0], **({} if fixed is None else {"fixed": fixed})}
    counts = {"seeds_best": curve.counts(chosen["oracle"])} | (
        {} if fixed is None else {"seeds_fixed": curve.counts(fixed)}
    )
    return Scored("seeds", counts, curve, chosen, unused)


def _files(
    folder: Path, ids: Sequence[str], suffixes: Sequence[str]
) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for image_id in ids:
        there = next(
            (
                p
                for suffix in suffixes
                if (p := folder / f"{image_id}{suffix}").exists()
            ),
            None,
        )
        if there is not None:
            found[image_id] = there
    missing = [i for i in ids if i not in found]
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} of {len(ids)} images have no {' or '.join(suffixes)} file (first: {missing[0]!r}). "
            "Every image of the split is scored; name another split, or write the missing files."
        )
    return found


def _counted(ids: Sequence[str], progress: Progress | None) -> Iterable[str]:
    for index, image_id in enumerate(ids, 1):
        yield image_id
        if progress is not None:
            progress("score", index, len(ids))


def read_label(path: Path) -> NDArray[np.uint8]:
    """Class indices of a palette or 8-bit greyscale PNG, ``uint8 [H, W]``; raises `ArtifactError` for any other file."""
    from PIL import Image

    try:
        with Image.open(path) as handle:
            if handle.mode not in ("P", "L"):
                raise ArtifactError(
                    f"{path} is a {handle.mode} image: colours. Write class indices: a palette or 8-bit greyscale PNG."
                )
            check_png(path)
            return np.asarray(handle, dtype=np.uint8)
    except ArtifactError:
        raise
    except Exception as error:  # a damaged file may raise anything inside its decoder
        raise ArtifactError(
            f"{path} cannot be read ({error}). Write the file again."
        ) from error
