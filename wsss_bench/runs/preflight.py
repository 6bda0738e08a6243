"""What a run will need at its end, looked at before its first stage: folders, records, weights, splits, masks, photos.

Nothing here is computed or kept. The checks are in the order of what they cost; `wsss_bench.runs.request.make_cells`
calls them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.errors import ArtifactError, DataError, RecipeError, did_you_mean
from wsss_bench.io.installed import installed_file, is_package

if TYPE_CHECKING:
    from wsss_bench.data.base import Dataset
    from wsss_bench.data.masks import SealedMasks
    from wsss_bench.methods.params import Resolved, StageParams

NAMED_WEIGHTS = ("imagenet", "timm")
"""Values of ``weights`` that name what a library fetches, and no file."""

_SUFFIXES = (
    ".pth",
    ".pt",
    ".tar",
    ".npz",
    ".npy",
    ".safetensors",
    ".ckpt",
    ".bin",
    ".params",
    ".caffemodel",
)


def check_places(places: Mapping[str, Sequence[Path]], *, probe: bool = True) -> None:
    """Check that folders can be written; `places` holds them by the flag that names another.

    With `probe` a file without a name is made, as the surest way to know; it is gone at once.

    Raises:
        ArtifactError: one of them cannot.
    """
    for flag, folders in places.items():
        for folder in folders:
            wrong = unwritable(folder, probe=probe)
            if wrong is not None:
                what = f"{flag} {folder} cannot be written: {wrong}."
                raise ArtifactError(f"{what} Choose another {flag}.")


def unwritable(folder: Path, *, probe: bool = True) -> str | None:
    """Return why a folder, or the nearest of its parents that exists, takes no files; None where it does."""
    from wsss_bench.doctor.findings import nearest

    try:
        there = nearest(folder)
    except OSError as error:
        return error.strerror or str(error)
    if not there.is_dir():
        return f"{there} is no folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{there} allows no writing"
    if not probe:
        return None
    # Permissions do not tell all: a network drive, a quota, or the owner of the process may have the last word.
    try:
        with tempfile.TemporaryFile(dir=there):
            return None
    except OSError as error:
        return f"{there}: {error.strerror or error}"


def check_weights(resolved: Sequence[Resolved], weights: str | None = None) -> None:
    """Check that the files and folders which parameters name are there; `weights` is the value of ``--weights``.

    Raises:
        RecipeError: one is not.
    """
    if weights is not None and weights not in NAMED_WEIGHTS:
        _check_weights("--weights", weights)
    for recipe in resolved:
        for stage, params in _stages(recipe):
            _check_params(str(recipe.recipe), stage, params)


def _stages(resolved: Resolved) -> Iterator[tuple[str, StageParams]]:
    yield from resolved.params.items()
    if resolved.retrain is not None:
        yield "refine", resolved.retrain[1]


def _check_params(recipe: str, stage: str, params: StageParams) -> None:
    value = params.resolved.get("weights")
    if isinstance(value, str) and (is_package(value) or _is_file_name(value)):
        _check_weights(f"recipe {recipe!r}: {stage}.weights", value)
    for key, given in params.passed.items():
        # Only what the user has passed: a default may name a folder that the stage makes.
        if key.endswith("_dir") and isinstance(given, str) and given:
            _check_folder(f"recipe {recipe!r}: {stage}.{key}", given)


def _is_file_name(value: str) -> bool:
    """Return whether a value of ``weights`` can only be meant as a file; ``"org/name"`` may be a name in a library."""
    return value.startswith(("/", "./", "../", "~")) or value.endswith(_SUFFIXES)


def _check_weights(what: str, value: str) -> None:
    if is_package(value):
        try:
            installed_file(value)
        except ArtifactError as error:
            raise RecipeError(f"{what}: {error}") from error
        return
    if Path(value).is_file():
        return
    names = ", ".join([*NAMED_WEIGHTS, "pip:PACKAGE"])
    fix = f"Give an existing file, or a name that the method knows ({names})."
    raise RecipeError(f"{what}: {value!r} is no file. {fix}")


def _check_folder(what: str, value: str) -> None:
    if not Path(value).exists():
        raise RecipeError(f"{what}: {value!r} does not exist. Give an existing folder.")


def check_splits(dataset: Dataset) -> None:
    """Raise `DataError` where a split that has a role does not exist; reads no photograph and draws nothing."""
    from wsss_bench.data.base import ROLES

    there = dataset.available_splits()
    for role in ROLES:
        split = getattr(dataset.splits, role)
        if split in there:
            continue
        # A kind may know a split by other names too, and can be asked for them once its lists are there.
        if dataset.ready() and _is_alias(dataset, split):
            continue
        what = f"{dataset.name} has no split {split!r} (--{role}-split)."
        raise DataError(what + did_you_mean(split, there))


def _is_alias(dataset: Dataset, split: str) -> bool:
    try:
        dataset.image_view(split)
    except DataError:
        return False
    return True


def check_masks(dataset: Dataset, *, made: bool = True) -> None:
    """Check that the masks of the scored splits are there, and that the first of each can be read.

    Without `made`, masks that are derived from something else may not be there yet, and are not asked for.

    Raises:
        DataError: a split has none, one is missing, or the first is no mask of these classes.
    """
    for role in ("seeds", "val"):
        masks = dataset.masks(getattr(dataset.splits, role))
        if not masks.ids:
            what = f"split {getattr(dataset.splits, role)!r} has no masks"
            raise DataError(f"{dataset.name}: {what} (--{role}-split).")
        if masks.derived:
            if not made:
                continue
        else:
            _check_mask_files(masks)
        # One is opened: the wrong folder, palette or size shows in each.
        masks[masks.ids[0]]


def _check_mask_files(masks: SealedMasks) -> None:
    from wsss_bench.data.masks import missing_mask

    paths = {image_id: masks.path(image_id) for image_id in masks.ids}
    missing = missing_files(paths)
    if missing:
        raise missing_mask(paths[missing[0]])


def check_photographs(dataset: Dataset) -> None:
    """Raise `DataError` where a photograph of a list is not on disk; reads none.

    Whatever is wrong with the lists is said here too.
    """
    from wsss_bench.data.base import ROLES

    # Two roles may share a split.
    for split in dict.fromkeys(getattr(dataset.splits, role) for role in ROLES):
        view = dataset.image_view(split)
        paths = {image.id: image.path for image in view}
        missing = missing_files(paths)
        if not missing:
            continue
        first = missing[0]
        what = f"image {first!r} is listed but {paths[first]} is not on disk"
        if len(missing) > 1:
            what += f", nor are {len(missing) - 1} more of {len(view)}"
        where = f"{view.dataset}/{view.split}"
        raise DataError(f"{where}: {what}. Run: wsss-bench data verify")


def missing_files(paths: Mapping[str, Path]) -> list[str]:
    """Return the ids, in order, whose file is not there; every folder is listed once."""
    names: dict[Path, frozenset[str]] = {}
    missing = []
    for image_id, path in paths.items():
        folder = path.parent
        if folder not in names:
            names[folder] = _names_in(folder)
        # Asked again: some file systems find a file under another spelling than they list.
        if path.name not in names[folder] and not os.path.exists(path):
            missing.append(image_id)
    return missing


def _names_in(folder: Path) -> frozenset[str]:
    # To ask for ten thousand files one by one takes minutes on a network drive.
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()
