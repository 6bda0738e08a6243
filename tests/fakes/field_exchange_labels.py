"""Label maps, predictions and lists of others, and options that make no sense of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from exchange_fakes import (
    LAST,
    SIZE,
    Mask,
    Truth,
    labels,
    refused,
    seeds,
    truth,
    write,
    write_labels,
)
from field_case import FieldCase
from PIL import Image

from wsss_bench.data.coco.index import CATEGORY_IDS, MASK_IDS
from wsss_bench.exchange.archives import export_voc
from wsss_bench.exchange.folders import Known, score_folder
from wsss_bench.io.images import read_image, voc_palette, write_mask
from wsss_bench.io.palettes import indices

CASES: list[FieldCase] = []
COLOURS = np.asarray(voc_palette(), np.uint8).reshape(-1, 3)


def add(
    kind: str, tried: str, gives: str, check: Callable[[Path], None], reader: str = ""
) -> None:
    CASES.append(FieldCase(kind, tried, gives, check, reader))


def background_for_border(mask: Mask) -> Mask:
    return np.where(mask == 255, 0, mask).astype(np.uint8)


def adaptive(tmp_path: Path) -> None:
    masks = truth()
    for image_id, mask in masks.items():
        coloured = Image.fromarray(COLOURS[background_for_border(mask)])
        drawn = coloured.convert("P", palette=Image.Palette.ADAPTIVE)
        drawn.save(tmp_path / f"{image_id}.png")
    refused(lambda: labels(tmp_path, masks), "foreign palette", "8-bit greyscale")
    archive = tmp_path / "a.tgz"
    refused(lambda: export_voc(tmp_path, archive), "foreign palette")
    assert not archive.exists()


add(
    "predictions",
    "an adaptive palette: convert('P') numbers the colours anew",
    "refused by evaluate and export: file, index, colours",
    adaptive,
)


def right_palettes(tmp_path: Path) -> None:
    masks = truth()
    for number, (image_id, mask) in enumerate(masks.items()):
        label = background_for_border(mask)
        path = tmp_path / f"{image_id}.png"
        grey = Image.fromarray(label)
        if number % 3 == 0:
            write_mask(path, label)
        elif number % 3 == 1:
            grey.save(path)
        else:
            # A palette image nobody gave a palette: Pillow's is a grey ramp.
            grey.convert("P").save(path)
    assert labels(tmp_path, masks).counts["val"].miou() == 1.0


add(
    "predictions",
    "VOC's palette, greyscale, and a grey ramp in one folder",
    "read",
    right_palettes,
)


def coloured(tmp_path: Path) -> None:
    masks = truth()
    for image_id, mask in masks.items():
        image = Image.fromarray(COLOURS[background_for_border(mask)])
        image.save(tmp_path / f"{image_id}.png")
    said = ("is a RGB image", "wsss_bench.io.palettes.indices", "red first")
    refused(lambda: labels(tmp_path, masks), *said)
    # What the message says, done.
    for path in tmp_path.iterdir():
        write_mask(path, indices(read_image(path)))
    assert labels(tmp_path, masks).counts["val"].miou() == 1.0


add(
    "predictions",
    "RGB in VOC's colours (segs/seg_preds_rgb)",
    "refused: the remedy, followed, gives 100",
    coloured,
    "rulixiang/ToCo",
)


def equal_channels(tmp_path: Path) -> None:
    masks = truth()
    for image_id, mask in masks.items():
        planes = np.repeat(background_for_border(mask)[..., None], 3, 2)
        Image.fromarray(planes).save(tmp_path / f"{image_id}.png")
    refused(lambda: labels(tmp_path, masks), "channels are equal", "save one of them")


add("predictions", "class indices in three equal channels", "refused", equal_channels)


def sixteen_bits(tmp_path: Path) -> None:
    masks = truth()
    for image_id, mask in masks.items():
        wide = background_for_border(mask).astype(np.uint16)
        Image.fromarray(wide).save(tmp_path / f"{image_id}.png")
    refused(lambda: labels(tmp_path, masks), "I;16 image", "8-bit greyscale PNG")


add("predictions", "PNGs of 16 bits", "refused", sixteen_bits)


def capitals(tmp_path: Path) -> None:
    masks = truth()
    folder = write_labels(tmp_path / "p", masks)
    for path in folder.iterdir():
        path.rename(path.with_suffix(".PNG"))
    assert labels(folder, masks).counts["val"].miou() == 1.0
    assert export_voc(folder, tmp_path / "a.tgz").images == len(masks)


add("predictions", "suffixes in capitals: .PNG", "read, packed", capitals)


def numbers(tmp_path: Path) -> None:
    masks = truth()
    folder = write_labels(tmp_path, masks)
    renamed = Truth()
    for image_id, mask in masks.items():
        number = int(image_id.removeprefix("2007_"))
        renamed[f"COCO_train2014_{number:012}"] = mask
        (folder / f"{image_id}.png").rename(folder / f"{number:012}.png")
    scored = labels(folder, renamed)
    assert scored.counts["val"].miou() == 1.0
    assert scored.unused == 0


add(
    "predictions",
    "COCO labels named by the image's number: 000000000139.png",
    "read",
    numbers,
    "hustvl/WeakTr",
)

# ---- values that are no mask ids
COCO = tuple(map(str, range(81)))


def category_ids(tmp_path: Path) -> None:
    # Classes at the end of the list, where the gaps have moved the ids by ten.
    masks = Truth()
    for number in range(4):
        mask = np.zeros(SIZE, np.uint8)
        mask[2:5, 3:7] = 80 - number
        masks[str(number)] = mask
    table = np.asarray([0, *CATEGORY_IDS], np.uint8)
    write_labels(tmp_path, masks, lambda mask: table[mask])
    known = Known(category_ids=MASK_IDS)
    refused(
        lambda: score_folder(tmp_path, masks, COCO, "prediction", known=known),
        "category ids of the annotations, 1 to 90 with gaps",
        "mask ids, 1 to 80",
    )


add(
    "predictions",
    "COCO's category ids 1 to 90",
    "refused: what the values are",
    category_ids,
)


def shown_ids(tmp_path: Path) -> None:
    # All of them are class ids as well: 21 (cow) is 20 in masks.
    masks = Truth()
    for number in range(12, 30):
        mask = np.zeros(SIZE, np.uint8)
        mask[1:7, 1:11] = number
        masks[str(number)] = mask
    table = np.asarray([0, *CATEGORY_IDS], np.uint8)
    write_labels(tmp_path, masks, lambda mask: table[mask])
    known = Known(category_ids=MASK_IDS)
    scored = score_folder(tmp_path, masks, COCO, "prediction", known=known)
    assert scored.counts["val"].miou() < 0.1
    assert "category ids of the annotations" in scored.warnings[0]
    assert "100.0 then" in scored.warnings[0]


add(
    "predictions",
    "category ids of COCO that happen to be class ids too",
    "scored as they stand; warned, with the mIoU that they would have",
    shown_ids,
)


def plus_91(tmp_path: Path) -> None:
    masks = truth()
    write_labels(tmp_path, masks, lambda mask: mask + np.uint8(91))
    refused(lambda: labels(tmp_path, masks), "plus 91", "subtract 91 first")


add(
    "predictions",
    "COCO labels whose values are 91 too high",
    "refused: what the values are",
    plus_91,
    "xulianuwa/MCTformer",
)


def from_zero(tmp_path: Path) -> None:
    masks = truth()
    # 0 becomes 255, as unsigned bytes do.
    write_labels(tmp_path, masks, lambda mask: mask - np.uint8(1))
    scored = labels(tmp_path, masks)
    assert scored.counts["val"].miou() < 0.1
    assert "one too low (0 is 'bird'" in scored.warnings[0]
    assert "100.0 then" in scored.warnings[0]


add(
    "predictions",
    "classes from 0 without a background, 255 elsewhere",
    "scored as they stand; warned: one too low",
    from_zero,
)


def from_one(tmp_path: Path) -> None:
    masks = truth()
    write_labels(tmp_path, masks, lambda mask: mask + np.uint8(1))
    refused(lambda: labels(tmp_path, masks), "holds [7]", "one too high")
    # Without the last class, all values are in range.
    few = Truth({i: np.where(mask == LAST, 0, mask) for i, mask in masks.items()})
    write_labels(tmp_path, few, lambda mask: mask + np.uint8(1))
    assert "one too high" in labels(tmp_path, few).warnings[0]


add(
    "predictions",
    "the background as 1, class k as k + 1",
    "refused where a value is out of range, else warned: one too high",
    from_one,
)


def pictures(tmp_path: Path) -> None:
    masks = truth(count=2)
    ramp = np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE) * np.uint8(2)
    for image_id in masks:
        Image.fromarray(np.vstack([ramp, ramp + np.uint8(1)])).save(
            tmp_path / f"{image_id}.png"
        )
    refused(lambda: labels(tmp_path, masks), "brightness, not classes")


add("predictions", "grey pictures instead of label maps", "refused", pictures)


def one_class(tmp_path: Path) -> None:
    masks = truth()
    write_labels(tmp_path / "p", masks, np.zeros_like)
    assert labels(tmp_path / "p", masks).warnings == (
        "all predictions hold one class only: 0, 'background'.",
    )
    blank = lambda maps: {k - 1: np.zeros(SIZE) for k in maps}  # noqa: E731
    found = seeds(write(tmp_path / "s", blank, masks), masks)
    assert found.warnings == ("all seeds hold one class only: 0, 'background'.",)


add("predictions", "one class in all of them", "scored, and said so", one_class)
