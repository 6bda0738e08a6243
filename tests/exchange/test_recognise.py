"""The form of a folder of score files: found where most images agree, refused where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from wsss_bench.errors import ArtifactError
from wsss_bench.exchange import recognise as module
from wsss_bench.exchange.forms import Form
from wsss_bench.exchange.legacy import read_seed
from wsss_bench.exchange.recognise import classes_in, recognise
from wsss_bench.exchange.stored import KEYED, OWN, PLAIN

CLASSES = ("background", *"abcdefgh")
SIZE = (2, 3)

Keys = dict[str, Sequence[int]]


def maps(count: int) -> np.ndarray:
    return np.full((count, *SIZE), 0.5, np.float32)


def plain(folder: Path, keys: Keys) -> dict[str, Path]:
    """Write one map per key and image; return the files."""
    files = {}
    for image_id, own in keys.items():
        files[image_id] = folder / f"{image_id}.npy"
        stored = dict(zip(own, maps(len(own)), strict=True))
        np.save(files[image_id], stored, allow_pickle=True)  # type: ignore[arg-type]
    return files


def npz(folder: Path, keys: Keys) -> dict[str, Path]:
    files = {}
    for image_id, own in keys.items():
        files[image_id] = folder / f"{image_id}.npz"
        ids = np.asarray(own, np.int64)
        np.savez(files[image_id], class_ids=ids, scores=maps(len(own)))
    return files


def found(files: dict[str, Path], shown: Keys) -> Form:
    form, warning = recognise(files, shown.__getitem__, CLASSES)
    assert warning == ""
    return form


def test_a_few_images_that_disagree_change_nothing(tmp_path: Path) -> None:
    shown: Keys = {str(number): [1 + number % 7] for number in range(20)}
    keys = {image_id: [k - 1 for k in own] for image_id, own in shown.items()}
    # A hidden object, a label too many, and one that fits the other reading alone.
    keys["0"] = [0, 5]
    shown["1"] = [2, 8]
    keys["2"] = shown["2"]
    assert found(plain(tmp_path, keys), shown) == Form(PLAIN, "", 1)


def test_classes_that_were_predicted_are_enough(tmp_path: Path) -> None:
    # Predicted on a validation split: never all classes, and no set is exact.
    shown: Keys = {"a": [1, 3, 8], "b": [2, 4, 7], "c": [1, 5, 8], "d": [1, 2]}
    keys: Keys = {"a": [1], "b": [4], "c": [5], "d": [1]}
    assert found(plain(tmp_path, keys), shown).first == 0
    low = {image_id: [k - 1 for k in own] for image_id, own in keys.items()}
    # Key 0 would be the background in three of them, which says nothing against the other reading but the classes do.
    assert found(plain(tmp_path, low), shown).first == 1


def test_readings_that_fit_alike_are_refused(tmp_path: Path) -> None:
    # Of three classes side by side, any two keys in the middle fit in part.
    shown: Keys = {name: [2, 3, 4, 5] for name in "abcd"}
    files = plain(tmp_path, {name: [2, 3] for name in "abcd"})
    with pytest.raises(ArtifactError, match="cannot be told") as raised:
        recognise(files, shown.__getitem__, CLASSES)
    said = str(raised.value)
    assert "0 of 4 images have the right classes if keys are read counted from" in said
    assert "a.npy has keys [2, 3], the image shows classes [2, 3, 4, 5]" in said


def test_images_without_a_class_have_no_vote(tmp_path: Path) -> None:
    shown: Keys = {**{str(number): [] for number in range(9)}, "x": [4]}
    keys: Keys = {**{str(number): [] for number in range(9)}, "x": [3]}
    assert found(plain(tmp_path, keys), shown).first == 1
    nothing = {image_id: keys[image_id] for image_id in "012"}
    form = found(plain(tmp_path, nothing), shown)
    assert form == Form(PLAIN, "", 1)
    assert len(read_seed(tmp_path / "0.npy", SIZE, form).class_ids) == 0


def test_category_ids_are_named(tmp_path: Path) -> None:
    categories = {1: 1, 4: 2, 5: 3, 9: 4}
    shown: Keys = {"a": [2], "b": [3], "c": [4], "d": [2, 4]}
    files = plain(tmp_path, {"a": [4], "b": [5], "c": [9], "d": [4, 9]})
    with pytest.raises(ArtifactError, match="4 of 4 if they are category ids of the"):
        recognise(files, shown.__getitem__, CLASSES, category_ids=categories)


def test_backgrounds_without_a_class_have_one(tmp_path: Path) -> None:
    # Nothing but background: key 0 cannot be a class, for the images show none.
    shown: Keys = {"a": [], "b": [], "c": []}
    form = found(plain(tmp_path, {"a": [0], "b": [0], "c": [0]}), shown)
    assert form == Form(PLAIN, "", 0, background=True)
    assert len(read_seed(tmp_path / "a.npy", SIZE, form).class_ids) == 0


def test_a_sample_is_taken_from_all_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAMPLE", 5)
    shown: Keys = {str(number): [1 + number % 7] for number in range(22)}
    files = plain(tmp_path, shown)
    asked: list[str] = []

    def tell(image_id: str) -> Sequence[int]:
        asked.append(image_id)
        return shown[image_id]

    form, _ = recognise(files, tell, CLASSES)
    assert form.first == 0
    assert asked == ["0", "5", "10", "15", "20"]


def test_own_files_say_themselves_what_their_ids_are(tmp_path: Path) -> None:
    shown: Keys = {"a": [1], "b": [2], "c": [3]}
    assert found(npz(tmp_path, shown), shown) == Form(OWN, "scores", 0)
    form, warning = recognise(
        npz(tmp_path, {"a": [7], "b": [8], "c": [3]}), shown.__getitem__, CLASSES
    )
    assert form == Form(OWN, "scores", 0)
    assert warning.startswith("class_ids fit the classes of few images: ")
    with pytest.raises(ArtifactError, match="class_ids are one too low"):
        recognise(
            npz(tmp_path, {"a": [0], "b": [1], "c": [2]}), shown.__getitem__, CLASSES
        )


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"keys": np.array([0, 3]), "cam": maps(4)}, "2 class ids, scores of shape"),
        ({"keys": np.array([1, 3]), "cam": maps(1)}, "2 class ids, scores of shape"),
        ({"keys": np.array([0, 1]), "cam": maps(2)[0]}, "2 class ids, scores of shape"),
        ({"keys": np.array([0.5]), "cam": maps(1)}, "class ids are float64"),
        ({"keys": np.array([1])}, "keys without an array of maps"),
        (
            {"keys": np.array([1]), "first": maps(1), "second": maps(1)},
            r"several arrays of maps \(first, second\)",
        ),
        ({"keys": np.array([1]), "cam": maps(1) * 1j}, "scores are complex"),
    ],
)
def test_what_is_no_form_is_refused(
    tmp_path: Path, stored: dict[str, np.ndarray], message: str
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, stored, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match=message):
        recognise({"a": path}, {"a": [1]}.__getitem__, CLASSES)
    with pytest.raises(ArtifactError, match=message):
        read_seed(path, SIZE)


def test_an_unusual_name_is_scored_where_it_is_the_only_one(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    stored = {"keys": np.array([2]), "mine": maps(1), "bg_score": maps(1)}
    np.save(path, stored, allow_pickle=True)  # type: ignore[arg-type]
    form, _ = recognise({"a": path}, {"a": [3]}.__getitem__, CLASSES)
    assert form == Form(KEYED, "mine", 1)
    seed = read_seed(path, SIZE, form)
    assert seed.class_ids.tolist() == [3]


def test_a_file_of_another_form_is_named(tmp_path: Path) -> None:
    files = plain(tmp_path, {"a": [0, 3], "b": [0, 4]})
    form = found(files, {"a": [3], "b": [4]})
    np.savez(tmp_path / "c.npz", class_ids=np.array([1]), scores=maps(1))
    with pytest.raises(ArtifactError, match=r"c\.npz is 'class_ids and scores'"):
        read_seed(tmp_path / "c.npz", SIZE, form)
    keyed = Form(KEYED, "cam", 1)
    np.savez(tmp_path / "d.npz", keys=np.array([1]), high_res=maps(1))
    with pytest.raises(ArtifactError, match=r"d\.npz has no array 'cam'"):
        read_seed(tmp_path / "d.npz", SIZE, keyed)


def test_classes_of_a_mask_leave_out_background_and_ignored_pixels() -> None:
    mask = np.asarray([[0, 255, 3], [254, 3, 1]], np.uint8)
    assert classes_in(mask) == {1, 3, 254}
