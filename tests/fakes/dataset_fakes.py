"""A third party's dataset: the example of docs/data.md as an installed distribution, and a few drawn images for it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from wsss_bench.io.images import write_mask

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
TRAIN, VAL = ("t0", "t1", "t2"), ("v0", "v1")


def example() -> str:
    """Return the module that docs/data.md shows."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(code)


def install_dataset(
    folder: Path,
    module: str,
    text: str,
    name: str | None = None,
    version: str = "1.2",
) -> None:
    """Lay out an installed distribution ``wsss-<module>`` whose entry point `name` is ``module:KIND``."""
    (folder / f"{module}.py").write_text(text)
    info = folder / f"wsss_{module}-{version}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: wsss-{module}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata)
    points = f"[wsss_bench.datasets]\n{name or module} = {module}:KIND\n"
    (info / "entry_points.txt").write_text(points)


def draw_wheels(root: Path, size: int = 40) -> Path:
    """Draw five photographs with masks and labels as the example wants them; return `root`."""
    for name in ("images", "masks", "fold0", "fold1"):
        (root / name).mkdir(parents=True)
    rows = ["id,rim,spoke"]
    rng = np.random.default_rng(0)
    for number, image_id in enumerate((*TRAIN, *VAL)):
        mask = np.zeros((size, size), np.uint8)
        mask[8:20, 8:20] = number % 2 + 1
        photograph = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(photograph).save(root / "images" / f"{image_id}.jpg")
        write_mask(root / "masks" / f"{image_id}.png", mask)
        rows.append(f"{image_id},{int(number % 2 == 0)},{number % 2}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    for fold, train in (("fold0", TRAIN), ("fold1", TRAIN[:2])):
        (root / fold / "train.txt").write_text("\n".join(train))
        (root / fold / "val.txt").write_text("\n".join(VAL))
    return root
