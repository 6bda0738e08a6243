from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsss_bench.data import open_dataset, verify_dataset
from wsss_bench.data.coco.index import CATEGORY_IDS, COCO_CLASSES, MASK_IDS
from wsss_bench.data.coco.masks import decode_counts, decode_rle, fill_polygon, paint
from wsss_bench.errors import DataError, LeakError
from wsss_bench.io.images import write_mask

HEIGHT, WIDTH = 6, 8
PERSON, BICYCLE, TOOTHBRUSH = 1, 2, 90


def square(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def annotation(
    number: int, image: int, category: int, segmentation: Any, crowd: int = 0
) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "iscrowd": crowd,
    }


def instances(
    images: list[int], split: str, annotations: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "images": [
            {
                "id": k,
                "file_name": f"COCO_{split}2014_{k:012d}.jpg",
                "height": HEIGHT,
                "width": WIDTH,
            }
            for k in images
        ],
        "annotations": annotations,
        "categories": [
            {"id": c, "name": COCO_CLASSES[MASK_IDS[c]]} for c in CATEGORY_IDS
        ],
    }


def crowd_columns(first: int, last: int) -> dict[str, Any]:
    """Uncompressed RLE of whole columns, ``first <= c < last``; runs are column-major."""
    runs = [first * HEIGHT, (last - first) * HEIGHT, (WIDTH - last) * HEIGHT]
    return {"size": [HEIGHT, WIDTH], "counts": runs}


TRAIN = [
    annotation(11, 5, PERSON, [square(1, 1, 7, 5)]),
    annotation(12, 5, BICYCLE, [square(2, 2, 4, 4)]),
    annotation(13, 7, TOOTHBRUSH, crowd_columns(0, 2), crowd=1),
]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Image 5: person with bicycle in front; 7: crowd only; 3: no annotation; val image 9: a bicycle."""
    root = tmp_path / "coco"
    for split, images, found in (
        ("train", [7, 5, 3], TRAIN),
        ("val", [9], [annotation(1, 9, BICYCLE, [square(0, 0, 3, 3)])]),
    ):
        (root / f"{split}2014").mkdir(parents=True)
        for k in images:
            Image.new("RGB", (WIDTH, HEIGHT), (k, k, k)).save(
                root / f"{split}2014" / f"COCO_{split}2014_{k:012d}.jpg"
            )
        write(root, split, instances(images, split, found))
    return root


def write(root: Path, split: str, payload: object) -> None:
    path = root / "annotations" / f"instances_{split}2014.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(payload))


def encode(counts: list[int]) -> str:
    """Compressed form of run lengths, written for the test from the format's description."""
    out = []
    for k, count in enumerate(counts):
        value = count - counts[k - 2] if k > 2 else count
        while True:
            group, value = value & 31, value >> 5
            finished = value == (-1 if group & 16 else 0)
            out.append(chr(48 + (group if finished else group | 32)))
            if finished:
                break
    return "".join(out)


def test_eighty_classes_in_the_order_of_category_ids() -> None:
    assert len(COCO_CLASSES) == 81
    assert COCO_CLASSES[0] == "background"
    assert (MASK_IDS[1], MASK_IDS[13], MASK_IDS[90]) == (1, 12, 80)
    assert (
        COCO_CLASSES[MASK_IDS[13]],
        COCO_CLASSES[MASK_IDS[67]],
        COCO_CLASSES[80],
    ) == (
        "stop sign",
        "dining table",
        "toothbrush",
    )


def test_compressed_counts_by_hand() -> None:
    # 2 -> '2'; 3 -> '3'; 1 -> '1'; then 1 - 3 = -2: group 30 has its sign bit set -> chr(48 + 30) = 'N'
    assert decode_counts("231N") == [2, 3, 1, 1]
    # 40 = 8 + 1 * 32: low group 8 with "more" -> chr(48 + 40) = 'X', then '1'
    assert decode_counts("X1") == [40]
    assert decode_counts(b"0") == [0]


def test_compressed_counts_round_trip_over_many_magnitudes() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        counts = [int(c) for c in rng.integers(0, 10 ** rng.integers(1, 6), 30)]
        assert decode_counts(encode(counts)) == counts


@pytest.mark.parametrize(
    ("text", "message"), [("X", "ends within a number"), ("2 3", "character ' '")]
)
def test_broken_compressed_counts(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_counts(text)


def test_rle_is_column_major_and_begins_with_zeros() -> None:
    # column 0 = 0 0 1, column 1 = 1 1 0, column 2 = 1 ... as in runs [2, 3, 1, 1] over a 1-wide or 3 x 3 grid
    expected = np.array([[0, 1, 1], [0, 1, 0], [1, 0, 0]], bool)
    for counts in ([2, 3, 1, 1, 2], encode([2, 3, 1, 1, 2])):
        np.testing.assert_array_equal(
            decode_rle({"size": [3, 3], "counts": counts}, 3, 3), expected
        )


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"counts": [9]}, "no 'size'"),
        ({"size": [3, 3]}, "no 'counts'"),
        ({"size": [3, 4], "counts": [12]}, "size .* is not the image's"),
        ({"size": [3, 3], "counts": [4, 4]}, "add up to 8 pixels, the image has 9"),
        ({"size": [3, 3], "counts": [10, -1]}, "add up"),
    ],
)
def test_broken_rle(rle: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_rle(rle, 3, 3)


def filled(polygon: list[float], height: int = 6, width: int = 8) -> Any:
    target = np.zeros((height, width), bool)
    fill_polygon(target, polygon)
    return target


def test_polygon_takes_pixels_by_their_centres() -> None:
    expected = np.zeros((6, 8), bool)
    expected[1:4, 2:5] = True
    np.testing.assert_array_equal(filled(square(2, 1, 5, 4)), expected)
    # 0.4 further each way still has the same centres inside; 0.6 does not.
    np.testing.assert_array_equal(filled(square(1.6, 0.6, 5.4, 4.4)), expected)
    assert filled(square(1.4, 0.4, 5.6, 4.6)).sum() == 25


def test_triangle_by_hand() -> None:
    # Right triangle (0,0) (4,0) (0,4): centre (c + .5, r + .5) inside iff c + r + 1 < 4.
    rows, columns = np.mgrid[0:6, 0:8]
    np.testing.assert_array_equal(
        filled([0, 0, 4.01, 0, 0, 4.01]), rows + columns + 1 <= 4
    )


def test_polygon_is_even_odd_clipped_and_tolerates_degenerates() -> None:
    ring = [*square(0, 0, 6, 6), 0, 0, *square(2, 2, 4, 4), 2, 2]
    assert filled(ring).sum() == 36 - 4
    assert filled(square(-5, -5, 3, 2)).sum() == 6
    assert filled(square(6, 4, 50, 50)).sum() == 4
    assert filled(square(-9, -9, -1, -1)).sum() == 0
    assert filled([1, 1, 5, 5]).sum() == 0
    for bad in ([1, 2, 3], [0, 0, float("nan"), 1, 2, 2], [[0, 0], [1, 1]]):
        with pytest.raises(ValueError, match="flat list"):
            filled(bad)  # type: ignore[arg-type]


def test_random_polygons_agree_with_the_definition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        points = rng.uniform(-2, 22, (rng.integers(3, 9), 2))
        got = filled(points.ravel().tolist(), 20, 20)
        for r, c in rng.integers(0, 20, (25, 2)):
            assert got[r, c] == crossings_are_odd(points, c + 0.5, r + 0.5)


def crossings_are_odd(points: Any, x: float, y: float) -> bool:
    inside = False
    for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if (ay > y) != (by > y) and x >= ax + (y - ay) * (bx - ax) / (by - ay):
            inside = not inside
    return inside


def test_small_instances_lie_over_large_ones_whatever_their_order() -> None:
    for order in (TRAIN[:2], TRAIN[1::-1]):
        mask = paint(order, MASK_IDS, HEIGHT, WIDTH)
        assert (mask == 2).sum() == 4
        assert (mask == 1).sum() == 24 - 4
        assert mask[2, 2] == 2


def test_equal_instances_are_painted_by_id() -> None:
    twins = [
        annotation(8, 1, BICYCLE, [square(0, 0, 2, 2)]),
        annotation(3, 1, PERSON, [square(0, 0, 2, 2)]),
    ]
    for order in (twins, twins[::-1]):
        assert paint(order, MASK_IDS, HEIGHT, WIDTH)[0, 0] == 2


def test_crowds_are_ignored_except_where_single_instances_lie() -> None:
    crowd = annotation(1, 1, PERSON, crowd_columns(0, 4), crowd=1)
    single = annotation(2, 1, PERSON, [square(2, 0, 6, 6)])
    mask = paint([single, crowd], MASK_IDS, HEIGHT, WIDTH)
    assert (mask[:, :2] == 255).all()
    assert (mask[:, 2:6] == 1).all()
    assert (mask[:, 6:] == 0).all()


def test_views_lists_and_labels(coco: Path) -> None:
    dataset = open_dataset("coco2014", coco)
    assert dataset.available_splits() == ("train", "val")
    view = dataset.weak_view("train")
    assert [(i.id[-2:], i.labels) for i in view] == [
        ("03", ()),
        ("05", (1, 2)),
        ("07", (80,)),
    ]
    assert [i.id[-2:] for i in view.with_labels()] == ["05", "07"]
    tagged = open_dataset("coco2014", coco, lists="tagged")
    assert [i.id[-2:] for i in tagged.weak_view("train")] == ["05", "07"]
    assert len(tagged.masks("train")) == 2
    assert tagged.facts()["lists"] == "tagged"
    assert view.fingerprint != tagged.weak_view("train").fingerprint
    with pytest.raises(LeakError):
        dataset.weak_view("val")


def test_masks_are_rasterised_once_into_the_cache(coco: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    dataset = open_dataset("coco2014", coco, cache=str(cache))
    seen: list[tuple[int, int]] = []
    dataset.prepare(lambda what, done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3), (1, 1)]
    dataset.prepare(lambda *_: pytest.fail("rasterised twice"))
    masks = open_dataset("coco2014", coco, cache=cache).masks("train")
    assert masks["COCO_train2014_000000000005"][2, 2] == 2
    assert set(np.unique(masks["COCO_train2014_000000000007"]).tolist()) == {0, 255}
    assert not masks["COCO_train2014_000000000003"].any()
    assert not (coco / "masks2014").exists()


def test_changed_annotations_are_rasterised_anew(coco: Path) -> None:
    before = open_dataset("coco2014", coco).masks("val")
    assert before[before.ids[0]].max() == 2
    write(
        coco,
        "val",
        instances([9], "val", [annotation(1, 9, PERSON, [square(0, 0, 3, 3)])]),
    )
    after = open_dataset("coco2014", coco).masks("val")
    assert after[after.ids[0]].max() == 1
    assert before.fingerprint != after.fingerprint


def test_annotations_that_change_before_the_masks_are_made_spoil_no_folder(
    coco: Path,
) -> None:
    masks = open_dataset("coco2014", coco).masks("val")
    changed = [annotation(1, 9, PERSON, [square(0, 0, 3, 3)])]
    write(coco, "val", instances([9], "val", changed))
    with pytest.raises(DataError, match=r"changed while it was in use\. Run"):
        masks[masks.ids[0]]
    again = open_dataset("coco2014", coco).masks("val")
    assert again[again.ids[0]].max() == 1


def test_nothing_is_written_before_a_mask_is_read(coco: Path) -> None:
    cache = coco.parent / "cache"
    dataset = open_dataset("coco2014", coco, cache=cache)
    before = sorted(coco.rglob("*"))
    assert not dataset.ready()
    masks = dataset.masks("train")
    fingerprint = masks.fingerprint
    assert dataset.truth("seeds") == "instances_train2014.json, crowds 255 ignored"
    assert len(dataset.weak_view("train")) == len(masks) == 3
    assert sorted(coco.rglob("*")) == before
    assert not cache.exists()
    copied = pickle.loads(pickle.dumps(masks))
    assert copied["COCO_train2014_000000000005"][2, 2] == 2
    dataset.prepare()
    assert dataset.ready()
    made = open_dataset("coco2014", coco, cache=cache)
    assert made.ready()
    assert made.masks("train").fingerprint == fingerprint
    assert sorted(coco.rglob("*")) == before


def test_a_preview_paints_in_memory(coco: Path) -> None:
    cache = coco.parent / "cache"
    dataset = open_dataset("coco2014", coco, cache=cache)
    preview = dataset.preview()
    seen = preview.masks("train")
    assert seen["COCO_train2014_000000000005"][2, 2] == 2
    assert not seen.path("COCO_train2014_000000000005").exists()
    assert not cache.exists()
    masks = dataset.masks("train")
    assert seen.fingerprint == masks.fingerprint
    for image_id in masks.ids:
        np.testing.assert_array_equal(masks[image_id], seen[image_id])
    dataset.prepare()
    assert dataset.preview() is dataset


def test_masks_of_a_former_version_are_used_where_they_are_whole(coco: Path) -> None:
    made = open_dataset("coco2014", coco, cache=coco / "masks2014")
    made.prepare()
    for index in (coco / "masks2014").glob("*/index.json"):
        content = json.loads(index.read_text())
        del content["masks"]
        index.write_text(json.dumps({**content, "version": 1}))
    dataset = open_dataset("coco2014", coco, cache=coco.parent / "cache")
    assert dataset.ready()
    dataset.prepare()
    masks = dataset.masks("val")
    assert masks.path(masks.ids[0]).parent.parent == coco / "masks2014"
    assert not (coco.parent / "cache").exists()
    masks.path(masks.ids[0]).unlink()
    again = open_dataset("coco2014", coco, cache=coco.parent / "cache")
    assert not again.ready()
    assert again.masks("val")[masks.ids[0]].max() == 2
    assert (coco.parent / "cache").exists()


def test_a_damaged_index_of_a_former_version_is_left_alone(coco: Path) -> None:
    open_dataset("coco2014", coco, cache=coco / "masks2014").prepare()
    for index in (coco / "masks2014").glob("*/index.json"):
        index.write_text("{")
    dataset = open_dataset("coco2014", coco, cache=coco.parent / "cache")
    dataset.prepare()
    assert (
        dataset.masks("val")
        .path("COCO_val2014_000000000009")
        .is_relative_to(coco.parent / "cache")
    )
    own = open_dataset("coco2014", coco, cache=coco / "masks2014")
    with pytest.raises(DataError, match=r"index\.json is damaged .*Delete the folder"):
        own.prepare()


def test_a_mask_that_was_changed_is_refused_and_made_again(coco: Path) -> None:
    dataset = open_dataset("coco2014", coco, cache=coco.parent / "cache")
    dataset.prepare()
    path = dataset.masks("val").path("COCO_val2014_000000000009")
    write_mask(path, np.zeros((HEIGHT, WIDTH), np.uint8))
    changed = open_dataset("coco2014", coco, cache=coco.parent / "cache")
    found = [one.what for one in verify_dataset(changed) if one.level == "error"]
    assert found == ["the mask differs from the annotations it was made from."]
    masks = changed.masks("val")
    with pytest.raises(
        DataError, match=r"was changed after it was made.*Delete it and"
    ):
        masks["COCO_val2014_000000000009"]
    path.unlink()
    again = open_dataset("coco2014", coco, cache=coco.parent / "cache")
    again.prepare()
    assert again.masks("val")["COCO_val2014_000000000009"].max() == 2


def test_an_interrupted_rasterisation_goes_on(coco: Path) -> None:
    dataset = open_dataset("coco2014", coco)

    def stop(what: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset.prepare(stop)
    folder = dataset.mask_folder("train")  # type: ignore[attr-defined]
    assert not (folder / "index.json").exists()
    assert len(list(folder.glob("*.png"))) == 2
    first = min(folder.glob("*.png"))
    stamp = first.stat().st_mtime_ns
    assert len(open_dataset("coco2014", coco).masks("train")) == 3
    assert first.stat().st_mtime_ns == stamp


def test_masks_are_made_in_the_users_cache_and_never_in_a_root(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WSSS_BENCH_CACHE", str(tmp_path / "user"))
    before = sorted(coco.rglob("*"))
    masks = open_dataset("coco2014", coco, "mini").masks("val")
    path = masks.path("COCO_val2014_000000000009")
    assert path.is_file()
    assert path.is_relative_to(tmp_path / "user" / "coco-masks")
    assert sorted(coco.rglob("*")) == before
    assert not (tmp_path / "work_dirs").exists()


def test_a_cache_that_cannot_be_written_names_the_option(
    coco: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    masks = open_dataset("coco2014", coco, cache=tmp_path / "file").masks("val")
    with pytest.raises(DataError, match="--data-option cache=FOLDER"):
        masks[masks.ids[0]]


def broken(**changes: Any) -> dict[str, Any]:
    return {**annotation(21, 9, PERSON, [square(0, 0, 3, 3)]), **changes}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            {k: v for k, v in broken().items() if k != "segmentation"},
            "annotation id 21 has no 'segmentation'",
        ),
        (
            {k: v for k, v in broken().items() if k != "id"},
            "annotation number 0 has no 'id'",
        ),
        (broken(image_id=1), "annotation id 21: unknown image_id 1"),
        (broken(category_id=12), "annotation id 21: unknown category_id 12"),
        (
            broken(segmentation={"size": [6, 8], "counts": [1]}),
            "annotation 21: the runs add up to 1",
        ),
        (
            broken(segmentation={"size": [6, 8], "counts": "X"}),
            "annotation 21: the compressed",
        ),
        (broken(segmentation=[[1, 2, 3]]), "annotation 21: a polygon must be"),
        (broken(segmentation="?"), "annotation 21: the segmentation is neither"),
    ],
)
def test_malformed_annotations_name_file_and_id(
    coco: Path, found: dict[str, Any], message: str
) -> None:
    write(coco, "val", instances([9], "val", [found]))
    dataset = open_dataset("coco2014", coco)
    with pytest.raises(DataError, match=rf"instances_val2014\.json.*{message}"):
        dataset.prepare()
    assert any(
        f.level == "error" and "instances_val2014.json" in f.where
        for f in verify_dataset(dataset)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "must be a JSON object"),
        ("{}", "no list 'images'"),
        (
            '{"images": [{"id": 4}], "annotations": [], "categories": []}',
            "image id 4 has no 'file_name', 'height', 'width'",
        ),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "water"}]}',
            "'water'. is none of COCO's 80",
        ),
    ],
)
def test_malformed_files(coco: Path, text: str, message: str) -> None:
    (coco / "annotations" / "instances_val2014.json").write_text(text)
    with pytest.raises(DataError, match=message):
        open_dataset("coco2014", coco).image_view("val")


def test_file_names_may_not_leave_the_folder_or_repeat(coco: Path) -> None:
    payload = instances([9], "val", [])
    payload["images"][0]["file_name"] = "../../secret.jpg"
    write(coco, "val", payload)
    with pytest.raises(DataError, match="not unique and plain"):
        open_dataset("coco2014", coco).image_view("val")


def test_verify(coco: Path) -> None:
    dataset = open_dataset("coco2014", coco)
    findings = verify_dataset(dataset)
    assert {f.level for f in findings} == {"info"}
    assert any("lists=tagged: 2 of the official 82,081" in f.what for f in findings)
    assert any(
        "1 of 3 images carry a label without a pixel" in f.what for f in findings
    )
    assert not (coco / "masks2014").exists()
    (coco / "train2014" / "COCO_train2014_000000000005.jpg").unlink()
    Image.new("RGB", (4, 4)).save(
        coco / "train2014" / "COCO_train2014_000000000007.jpg"
    )
    (coco / "annotations" / "instances_val2014.json").unlink()
    found = [
        f"{f.where}: {f.what}"
        for f in verify_dataset(open_dataset("coco2014", coco))
        if f.level == "error"
    ]
    assert len(found) == 3
    assert any("05.jpg: the image is listed" in line for line in found)
    assert any("07.jpg: the photograph is 4x4" in line for line in found)
    assert any("instances_val2014.json is missing" in line for line in found)


def test_bad_options_and_roots(coco: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Did you mean 'tagged'"):
        open_dataset("coco2014", coco, lists="taged")
    with pytest.raises(DataError, match="no coco2014 under"):
        open_dataset("coco2014", tmp_path / "coco" / "train2014")
