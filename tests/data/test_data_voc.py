from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsss_bench.data import Dataset, open_dataset, verify_dataset
from wsss_bench.data.voc.lists import VOC_CLASSES, read_ids
from wsss_bench.errors import DataError, LeakError
from wsss_bench.io.images import write_mask

HEADER = "id," + ",".join(VOC_CLASSES[1:])
MASKS = {"a": {1, 15}, "b": {8}, "c": {15}, "d": {2}, "e": {20}}
LISTS = {"train": "a b", "train_aug": "a b c", "val": "d", "test": "f"}


def row(image_id: str, *present: int) -> str:
    return ",".join([image_id, *("1" if k in present else "0" for k in range(1, 21))])


def xml(*names: str) -> str:
    objects = "".join(
        f"<object><name>{n}</name><difficult>1</difficult><part><name>head</name></part></object>"
        for n in names
    )
    return f"<annotation>{objects}</annotation>"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """A devkit of six images, 6 x 8 pixels; c's mask is SBD's, f has none; labels lie in cls_labels.csv."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for name in (
        "JPEGImages",
        "SegmentationClass",
        "SegmentationClassAug",
        "ImageSets/Segmentation",
        "Annotations",
    ):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for image_id in "abcdef":
        Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).save(
            root / "JPEGImages" / f"{image_id}.jpg"
        )
    for image_id, classes in MASKS.items():
        mask = np.zeros((6, 8), np.uint8)
        for k, c in enumerate(sorted(classes)):
            mask[k + 1, 2:5] = c
        mask[5] = 255
        folder = "SegmentationClassAug" if image_id == "c" else "SegmentationClass"
        write_mask(root / folder / f"{image_id}.png", mask)
    for name, ids in LISTS.items():
        (root / "ImageSets" / "Segmentation" / f"{name}.txt").write_text(
            "\n".join(ids.split()) + "\n"
        )
    (root / "cls_labels.csv").write_text(
        "\n".join([HEADER, row("a", 1, 15), row("b", 8), row("c", 15), row("z", 3)])
        + "\n"
    )
    return root


def lists(root: Path) -> Path:
    return root / "ImageSets" / "Segmentation"


def errors(dataset: Dataset) -> list[str]:
    return [
        f"{f.where}: {f.what}" for f in verify_dataset(dataset) if f.level == "error"
    ]


@pytest.mark.parametrize("up", [0, 1, 2])
def test_the_root_may_be_any_of_three_folders(voc: Path, up: int) -> None:
    root = [voc, *voc.parents][up]
    dataset = open_dataset("voc2012", root, "mine")
    assert dataset.root.resolve() == voc.resolve()
    assert (dataset.kind, dataset.name) == ("voc2012", "mine")
    assert dataset.available_splits() == ("test", "train", "train_aug", "val")


def test_views_and_masks(voc: Path) -> None:
    dataset = open_dataset("voc2012", voc)
    view = dataset.weak_view("train_aug")
    assert [(i.id, i.labels) for i in view] == [
        ("a", (1, 15)),
        ("b", (8,)),
        ("c", (15,)),
    ]
    assert view.classes == VOC_CLASSES
    assert [(i.id, i.labels) for i in dataset.image_view("test")] == [("f", None)]
    masks = dataset.masks("train_aug")
    assert set(np.unique(masks["c"]).tolist()) == {0, 15, 255}
    assert len(masks) == 3
    assert "a" in masks
    assert masks.path("c").parent.name == "SegmentationClassAug"
    assert masks.path("a").parent.name == "SegmentationClass"
    assert not errors(dataset)


def test_the_augmented_list_prefers_augmented_masks_and_train_the_devkits(
    voc: Path,
) -> None:
    write_mask(voc / "SegmentationClassAug" / "a.png", np.ones((6, 8), np.uint8))
    dataset = open_dataset("voc2012", voc)
    assert dataset.masks("train_aug").path("a").parent.name == "SegmentationClassAug"
    assert dataset.masks("train").path("a").parent.name == "SegmentationClass"


def test_default_splits_follow_what_exists(voc: Path) -> None:
    assert open_dataset("voc2012", voc).splits.train == "train_aug"
    (lists(voc) / "train_aug.txt").rename(lists(voc) / "trainaug.txt")
    dataset = open_dataset("voc2012", voc)
    assert dataset.splits.train == "trainaug"
    assert len(dataset.weak_view("train_aug")) == 3
    (lists(voc) / "trainaug.txt").unlink()
    assert open_dataset("voc2012", voc).splits.train == "train"
    assert open_dataset("voc2012", voc, val_split="train").splits.val == "train"


@pytest.mark.parametrize("split", ["val", "test"])
def test_labels_of_held_out_splits_are_refused(voc: Path, split: str) -> None:
    with pytest.raises(LeakError, match="training splits only"):
        open_dataset("voc2012", voc).weak_view(split)


def test_a_training_list_that_holds_val_images_is_a_leak(voc: Path) -> None:
    (lists(voc) / "train_sbd.txt").write_text("a\nd\n")
    (voc / "cls_labels.csv").write_text(
        "\n".join([HEADER, row("a", 1), row("d", 2)]) + "\n"
    )
    with pytest.raises(LeakError, match=r"1 images are also in 'val' .first: 'd'."):
        open_dataset("voc2012", voc).weak_view("train_sbd")


def test_trainval_is_no_training_split(voc: Path) -> None:
    (lists(voc) / "trainval.txt").write_text("a\nb\nd\n")
    with pytest.raises(LeakError):
        open_dataset("voc2012", voc).weak_view("trainval")


def test_test_masks_do_not_exist(voc: Path) -> None:
    with pytest.raises(DataError, match="test masks are not public"):
        open_dataset("voc2012", voc).masks("test")


def test_unknown_split_suggests(voc: Path) -> None:
    with pytest.raises(DataError, match="Did you mean 'train'"):
        open_dataset("voc2012", voc).image_view("trian")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a\r\nb\r\n\r\n", ("a", "b")),
        ("\n\n b \n a", ("b", "a")),
        ("\ufeffa\n", ("a",)),
        (
            "/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png\n",
            ("2007_000032",),
        ),
        ("a  1\nb -1\n", ("a", "b")),
    ],
)
def test_list_forms(tmp_path: Path, text: str, ids: tuple[str, ...]) -> None:
    (tmp_path / "l.txt").write_bytes(text.encode())
    assert read_ids(tmp_path / "l.txt") == ids


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb\na\n", "line 3: id 'a' is listed twice .first in line 1"),
        ("\n \n", "is empty"),
        (
            "/JPEGImages/a.jpg /SegmentationClassAug/b.png\n",
            "line 1: image and mask differ",
        ),
    ],
)
def test_bad_lists(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_ids(tmp_path / "l.txt")


def test_xml_labels_are_the_second_choice_and_count_difficult_objects(
    voc: Path,
) -> None:
    (voc / "cls_labels.csv").unlink()
    for image_id, names in {
        "a": ("person", "aeroplane", "person"),
        "b": ("cat",),
        "c": ("person",),
    }.items():
        (voc / "Annotations" / f"{image_id}.xml").write_text(xml(*names))
    dataset = open_dataset("voc2012", voc)
    assert dataset.labels_source == "xml"
    assert [i.labels for i in dataset.weak_view("train_aug")] == [(1, 15), (8,), (15,)]
    (voc / "Annotations" / "b.xml").write_text(xml("unicorn"))
    with pytest.raises(DataError, match=r"b\.xml: object 'unicorn' is no class"):
        dataset.weak_view("train")
    (voc / "Annotations" / "b.xml").write_text("<annotation><obj")
    with pytest.raises(DataError, match=r"b\.xml cannot be read"):
        dataset.weak_view("train")
    (voc / "Annotations" / "b.xml").unlink()
    with pytest.raises(DataError, match=r"b\.xml does not exist"):
        dataset.weak_view("train")


def test_without_labels_the_masks_are_never_read_silently(voc: Path) -> None:
    (voc / "cls_labels.csv").unlink()
    (voc / "Annotations").rmdir()
    dataset = open_dataset("voc2012", voc)
    with pytest.raises(DataError, match=r"no image-level labels.*--labels"):
        dataset.weak_view("train")
    explicit = open_dataset("voc2012", voc, labels="masks")
    view = explicit.weak_view("train")
    assert [i.labels for i in view] == [(1, 15), (8,)]
    assert view.dataset == "voc2012 (labels: masks)"
    assert explicit.facts()["labels_source"] == "masks"


def test_a_label_table_given_by_path_wins(voc: Path, tmp_path: Path) -> None:
    table = tmp_path / "other.csv"
    reordered = ["tv monitor", *VOC_CLASSES[1:20]]
    table.write_text(
        "id,"
        + ",".join(reordered)
        + "\n"
        + "a,1"
        + ",0" * 19
        + "\nb"
        + ",0" * 20
        + "\n"
    )
    dataset = open_dataset("voc2012", voc, labels=str(table))
    assert [i.labels for i in dataset.weak_view("train")] == [(20,), ()]
    assert dataset.labels_source == "table other.csv"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER, row("a", 1)], "no row for 1 of 2 images .first: 'b'"),
        ([HEADER, row("a", 1), row("a", 2)], "line 3: image 'a' has a row already"),
        ([HEADER, "a,2" + ",0" * 19], "line 2: 20 cells of 0 or 1"),
        ([HEADER, "a,1,0"], "line 2: 20 cells"),
        (["id,aeroplane,unicorn"], "column 'unicorn' is no class"),
        (["id,aeroplane"], "lacks a column for 'bicycle'"),
        ([HEADER + ",cat"], "two columns for one class"),
        (["aeroplane,id"], "must begin with the header id"),
        ([], "must begin with the header id"),
    ],
)
def test_bad_label_tables(voc: Path, lines: list[str], message: str) -> None:
    (voc / "cls_labels.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=message):
        open_dataset("voc2012", voc).weak_view("train")


def test_labels_of_other_repositories(voc: Path) -> None:
    (voc / "cls_labels.csv").unlink()
    rows = {"a.jpg": (1, 15), "b": (8,), "c": (15,)}
    table = {}
    for key, classes in rows.items():
        table[key] = np.isin(np.arange(1, 21), classes).astype(np.float32)
    np.save(voc / "cls_labels.npy", np.array(table, dtype=object), allow_pickle=True)
    for options in ({}, {"labels": "cls_labels.npy"}):
        dataset = open_dataset("voc2012", voc, **options)
        assert dataset.labels_source == "table cls_labels.npy"
        found = [image.labels for image in dataset.weak_view("train_aug")]
        assert found == [(1, 15), (8,), (15,)]
    with pytest.raises(DataError, match="cannot be read"):
        open_dataset("voc2012", voc, labels="nowhere.csv").weak_view("train")


def test_labels_of_the_lists_of_classes(voc: Path) -> None:
    with pytest.raises(DataError, match=r"Main does not exist"):
        open_dataset("voc2012", voc, labels="main").weak_view("train")
    folder = voc / "ImageSets" / "Main"
    folder.mkdir()
    for k, name in enumerate(VOC_CLASSES[1:], 1):
        lines = [f"a {1 if k in (1, 15) else -1}\n", f"b {0 if k == 8 else -1}\n"]
        (folder / f"{name}_train.txt").write_text("".join(lines))
    dataset = open_dataset("voc2012", voc, labels="main")
    assert dataset.labels_source == "main"
    assert [i.labels for i in dataset.weak_view("train")] == [(1, 15), (8,)]


def test_photographs_and_masks_in_capitals(voc: Path) -> None:
    for image_id, suffix in zip("abcd", (".JPG", ".jpeg", ".png", ".PNG"), strict=True):
        path = voc / "JPEGImages" / f"{image_id}.jpg"
        Image.open(path).save(path.with_suffix(suffix))
        path.unlink()
    for path in (voc / "SegmentationClass").glob("*.png"):
        path.rename(path.with_suffix(".PNG"))
    dataset = open_dataset("voc2012", voc)
    assert not errors(dataset)
    assert [i.read().shape for i in dataset.weak_view("train_aug")] == [(6, 8, 3)] * 3
    assert dataset.masks("val")["d"].shape == (6, 8)
    Image.new("RGB", (8, 6)).save(voc / "JPEGImages" / "a.png")
    with pytest.raises(DataError, match=r"'a\.JPG' and 'a\.png'"):
        open_dataset("voc2012", voc).weak_view("train")


def test_any_list_may_be_trained_on_that_shares_nothing_with_val(voc: Path) -> None:
    (lists(voc) / "aug.txt").write_text("c\n")
    with pytest.raises(LeakError, match="training splits only"):
        open_dataset("voc2012", voc).weak_view("aug")
    dataset = open_dataset("voc2012", voc, train_split="aug")
    assert [i.id for i in dataset.weak_view("aug")] == ["c"]
    assert dataset.masks("aug").path("c").parent.name == "SegmentationClassAug"
    (lists(voc) / "aug.txt").write_text("c\nd\n")
    with pytest.raises(LeakError, match="1 images are also in 'val'"):
        open_dataset("voc2012", voc, train_split="aug").weak_view("aug")
    for split in ("val", "trainval", "test"):
        (lists(voc) / f"{split}.txt").write_text("a\nb\n")
        dataset = open_dataset("voc2012", voc, train_split=split, val_split="train")
        with pytest.raises(LeakError):
            dataset.weak_view(split)


def augment(voc: Path, *ids: str) -> None:
    for image_id in ids:
        name = f"{image_id}.png"
        mask = voc / "SegmentationClass" / name
        mask.rename(voc / "SegmentationClassAug" / name)


def test_val_is_never_scored_on_augmented_masks_in_silence(voc: Path) -> None:
    augment(voc, "d")
    dataset = open_dataset("voc2012", voc)
    message = r"val: 1 of 1 masks are in SegmentationClassAug alone .*d\.png"
    with pytest.raises(DataError, match=message) as caught:
        dataset.masks("val")
    assert any("SegmentationClassAug alone" in line for line in errors(dataset))
    # What the message says to do works, and the record tells.
    option = str(caught.value).rsplit("--data-option ", 1)[1]
    name, _, value = option.partition("=")
    dataset = open_dataset("voc2012", voc, **{name: value})
    assert dataset.masks("val").path("d").parent.name == "SegmentationClassAug"
    assert dataset.facts()["masks"] == "SegmentationClassAug"
    assert dataset.truth("val") == "SegmentationClassAug, border 255 ignored"


def test_the_source_of_the_truth(voc: Path) -> None:
    dataset = open_dataset("voc2012", voc)
    assert "masks" not in dataset.facts()
    assert dataset.truth_source("val") == "SegmentationClass"
    both = "SegmentationClassAug + SegmentationClass"
    assert dataset.truth_source("train_aug") == both
    augment(voc, "a", "b")
    dataset = open_dataset("voc2012", voc)
    assert dataset.truth_source("train_aug") == "SegmentationClassAug"
    with pytest.raises(DataError, match="train: 2 of 2 masks are in"):
        dataset.truth_source("train")


def test_masks_of_a_folder_elsewhere_are_sealed(voc: Path, tmp_path: Path) -> None:
    own = tmp_path / "mine"
    (voc / "SegmentationClass").rename(own)
    dataset = open_dataset("voc2012", voc, masks=str(own))
    assert dataset.masks("val").path("d") == own / "d.png"
    assert own in dataset.sealed()["masks"]
    assert dataset.truth_source("val") == "mine"
    with pytest.raises(DataError, match="masks=nowhere: there is no such folder"):
        open_dataset("voc2012", voc, masks="nowhere")


def replace_mask(voc: Path, image: Image.Image) -> None:
    image.save(voc / "SegmentationClass" / "a.png")


def foreign_palette() -> Image.Image:
    image = Image.fromarray(np.full((6, 8), 3, np.uint8)).convert("P")
    image.putpalette([7, 8, 9] * 256)
    return image


BAD_MASKS: dict[str, tuple[Any, str]] = {
    "rgb": (lambda: Image.new("RGB", (8, 6), (128, 0, 0)), "colour image .RGB."),
    "rgba": (lambda: Image.new("RGBA", (8, 6)), "colour image .RGBA."),
    "sixteen bits": (lambda: Image.new("I;16", (8, 6)), "pixel format 'I;16'"),
    "binary": (lambda: Image.new("1", (8, 6)), "pixel format '1'"),
    "foreign palette": (foreign_palette, "foreign palette: index 3"),
    "out of range": (lambda: Image.new("L", (8, 6), 21), r"holds values \[21\]"),
    "other size": (lambda: Image.new("L", (4, 3), 1), "3x4 .* is 6x8"),
}


@pytest.mark.parametrize("case", BAD_MASKS)
def test_bad_masks_are_named_with_a_remedy(voc: Path, case: str) -> None:
    make, message = BAD_MASKS[case]
    replace_mask(voc, make())
    dataset = open_dataset("voc2012", voc)
    with pytest.raises(DataError, match=rf"a\.png.*{message}.*\.") as caught:
        dataset.masks("train")["a"]
    assert str(caught.value).count(".") > 1
    found = errors(dataset)
    assert len(found) == 1
    assert "a.png" in found[0]


def test_grey_masks_and_grey_ramp_palettes_are_accepted(voc: Path) -> None:
    for image in (Image.new("L", (8, 6), 20), Image.new("L", (8, 6), 255)):
        replace_mask(voc, image)
        assert open_dataset("voc2012", voc).masks("train")["a"].max() in (20, 255)
    ramp = Image.fromarray(np.full((6, 8), 15, np.uint8)).convert("P")
    ramp.putpalette([v for k in range(256) for v in (k, k, k)])
    replace_mask(voc, ramp)
    assert (open_dataset("voc2012", voc).masks("train")["a"] == 15).all()


def test_missing_and_truncated_masks(voc: Path) -> None:
    path = voc / "SegmentationClass" / "a.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        open_dataset("voc2012", voc).masks("train")["a"]
    path.unlink()
    masks = open_dataset("voc2012", voc).masks("train")
    with pytest.raises(DataError, match=r"a\.png does not exist"):
        masks["a"]
    with pytest.raises(DataError, match="does not exist"):
        _ = masks.fingerprint
    with pytest.raises(DataError, match="no mask for image 'd'"):
        masks["d"]


def test_verify_names_every_defect(voc: Path) -> None:
    (voc / "JPEGImages" / "a.jpg").unlink()
    (voc / "JPEGImages" / "b.jpg").write_bytes(b"")
    whole = (voc / "JPEGImages" / "c.jpg").read_bytes()
    (voc / "JPEGImages" / "c.jpg").write_bytes(whole[:-40])
    (voc / "SegmentationClass" / "d.png").write_bytes(b"")
    (lists(voc) / "val.txt").write_text("d\ne\n")
    (lists(voc) / "more.txt").write_text("e\ne\n")
    found = errors(open_dataset("voc2012", voc))
    for word in (
        "a.jpg: the image is listed",
        "b.jpg: the image file is empty",
        "c.jpg: image",
        "d.png: the mask file is empty",
    ):
        assert any(word in line for line in found), (word, found)
    assert any("listed twice" in line for line in found)
    assert len(found) == 5


def test_verify_compares_labels_with_masks(voc: Path) -> None:
    (voc / "cls_labels.csv").write_text(
        "\n".join([HEADER, row("a", 3), row("b", 8, 9), row("c", 15)]) + "\n"
    )
    findings = verify_dataset(open_dataset("voc2012", voc))
    wrong = [f for f in findings if f.level == "error"]
    assert len(wrong) == 1
    assert (
        "1 of 3 masks show a class that the image-level labels lack (first: 'a')"
        in wrong[0].what
    )
    assert "check --labels" in wrong[0].fix
    assert any(
        "2 of 3 images carry a label without a pixel" in f.what and f.level == "warning"
        for f in findings
    )


def test_verify_reports_a_missing_role_and_missing_labels(voc: Path) -> None:
    (voc / "cls_labels.csv").unlink()
    (voc / "Annotations").rmdir()
    found = errors(open_dataset("voc2012", voc, val_split="valid"))
    assert any("split 'valid' (role: val) does not exist" in line for line in found)
    assert sum("no image-level labels" in line for line in found) == 2


def test_subsets_are_infos_and_long_reports_are_cut(voc: Path) -> None:
    infos = [
        f.what
        for f in verify_dataset(open_dataset("voc2012", voc))
        if f.level == "info"
    ]
    assert "2 of the official 1,464 images: a subset." in infos
    ids = [f"m{k}" for k in range(14)]
    (lists(voc) / "val.txt").write_text("\n".join(ids))
    found = errors(open_dataset("voc2012", voc))
    assert sum("the image is listed" in line for line in found) == 10
    assert any("4 more of the same sort: missing image" in line for line in found)


def test_roots_that_hold_nothing_say_how_to_get_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WSSS_BENCH_DATA_ROOT", raising=False)
    with pytest.raises(DataError, match=r"no voc2012 under .*--download"):
        open_dataset("voc2012", tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        open_dataset("voc2012", tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"needs a data root.*WSSS_BENCH_DATA_ROOT"):
        open_dataset("voc2012")


def test_sealed_masks_travel_to_worker_processes_and_views_do_not_reach_them(
    voc: Path,
) -> None:
    dataset = open_dataset("voc2012", voc)
    masks = pickle.loads(pickle.dumps(dataset.masks("train")))
    assert masks["b"].max() == 255
    view = dataset.weak_view("train")
    assert not [name for name in vars(view) if "mask" in name]
    assert masks.fingerprint == dataset.masks("train").fingerprint
