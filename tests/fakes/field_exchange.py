"""Score files as this field's repositories write them: perfect maps must score all there is to score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from exchange_fakes import (
    LAST,
    SIZE,
    Maps,
    classes_of,
    crf,
    devkit,
    keys,
    maps_of,
    npy,
    padded,
    perfect,
    refused,
    run,
    seeds,
    stacked,
    truth,
    with_background,
    write,
)
from field_case import FieldCase

from wsss_bench.exchange.folders import Known

CASES: list[FieldCase] = []


def add(
    tried: str, gives: str, check: Callable[[Path], None], reader: str = ""
) -> None:
    CASES.append(FieldCase("scores", tried, gives, check, reader))


def reads(writer: Callable[[Maps], Any], *said: str) -> Callable[[Path], None]:
    """Return a check that the form is found, and with image-level labels as without."""

    def check(tmp_path: Path) -> None:
        masks = truth()
        folder = write(tmp_path / "cam", writer, masks)
        perfect(folder, masks, *said)
        tagged = {image_id: classes_of(mask) for image_id, mask in masks.items()}
        perfect(folder, masks, *said, known=Known(tagged))

    return check


def irn(maps: Maps) -> Any:
    import torch

    small = torch.from_numpy(stacked(maps)[:, ::4, ::4].copy())
    return {
        "keys": torch.from_numpy(keys(maps)),
        "cam": small,
        "high_res": stacked(maps),
    }


def seam(maps: Maps) -> Any:
    # Its normalisation leaves -1e-5 where nothing fired.
    return {k - 1: np.where(plane > 0, plane, -1e-5) for k, plane in maps.items()}


def seam_unfired(maps: Maps) -> Any:
    stored = seam(maps)
    first = min(stored)
    return {**stored, first: np.full(SIZE, -1, np.float32)}


ZERO = "keys 0-based (key 0 is 'bird')"
BACKGROUND = "keys 1-based (key 0 is the background, key 1 is 'bird')"

add(
    "keys 0-based as a tensor, cam on a grid of a quarter, high_res",
    "read, high_res scored, cam named",
    reads(irn, "IRN dict", ZERO, "array high_res", "also there: cam"),
    "jiwoon-ahn/irn",
)
add(
    "one map per class, classes from 0",
    "read",
    reads(lambda m: {k - 1: v for k, v in m.items()}, "PSA dict", ZERO),
    "jiwoon-ahn/psa",
)
add(
    "la_crf and ha_crf: background at key 0, class k at key k",
    "read, the background left out and said so",
    reads(crf, "PSA dict", BACKGROUND, "background maps left out"),
    "jiwoon-ahn/psa",
)
add(
    "maps with -0.00001 where nothing fired",
    "read, as 0: background at every threshold",
    reads(seam, "PSA dict", ZERO),
    "YudeWang/SEAM",
)


def unfired(tmp_path: Path) -> None:
    masks = truth()
    scored = seeds(write(tmp_path, seam_unfired, masks), masks)
    assert 0 < scored.counts["seeds_best"].miou() < 1


add("a map that never fired: -1 all over", "read, as 0", unfired, "YudeWang/SEAM")
add(
    "CRF outputs per alpha (out_crf_4.0): background at key 0",
    "read, the background left out",
    reads(lambda m: {k: v.astype(np.float64) for k, v in crf(m).items()}, BACKGROUND),
    "YudeWang/SEAM",
)
add(
    "crf_10_4: numpy integers as keys, background at 0",
    "read, the background left out",
    reads(lambda m: {np.int64(k): v for k, v in crf(m).items()}, BACKGROUND),
    "halbielee/EPS",
)
add(
    "cls_20: numpy integers as keys, classes from 0",
    "read",
    reads(lambda m: {np.int64(k - 1): v for k, v in m.items()}, ZERO),
    "Juliachang/SC-CAM",
)
add(
    "keys with a background in front, hr_cam without a map for it",
    "read, hr_cam scored",
    reads(
        lambda m: {
            "keys": padded(m),
            "cam": stacked(m)[:, ::4, ::4],
            "hr_cam": stacked(m),
        },
        "keys 1-based",
        "no map of the background",
        "array hr_cam",
    ),
    "shjo-april/PuzzleCAM",
)
add(
    "the same after the random walk: keys and rw",
    "read, rw scored",
    reads(
        lambda m: {"keys": padded(m), "rw": stacked(m)},
        "no map of the background",
        "array rw",
    ),
    "shjo-april/PuzzleCAM",
)
add(
    "keys with a background in front, IS_CAM with a map for it",
    "read, the background left out",
    reads(
        lambda m: {"keys": padded(m), "IS_CAM": with_background(m)},
        BACKGROUND,
        "background maps left out",
        "array IS_CAM",
    ),
    "chenqi1126/SIPE",
)
add(
    "keys 0-based, high_res with a background in front",
    "read, the background left out",
    reads(
        lambda m: {"keys": keys(m), "high_res": with_background(m)},
        ZERO,
        "background maps left out",
    ),
)
add(
    "attn_highres in half precision, keys in the order of the annotation",
    "read",
    reads(
        lambda m: {
            "keys": keys(m)[::-1],
            "attn_highres": stacked(m)[::-1].astype(np.float16),
        },
        ZERO,
        "array attn_highres",
    ),
    "linyq2117/CLIP-ES",
)


def two_arrays(tmp_path: Path) -> None:
    masks = truth()
    writer = lambda m: {  # noqa: E731
        "keys": keys(m),
        "highres": 1 - stacked(m),
        "attn_highres": stacked(m),
    }
    write(tmp_path, writer, masks)
    perfect(
        tmp_path, masks, "array attn_highres (also there: highres; --array chooses)"
    )
    chosen = seeds(tmp_path, masks, Known(array="highres"))
    assert "array highres" in chosen.read_as
    assert chosen.counts["seeds_best"].miou() < 0.5
    refused(
        lambda: seeds(tmp_path, masks, Known(array="rw")),
        "has no array 'rw'",
        "attn_highres, highres",
    )


add(
    "highres and attn_highres in one file",
    "attn_highres scored and said so; --array highres takes the other",
    two_arrays,
    "linyq2117/CLIP-ES",
)
add(
    "one map per class in 64 bits",
    "read",
    reads(lambda m: {k - 1: v.astype(np.float64) for k, v in m.items()}, ZERO),
    "xulianuwa/MCTformer",
)
add(
    "keys as mask ids, one map each",
    "read: key k is class k",
    reads(
        lambda m: {"keys": keys(m, 1), "attn_highres": stacked(m)},
        "keys 1-based (no key 0, key 1 is 'bird')",
    ),
)
add(
    "maps of all classes in every file",
    "read: as many keys as classes have no background among them",
    reads(
        lambda m: {k - 1: m.get(k, np.zeros(SIZE)) for k in range(1, LAST + 1)},
        ZERO,
    ),
)


def no_class(tmp_path: Path) -> None:
    masks = truth()
    masks["empty"] = np.zeros(SIZE, np.uint8)
    writer = lambda m: {"keys": keys(m), "cam": stacked(m), "high_res": stacked(m)}  # noqa: E731
    perfect(write(tmp_path, writer, masks), masks, ZERO, "array high_res")
    # Others leave the arrays out, or everything.
    for stored in ({"keys": np.zeros(0)}, {"keys": np.zeros(0), "cam": np.zeros(0)}):
        np.save(tmp_path / "empty.npy", stored, allow_pickle=True)  # type: ignore[arg-type]
        perfect(tmp_path, masks, ZERO)


add(
    "an image of COCO without a class: no keys, no maps",
    "read: background",
    no_class,
    "zhaozhengChen/ReCAM",
)


def old_pickles(tmp_path: Path) -> None:
    masks = truth()
    for image_id, mask in masks.items():
        stored = {k - 1: plane for k, plane in maps_of(mask).items()}
        npy(tmp_path / f"{image_id}.npy", stored, 2)
    perfect(tmp_path, masks, ZERO)


add(
    "files of numpy before 1.16: pickles of protocol 2",
    "read",
    old_pickles,
    "jiwoon-ahn/psa",
)


def capitals(tmp_path: Path) -> None:
    masks = truth()
    for path in write(tmp_path, crf, masks).iterdir():
        path.rename(path.with_suffix(".NPY"))
    perfect(tmp_path, masks, BACKGROUND)


add("suffixes in capitals: .NPY", "read", capitals)


def on_the_command_line(tmp_path: Path) -> None:
    masks = truth()
    root = devkit(tmp_path / "VOC2012", masks)
    cams = write(tmp_path / "out_crf_4.0", crf, masks)
    words = ("--dataset", "voc2012", "--data-root", root)
    for split in ("train", "val"):
        status, said = run("evaluate", cams, *words, "--split", split)
        assert status == 0, said
        assert "read as: PSA dict, keys 1-based (key 0 is the background" in said
        assert "mean" in said
        mean = next(line for line in said.splitlines() if "  mean" in line)
        assert mean.split()[1] == "100.00"


add(
    "CRF outputs on the command line, splits with and without labels",
    "100.00, and the form is printed",
    on_the_command_line,
    "halbielee/EPS",
)
