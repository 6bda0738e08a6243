"""What a check runs on: a small `shapes` twice, with its masks (sealed) and without, and inputs for later stages."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.contract.view import IGNORE, WeakImage, WeakView

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wsss_bench.data.base import Dataset

    Mask = NDArray[np.uint8]

SMALL: Mapping[str, int] = {
    "train": 16,
    "val": 4,
    "size": 64,
    "seed": 1,
}
"""Options of the data that every check runs on."""

FULL: Mapping[str, int] = {}
"""Options of the data that ``full`` adds: those of ``--dataset shapes`` itself."""


@dataclass(frozen=True)
class Sandbox:
    """Folders of one check.

    Attributes:
        root: the folder that everything is below.
        dataset: the data with their masks; only the parent process reads these.
        sealed: the folder of masks.
        bare: the training photographs alone, in a folder without masks.
    """

    root: Path
    dataset: Dataset
    sealed: Path
    bare: Path

    def train(self, *, masks: bool) -> WeakView:
        """Return the training view, in the layout that has masks beside the photographs or in the one that has none."""
        view = self.dataset.weak_view("train")
        if masks:
            return view
        images = []
        for image in view:
            path = self.bare / image.path.name
            images.append(WeakImage(image.id, path, image.labels))
        return WeakView(view.dataset, view.split, view.classes, images)

    @property
    def val(self) -> WeakView:
        """The photographs that a segmentor is tried on."""
        return self.dataset.image_view("val")


def make_sandbox(root: Path, options: Mapping[str, int] = SMALL) -> Sandbox:
    """Draw the data below `root` and lay out both copies; made in seconds, without torch."""
    from wsss_bench.data.opening import open_dataset

    given: dict[str, Any] = dict(options)
    dataset = open_dataset("shapes", root / "sealed", **given)
    dataset.prepare()
    # Not beside the masks: a method that looks there for them must find nothing.
    bare = root / "photographs"
    bare.mkdir(parents=True, exist_ok=True)
    for image in dataset.weak_view("train"):
        shutil.copyfile(image.path, bare / image.path.name)
    (root / "tmp").mkdir(exist_ok=True)
    return Sandbox(root, dataset, dataset.root / "SegmentationClass", bare)


def give_inputs(sandbox: Sandbox) -> None:
    """Write ``given/seeds`` and ``given/labels``, for a method that has no localizer (or refiner) of its own.

    Seeds are the true masks blurred by a twentieth of the image, on a grid of a quarter of its size: neither perfect
    nor useless. Labels are the masks with the borders between objects unlabelled.
    """
    from wsss_bench.contract.artifacts import LabelWriter, SeedWriter

    view = sandbox.train(masks=True)
    masks = sandbox.dataset.masks("train")
    given, who = sandbox.root / "given", "conformance kit"
    seeds = SeedWriter(given / "seeds", view, who, {"by": who})
    labels = LabelWriter(given / "labels", view, who, {"by": who})
    for image in view:
        mask = masks[image.id]
        seeds.write(image.id, _seed(mask, image.present))
        labels.write(image.id, _label(mask, image.present))
    seeds.close()
    labels.close()


def draw_saliency(sandbox: Sandbox) -> Path:
    """Write ``saliency/<id>.png`` for every training image and return the folder.

    The maps are 8-bit greyscale, 255 where something stands out: any object, whatever its class, blurred by a
    twentieth of the image. They stand for the output of a saliency model, so they know no classes and have no sharp
    borders.
    """
    import numpy as np
    from PIL import Image

    folder = sandbox.root / "saliency"
    folder.mkdir(exist_ok=True)
    masks = sandbox.dataset.masks("train")
    for image in sandbox.train(masks=True):
        mask = masks[image.id]
        salient = _blurred((mask > 0) & (mask < IGNORE))
        grey = np.round(255 * salient).astype(np.uint8)
        Image.fromarray(grey).save(folder / f"{image.id}.png")
    return folder


def _blurred(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return a region as a map in [0, 1] whose borders are soft over about a twentieth of the image."""
    import cv2
    import numpy as np

    deviation = max(region.shape) / 20
    soft = cv2.GaussianBlur(region.astype(np.float32), (0, 0), deviation)
    return np.clip(soft, 0, 1).astype(np.float32)


def _seed(mask: Mask, present: tuple[int, ...]) -> Any:
    import numpy as np

    from wsss_bench.contract.artifacts import Seed

    maps = []
    for klass in present:
        plane = _blurred(mask == klass)[::4, ::4]
        # The guard keeps a class whose object fell between the cells of the grid at zero.
        maps.append(plane / (plane.max() + 1e-5))
    scores = np.stack(maps).astype(np.float32)
    ids = np.asarray(present, np.int64)
    size = (mask.shape[0], mask.shape[1])
    return Seed(ids, scores, size)


def _label(mask: Mask, present: tuple[int, ...]) -> Mask:
    """Return the mask where a 5×5 neighbourhood agrees, 255 along borders."""
    import cv2
    import numpy as np

    kernel = np.ones((5, 5), np.uint8)
    lowest = cv2.erode(mask, kernel)
    highest = cv2.dilate(mask, kernel)
    # A mask may hold what the tags leave out; a label may not.
    allowed = np.isin(mask, [0, *present])
    kept = (lowest == highest) & allowed
    return np.where(kept, mask, IGNORE).astype(np.uint8)


def view_to_json(view: WeakView) -> dict[str, Any]:
    """Return a view as JSON, for a process of its own."""
    images = []
    for image in view:
        images.append([image.id, str(image.path), image.labels])
    return {
        "dataset": view.dataset,
        "split": view.split,
        "classes": list(view.classes),
        "images": images,
    }


def view_from_json(content: Mapping[str, Any]) -> WeakView:
    """Return the view that `view_to_json` wrote."""
    images = []
    for image_id, path, labels in content["images"]:
        # JSON knows no tuples, and a view's labels are one.
        tags = None if labels is None else tuple(labels)
        images.append(WeakImage(image_id, Path(path), tags))
    return WeakView(
        content["dataset"],
        content["split"],
        tuple(content["classes"]),
        images,
    )
