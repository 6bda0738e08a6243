"""What came out of a stage, read back from the disk: is every item as the contract says, however it came there?"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.contract.artifacts import LabelSet, SeedSet
from wsss_bench.contract.view import IGNORE, WeakImage, WeakView
from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import TEMPORARY
from wsss_bench.io.images import image_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def seed_problems(seeds: SeedSet, view: WeakView) -> list[str]:
    """Return what is wrong with seeds on the disk: one sentence or more per image."""
    found = []
    for image in view:
        seed = seeds[image.id]
        wrong = seed.problems(image.labels)
        size = image_size(image.path)
        if tuple(seed.size) != size:
            wrong.append(f"size is {tuple(seed.size)}, the photograph's is {size}.")
        if wrong:
            found.append(f"image {image.id!r}: {' '.join(wrong)}")
    return found


def label_problems(
    labels: LabelSet,
    view: WeakView,
    *,
    tags: bool = True,
) -> list[str]:
    """Return what is wrong with label maps on the disk: size, or classes that are not allowed.

    Allowed are the classes of the image or, without `tags`, all that the data have.
    """
    found = []
    for image in view:
        allowed = set(range(view.num_classes))
        if tags and image.labels is not None:
            allowed = set(image.labels)
        allowed |= {0, IGNORE}
        wrong = _label_problem(labels[image.id], image, allowed)
        if wrong:
            found.append(f"image {image.id!r}: {wrong}")
    return found


def _label_problem(
    label: NDArray[np.uint8], image: WeakImage, allowed: set[int]
) -> str:
    import numpy as np

    size = image_size(image.path)
    if label.shape != size:
        return f"a label must have size {size}, not {label.shape}."
    found = set(np.unique(label).tolist())
    foreign = sorted(found - allowed)
    if foreign:
        return f"values {foreign} are not allowed; use {sorted(allowed)}."
    return ""


def check_probabilities(q: NDArray[np.float32], image_id: str, classes: int) -> None:
    """Raise `ArtifactError` unless `q` ``[classes, H, W]`` holds a finite number for every class and pixel."""
    import numpy as np

    finite = bool(np.isfinite(q).all())
    if q.shape[0] == classes and finite:
        return
    what = f"the segmentor gives {q.shape[0]} classes, finite: {finite};"
    need = f"{classes} finite ones are needed."
    raise ArtifactError(f"segment: image {image_id!r}: {what} {need}")


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `folder` by relative name; leftovers of a killed write do not count."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(TEMPORARY):
            found[path.relative_to(folder).as_posix()] = digest(path)
    return found


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, ``"missing"`` where there is no such file."""
    if not path.is_file():
        return "missing"
    return hashlib.sha256(path.read_bytes()).hexdigest()
