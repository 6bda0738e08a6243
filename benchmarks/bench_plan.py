"""How long planning takes on data of COCO's size: 82,783 and 40,504 small photographs with annotations.

    python benchmarks/bench_plan.py FOLDER [--train 82783] [--val 40504]

The photographs are drawn into FOLDER unless they are there. The first start reads every file and makes the masks, the
second finds both in the user's cache (set ``WSSS_BENCH_CACHE`` to keep it apart from yours). Each start is a process
of its own.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wsss_bench.data.coco.index import CATEGORY_IDS, COCO_CLASSES

SIZE = (24, 32)

START = """
import resource, sys, time
begin = time.monotonic()
from pathlib import Path
from wsss_bench.runs.request import DatasetRequest, RunRequest, make_cells
data = DatasetRequest("coco2014", Path(sys.argv[1]))
make_cells(RunRequest(("cam",), data, work_dir=Path(sys.argv[1]) / "work", device="cpu"))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{time.monotonic() - begin:.1f} s, {peak:.0f} MB")
"""


def photographs() -> list[bytes]:
    """Return some small JPEGs; their contents repeat over the data, which costs a reader the same."""
    found = []
    for seed in range(50):
        pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=30)
        found.append(file.getvalue())
    return found


def objects(number: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield the annotations of one photograph: up to three boxes, none in every hundredth."""
    height, width = SIZE
    for _ in range(number % 3 + 1 if number % 100 else 0):
        x, y = int(rng.integers(0, width - 10)), int(rng.integers(0, height - 10))
        corners = [x, y, x + 10, y, x + 10, y + 10, x, y + 10]
        yield {
            "image_id": number,
            "category_id": int(rng.choice(list(CATEGORY_IDS))),
            "iscrowd": 0,
            "area": 100,
            "bbox": [x, y, 10, 10],
            "segmentation": [corners],
        }


def draw(root: Path, split: str, count: int, first: int) -> None:
    """Write the photographs and annotations of one split; ids begin after `first`."""
    annotations = root / "annotations" / f"instances_{split}2014.json"
    if annotations.exists():
        return
    folder = root / f"{split}2014"
    for place in (folder, annotations.parent):
        place.mkdir(parents=True, exist_ok=True)
    contents, rng = photographs(), np.random.default_rng(first)
    images: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number in range(first + 1, first + count + 1):
        name = f"COCO_{split}2014_{number:012d}.jpg"
        (folder / name).write_bytes(contents[number % len(contents)])
        height, width = SIZE
        image = {"id": number, "file_name": name, "height": height, "width": width}
        images.append(image)
        for one in objects(number, rng):
            found.append({"id": first + len(found) + 1, **one})
    known = zip(CATEGORY_IDS, COCO_CLASSES[1:], strict=True)
    categories = [{"id": number, "name": name} for number, name in known]
    content = {"images": images, "annotations": found, "categories": categories}
    annotations.write_text(json.dumps(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=82_783)
    parser.add_argument("--val", type=int, default=40_504)
    args = parser.parse_args()
    draw(args.folder, "train", args.train, 0)
    draw(args.folder, "val", args.val, args.train)
    for start in ("first start", "second start"):
        command = [sys.executable, "-c", START, str(args.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"{start}: {done.stdout.strip().splitlines()[-1]}")


if __name__ == "__main__":
    main()
