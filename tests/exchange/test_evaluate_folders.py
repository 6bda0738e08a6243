"""Other people's files: PNG masks, IRN's, PSA's and plain score files, and pickles that must not run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.exchange.archives import export_voc
from wsss_bench.exchange.folders import guess_kind, score_folder
from wsss_bench.exchange.legacy import load_arrays_only, read_seed
from wsss_bench.io.images import write_mask

CLASSES = ("background", "cat", "dog")


class Truth(dict[str, np.ndarray]):
    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self)


def mask(*rows: list[int]) -> np.ndarray:
    return np.asarray(rows, np.uint8)


@pytest.fixture
def truth() -> Truth:
    return Truth(a=mask([0, 1], [2, 255]), b=mask([1, 1, 0]))


def test_predictions_are_read_from_palette_and_greyscale_png(
    tmp_path: Path, truth: Truth
) -> None:
    write_mask(tmp_path / "a.png", mask([0, 1], [1, 0]))
    Image.fromarray(mask([1, 255, 0])).save(tmp_path / "b.png")
    write_mask(tmp_path / "stranger.png", truth["a"])
    found = score_folder(tmp_path, truth, CLASSES, guess_kind(tmp_path))
    assert (found.kind, found.unused) == ("prediction", 1)
    np.testing.assert_allclose(found.counts["val"].per_class_iou(), [1, 2 / 4, 0])
    as_labels = score_folder(tmp_path, truth, CLASSES, "labels").counts["labels"]
    assert as_labels.coverage() == pytest.approx(5 / 6)


def test_a_missing_image_a_coloured_png_and_an_empty_folder_are_refused(
    tmp_path: Path, truth: Truth
) -> None:
    write_mask(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(
        DataError, match=r"1 of 2 images have no \.png file \(first: 'b'\)"
    ):
        score_folder(tmp_path, truth, CLASSES, "prediction")
    Image.fromarray(np.zeros((1, 3, 3), np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(ArtifactError, match="is a RGB image"):
        score_folder(tmp_path, truth, CLASSES, "prediction")
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(ArtifactError, match=r"b\.png cannot be read"):
        score_folder(tmp_path, truth, CLASSES, "prediction")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no"):
        guess_kind(tmp_path / "empty")
    with pytest.raises(DataError, match="is no folder"):
        guess_kind(tmp_path / "nowhere")


def maps() -> np.ndarray:
    return np.asarray([[[0.1, 0.9], [0.2, 0.3]], [[0.0, 0.2], [0.8, 0.9]]], np.float32)


def write_seed(path: Path, layout: str) -> None:
    scores = maps()
    if layout == "irn":
        torch = pytest.importorskip("torch")
        stored: Any = {
            "keys": torch.tensor([0, 1]),
            "cam": torch.zeros(2, 1, 1),
            "high_res": scores,
        }
        np.save(path.with_suffix(".npy"), stored, allow_pickle=True)
    elif layout == "psa":
        stored = {1: scores[1], np.int64(0): scores[0]}
        np.save(path.with_suffix(".npy"), stored, allow_pickle=True)
    elif layout == "irn npz":
        keys = np.asarray([1, 0])
        np.savez(path.with_suffix(".npz"), keys=keys, high_res=scores[::-1])
    else:
        ids = np.asarray([1, 2])
        half = scores.astype(np.float16)
        np.savez(path.with_suffix(".npz"), class_ids=ids, scores=half)


@pytest.mark.parametrize("layout", ["own", "irn", "irn npz", "psa"])
def test_every_layout_of_seeds_gives_the_same_score(
    tmp_path: Path, truth: Truth, layout: str
) -> None:
    del truth["b"]
    write_seed(tmp_path / "a", layout)
    found = score_folder(tmp_path, truth, CLASSES, guess_kind(tmp_path), fixed=0.255)
    assert set(found.counts) == {"seeds_best", "seeds_fixed"}
    assert found.counts["seeds_best"].miou() == 1.0
    assert found.thresholds == {"oracle": found.curve.best()[0], "fixed": 0.255}  # type: ignore[union-attr]
    assert found.counts["seeds_fixed"].miou() == 1.0


def test_scores_on_a_coarse_grid_are_scaled_to_the_photograph(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz",
        class_ids=np.asarray([1]),
        scores=np.asarray([[[1.0, 0.0]]], np.float32),
    )
    truth = Truth(a=mask([1, 1, 0, 0]))
    found = score_folder(tmp_path, truth, CLASSES, "seeds", fixed=0.5)
    assert found.counts["seeds_fixed"].miou() == 1.0


def test_a_pickle_that_would_run_code_is_refused_before_it_runs(tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {marker}",)

    np.save(tmp_path / "a.npy", {"keys": Evil()}, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match=r"asks for (posix|nt)\.system"):
        load_arrays_only(tmp_path / "a.npy")
    assert not marker.exists()


@pytest.mark.parametrize(
    "evil",
    [
        "builtins.eval",
        "numpy.load",
        "torch.load",
        "numpy._core.multiarray.fromfile",
        "os.system",
    ],
)
def test_names_outside_the_list_are_refused(tmp_path: Path, evil: str) -> None:
    module, _, name = evil.rpartition(".")
    # A pickle by hand (protocol 4, two texts, STACK_GLOBAL), for `pickle.dumps` names no function that is missing here.
    words = pickle.dumps(module, 4)[2:-1] + pickle.dumps(name, 4)[2:-1]
    body = b"\x80\x04" + words + b"\x93."
    header = b"\x93NUMPY\x01\x00" + (70).to_bytes(2, "little")
    header += (
        b"{'descr': '|O', 'fortran_order': False, 'shape': (), }".ljust(69) + b"\n"
    )
    (tmp_path / "a.npy").write_bytes(header + body)
    with pytest.raises(ArtifactError, match="no file of arrays needs"):
        load_arrays_only(tmp_path / "a.npy")


def test_objects_other_than_arrays_and_damaged_files_are_refused(
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "text.npy", {"keys": "abc"}, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="holds a str"):
        load_arrays_only(tmp_path / "text.npy")
    np.save(
        tmp_path / "nested.npy",
        np.asarray([np.zeros(2), None], dtype=object),
        allow_pickle=True,
    )
    with pytest.raises(ArtifactError, match="was refused"):
        load_arrays_only(tmp_path / "nested.npy")
    (tmp_path / "raw.npy").write_bytes(pickle.dumps({"keys": np.zeros(2)}))
    with pytest.raises(ArtifactError, match=r"no \.npy file"):
        load_arrays_only(tmp_path / "raw.npy")
    whole = (tmp_path / "text.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-5])
    with pytest.raises(ArtifactError, match=r"cut\.npy was refused"):
        load_arrays_only(tmp_path / "cut.npy")
    np.savez(tmp_path / "object.npz", class_ids=np.asarray([None], dtype=object))
    with pytest.raises(ArtifactError, match="without pickle"):
        read_seed(tmp_path / "object.npz", (2, 2))
    np.savez(tmp_path / "other.npz", something=np.zeros(3))
    with pytest.raises(ArtifactError, match=r"holds \['something'\]"):
        read_seed(tmp_path / "other.npz", (2, 2))


def test_seeds_out_of_range_are_named(tmp_path: Path, truth: Truth) -> None:
    np.savez(
        tmp_path / "a.npz", class_ids=np.asarray([1]), scores=np.full((1, 2, 2), 3.0)
    )
    with pytest.raises(ArtifactError, match=r"a\.npz: scores must lie in \[0, 1\]"):
        score_folder(tmp_path, Truth(a=truth["a"]), CLASSES, "seeds")


def test_voc_archive_has_the_servers_layout_and_stable_bytes(tmp_path: Path) -> None:
    import tarfile

    source = tmp_path / "masks"
    source.mkdir()
    for name in ("2008_000006", "2008_000011"):
        Image.fromarray(mask([0, 20])).save(source / f"{name}.png")
    (tmp_path / "test.txt").write_text("2008_000006\n2008_000011\n")
    done = export_voc(source, tmp_path / "a.tgz", tmp_path / "test.txt")
    again = export_voc(source, tmp_path / "b.tgz")
    assert done.sha256 == again.sha256
    assert (tmp_path / "a.tgz").read_bytes() == (tmp_path / "b.tgz").read_bytes()
    with tarfile.open(tmp_path / "a.tgz") as tar:
        names = tar.getnames()
        member = tar.extractfile(names[0])
        assert member is not None
        with Image.open(member) as handle:
            assert handle.mode == "P"
            assert np.asarray(handle).tolist() == [[0, 20]]
            assert handle.getpalette()[3:6] == [128, 0, 0]  # type: ignore[index]
    assert names == [
        f"results/VOC2012/Segmentation/comp6_test_cls/{n}.png"
        for n in ("2008_000006", "2008_000011")
    ]


def test_voc_archive_refuses_255_and_missing_masks(tmp_path: Path) -> None:
    source = tmp_path / "masks"
    source.mkdir()
    write_mask(source / "x.png", mask([0, 255]))
    with pytest.raises(ArtifactError, match=r"x\.png holds \[255\]"):
        export_voc(source, tmp_path / "a.tgz")
    (tmp_path / "test.txt").write_text("x\ny\n")
    with pytest.raises(DataError, match=r"1 of 2 masks are missing \(first: 'y'\)"):
        export_voc(source, tmp_path / "a.tgz", tmp_path / "test.txt")
    assert not (tmp_path / "a.tgz").exists()
