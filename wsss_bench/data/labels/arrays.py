"""Image-level labels as arrays: the ``cls_labels.npy`` of IRN and all that came after it.

That is a pickled dict of image names and one-hot vectors. It is read by `wsss_bench.io.pickles.load_arrays_only`, which
runs nothing that the file brings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.data.labels.common import Entries, Labels, unreadable
from wsss_bench.errors import ArtifactError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = (".npy", ".pkl", ".pickle")
"""What files of arrays end with."""

_AS_CSV = "Write the labels as a CSV with the header id,<class names> and 0/1 cells, and pass that."


def read_onehot_labels(
    path: Path, classes: Sequence[str], ids: Sequence[str]
) -> Labels:
    """Return the labels of `ids` from a dict of one-hot vectors, as IRN, MCTformer, ToCo and others ship it.

    Keys are image ids, file names, or numbers (IRN's 2007000032 for ``2007_000032``, RIB's 9 for COCO's image 9).
    Vectors are of any numeric type, and have a place for each class, or for the background besides, in front: that is
    known by its being 1 in every image, or 0 in every one.

    Args:
        path: the file; may hold more images than asked for.
        classes: class names by mask id, background first.
        ids: the images wanted.

    Raises:
        DataError: the file cannot be read or would need to run code, holds something else, vectors of another length,
            or values besides 0 and 1; or it lacks an image.
    """
    keys, matrix = _read(path, classes)
    table: Entries[int] = Entries(f"label table {path}")
    for row, key in enumerate(keys):
        if not table.add(key, row):
            what = f"label table {path}: image {key!r} has two entries."
            raise DataError(f"{what} {_AS_CSV}")
    rows = table.choose(ids)
    return {image_id: _present(matrix[row]) for image_id, row in rows.items()}


def _present(vector: NDArray[np.bool_]) -> tuple[int, ...]:
    # The first place is class 1.
    return tuple(int(place) + 1 for place in vector.nonzero()[0])


def _read(
    path: Path, classes: Sequence[str]
) -> tuple[list[str | int], NDArray[np.bool_]]:
    """Return the keys, and whether each image shows each foreground class, ``bool [N, C]``."""
    from wsss_bench.io.pickles import load_arrays_only

    try:
        stored = load_arrays_only(path)
    except (ArtifactError, OSError) as error:
        raise unreadable(path, error) from error
    if not isinstance(stored, Mapping):
        what = f"label table {path} holds one array of shape {list(stored.shape)}, and no names of images."
        raise DataError(f"{what} {_AS_CSV}")
    if not stored:
        raise DataError(f"label table {path} holds no image. {_AS_CSV}")
    matrix = _matrix(path, stored, len(classes) - 1)
    return list(stored), _without_background(path, matrix, len(classes) - 1)


def _matrix(path: Path, stored: Mapping[str | int, Any], count: int) -> NDArray[Any]:
    """Return all vectors as rows ``[N, count or count + 1]``; raises `DataError` where one is no such vector."""
    import numpy as np

    rows: list[NDArray[Any]] = []
    for key, value in stored.items():
        where = f"label table {path}, image {key!r}"
        vector = _vector(value, count, where)
        if rows and rows[0].size != vector.size:
            what = f"{vector.size} values, where others have {rows[0].size}."
            raise DataError(f"{where}: {what} {_AS_CSV}")
        rows.append(vector)
    return np.stack(rows)


def _vector(value: Any, count: int, where: str) -> NDArray[Any]:
    """Return an entry as one vector of zeros and ones; raises `DataError` for anything else."""
    if isinstance(value, Mapping) or value.dtype.kind not in "biuf":
        raise DataError(f"{where}: the entry is no vector of numbers. {_AS_CSV}")
    vector: NDArray[Any] = value.reshape(-1)
    if vector.size not in (count, count + 1):
        needed = f"{count} are needed, one a class ({count + 1} with the background in front)"
        raise DataError(f"{where}: {vector.size} values; {needed}. {_AS_CSV}")
    foreign = vector[(vector != 0) & (vector != 1)]
    if foreign.size:
        what = f"it holds {foreign[0].item():g}, which is neither 0 nor 1."
        fix = "Decide which values mean that the class is there."
        raise DataError(f"{where}: {what} {fix} {_AS_CSV}")
    return vector


def _without_background(
    path: Path, matrix: NDArray[Any], count: int
) -> NDArray[np.bool_]:
    """Return the columns of the foreground classes; raises `DataError` where one too many cannot be told apart."""
    marks = matrix.astype(bool)
    if marks.shape[1] == count:
        return marks
    first = _column(marks[:, 0])
    last = _column(marks[:, -1])
    # A background is constant. One behind the classes, or a class that no image shows, is constant too.
    clear = first == "always" and last != "always"
    clear = clear or (first == "never" and last == "sometimes")
    if clear:
        return marks[:, 1:]
    seen = f"the first value is {first} 1, the last {last}"
    what = f"label table {path} has {count + 1} values an image for {count} classes; {seen}"
    fix = f"Save the {count} values of the classes alone, in the order of the classes."
    raise DataError(f"{what}, so it is not clear where the background is. {fix}")


def _column(marks: NDArray[np.bool_]) -> str:
    if marks.all():
        return "always"
    return "sometimes" if marks.any() else "never"
