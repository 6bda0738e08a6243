"""What a check runs on: a small `shapes` twice, with its masks (sealed) and without, and inputs for stages that need some."""

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

SMALL: Mapping[str, int] = {"train": 16, "val": 4, "size": 64, "seed": 1}
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
        images = [
            WeakImage(image.id, self.bare / image.path.name, image.labels)
            for image in view
        ]
        return WeakView(view.dataset, view.split, view.classes, images)

    @property
    def val(self) -> WeakView:
        """The photographs that a segmentor is tried on."""
        return self.dataset.image_view("val")


def make_sandbox(root: Path, options: Mapping[str, int] = SMALL) -> Sandbox:
    """Draw the data below `root` and lay out both copies; made in seconds, without torch."""
    from wsss_bench.data.opening import open_dataset

    dataset = open_dataset("shapes", root / "sealed", **dict[str, Any](options))
    dataset.prepare()
    bare = root / "photographs"
    bare.mkdir(parents=True, exist_ok=True)
    for image in dataset.weak_view("train"):
        shutil.copyfile(image.path, bare / image.path.name)
    (root / "tmp").mkdir(exist_ok=True)
    return Sandbox(root, dataset, dataset.root / "SegmentationClass", bare)


def give_inputs(sandbox: Sandbox) -> None:
    """Write ``given/seeds`` and ``given/labels``: what a method without a localizer (or refiner) gets from the stage before.

    Seeds are the true masks blurred by a twentieth of the image, on a grid of a quarter of its size: neither perfect
    nor useless. Labels are the masks with the borders between objects unlabelled.
    """
    from wsss_bench.contract.artifacts import LabelWriter, SeedWriter

    view, masks = sandbox.train(masks=True), sandbox.dataset.masks("train")
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


def _seed(mask: NDArray[np.uint8], present: tuple[int, ...]) -> Any:
    import numpy as np

    from wsss_bench.contract.artifacts import Seed

    maps = [_blurred(mask == c)[::4, ::4] for c in present]
    # The guard keeps a class whose object fell between the cells of the grid at zero.
    scores = np.stack([plane / (plane.max() + 1e-5) for plane in maps])
    size = (mask.shape[0], mask.shape[1])
    return Seed(np.asarray(present, np.int64), scores.astype(np.float32), size)


def _label(mask: NDArray[np.uint8], present: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the mask where a 5×5 neighbourhood agrees, 255 along borders."""
    import cv2
    import numpy as np

    kernel = np.ones((5, 5), np.uint8)
    agrees = cv2.erode(mask, kernel) == cv2.dilate(mask, kernel)
    allowed = np.isin(mask, [0, *present])
    return np.where(agrees & allowed, mask, IGNORE).astype(np.uint8)


def view_to_json(view: WeakView) -> dict[str, Any]:
    """Return a view as JSON, for a process of its own."""
    images = [[image.id, str(image.path), image.labels] for image in view]
    return {
        "dataset": view.dataset,
        "split": view.split,
        "classes": list(view.classes),
        "images": images,
    }


def view_from_json(content: Mapping[str, Any]) -> WeakView:
    """Return the view that `view_to_json` wrote."""
    images = [
        WeakImage(i, Path(path), None if labels is None else tuple(labels))
        for i, path, labels in content["images"]
    ]
    return WeakView(
        content["dataset"], content["split"], tuple(content["classes"]), images
    )
