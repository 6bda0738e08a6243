from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from wsss_bench.data import Dataset, open_dataset, verify_dataset
from wsss_bench.data.coco.masks import region
from wsss_bench.data.truth import truth_warning
from wsss_bench.data.voc.lists import VOC_CLASSES, read_ids

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(
        "WSSS_BENCH_TEST_DATA" not in os.environ,
        reason="WSSS_BENCH_TEST_DATA names no folder of real data",
    ),
]


def data() -> Path:
    return Path(os.environ["WSSS_BENCH_TEST_DATA"])


@pytest.fixture
def voc() -> Dataset:
    pack = data() / "voc-pack"
    return open_dataset(
        "voc2012", pack, "voc2012-pack", labels=pack / "meta" / "voc12_cls_labels.csv"
    )


@pytest.fixture
def coco(tmp_path: Path) -> Dataset:
    return open_dataset("coco2014", data() / "coco-pack", "coco-pack", cache=tmp_path)


def test_voc_counts_and_labels(voc: Dataset) -> None:
    train, augmented, val = (
        voc.weak_view("train"),
        voc.weak_view("train_aug"),
        voc.image_view("val"),
    )
    assert (len(train), len(augmented), len(val)) == (810, 1346, 500)
    assert {i.id for i in train} <= {i.id for i in augmented}
    with (data() / "voc-pack" / "manifest.csv").open(newline="") as handle:
        rows = {row["id"]: row for row in csv.DictReader(handle)}
    for image in augmented:
        assert {VOC_CLASSES[c] for c in image.present} == set(
            rows[image.id]["image_level_labels"].split()
        )


def test_voc_masks_read_and_keep_their_border(voc: Dataset) -> None:
    masks = voc.masks("train")
    some = [masks[i] for i in masks.ids[::20]]
    assert sum((mask == 255).any() for mask in some) > 0.9 * len(some)
    with (data() / "voc-pack" / "manifest.csv").open(newline="") as handle:
        rows = {row["id"]: row for row in csv.DictReader(handle)}
    for image_id in masks.ids[::20]:
        present = {
            VOC_CLASSES[c]
            for c in np.unique(masks[image_id]).tolist()
            if c not in (0, 255)
        }
        assert present == set(rows[image_id]["classes_in_mask"].split())


def test_voc_pack_verifies(voc: Dataset) -> None:
    findings = verify_dataset(voc)
    assert [f for f in findings if f.level != "info"] == []
    assert any("810 of the official 1,464" in f.what for f in findings)


def test_official_lists_have_the_official_counts() -> None:
    meta = data() / "voc-pack" / "meta"
    counts = {
        name: len(read_ids(meta / f"irn_{name}.txt"))
        for name in ("train", "train_aug", "val", "test")
    }
    assert counts == {"train": 1464, "train_aug": 10582, "val": 1449, "test": 1456}


def test_coco_counts_and_masks(coco: Dataset) -> None:
    assert (len(coco.weak_view("train")), len(coco.image_view("val"))) == (190, 164)
    assert (
        len(
            open_dataset("coco2014", data() / "coco-pack", lists="tagged").weak_view(
                "train"
            )
        )
        == 188
    )
    masks = coco.masks("val")
    seen = np.zeros(256, np.int64)
    for _, mask in masks:
        seen += np.bincount(mask.ravel(), minlength=256)
    assert seen[81:255].sum() == 0
    assert seen[255] > 0
    assert (seen[1:81] > 0).sum() > 60


def test_coco_regions_have_the_areas_that_the_annotations_state() -> None:
    payload = json.loads(
        (data() / "coco-pack" / "annotations" / "instances_val2014.json").read_text()
    )
    sizes = {
        image["id"]: (image["height"], image["width"]) for image in payload["images"]
    }
    ours = np.array(
        [region(a, *sizes[a["image_id"]]).sum() for a in payload["annotations"]], float
    )
    stated = np.array([a["area"] for a in payload["annotations"]])
    assert abs(ours.sum() / stated.sum() - 1) < 0.005
    assert np.median(np.abs(ours - stated) / stated) < 0.03


def test_coco_pack_verifies(coco: Dataset) -> None:
    assert {f.level for f in verify_dataset(coco)} == {"info"}


def test_the_truth_of_the_packs_is_what_is_published(
    voc: Dataset, coco: Dataset
) -> None:
    assert voc.truth("val").endswith(", border 255 ignored")
    assert truth_warning(voc) is None
    assert coco.truth("val") == "instances_val2014.json, crowds 255 ignored"
    assert truth_warning(coco) is None


def test_a_preview_of_coco_paints_what_prepare_makes(coco: Dataset) -> None:
    preview = coco.preview()
    seen = preview.masks("val")
    coco.prepare()
    masks = coco.masks("val")
    assert seen.fingerprint == masks.fingerprint
    for image_id in masks.ids[::20]:
        np.testing.assert_array_equal(seen[image_id], masks[image_id])
