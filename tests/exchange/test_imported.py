"""Other people's results become records of a board; building the board is the caller's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from wsss_bench.errors import DataError
from wsss_bench.evaluate import Counts, CountsBuilder, CurveBuilder, ThresholdCurve
from wsss_bench.exchange.folders import Scored
from wsss_bench.exchange.imported import add_imported
from wsss_bench.results.records import load_record

CLASSES = ("background", "cat", "dog")
TRUTH = np.asarray([[0, 1], [2, 255]], np.uint8)


class Truth(dict[str, np.ndarray]):
    fingerprint = "abc"

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self)


@dataclass(frozen=True)
class Splits:
    train: str = "train"
    seeds: str = "train"
    val: str = "val"


class Pets:
    name: str = "pets"
    kind = "voc"
    classes: tuple[str, ...] = CLASSES
    splits = Splits()

    def truth(self, role: str) -> str:
        return f"masks of {role}, border 255 ignored"

    def masks(self, split: str) -> Truth:
        return Truth(dict.fromkeys("ab" if split == "train" else "abc", TRUTH))


def predicted() -> Scored:
    builder = CountsBuilder(CLASSES)
    builder.add("a", TRUTH, TRUTH)
    return Scored("prediction", {"val": builder.result()})


def seeds() -> Scored:
    builder = CurveBuilder(CLASSES)
    scores = np.asarray([[[0.0, 0.9], [0.1, 0.1]]], np.float32)
    builder.add("a", np.asarray([1]), scores, TRUTH)
    curve = builder.result()
    counts = {"seeds_best": curve.counts(0.5), "seeds_fixed": curve.counts(0.3)}
    thresholds = {"oracle": 0.5, "fixed": 0.3}
    return Scored("seeds", counts, curve, thresholds)


def test_a_record_is_written_and_no_board_is_built(tmp_path: Path) -> None:
    path = add_imported(tmp_path, "Somebody's (2020)", Pets(), "val", predicted())
    assert path.parent == tmp_path / "runs" / "pets" / "imported-Somebody-s-2020"
    record = load_record(path)
    assert (record.recipe, record.origin) == ("Somebody's (2020)", "imported")
    assert record.counts == {"val": "val.npz"}
    assert record.curve is None
    assert record.dataset["splits"] == {
        "train": "train",
        "seeds": "train",
        "val": "val",
    }
    assert record.dataset["sizes"] == {"train": 2, "val": 3}
    assert record.dataset["fingerprint"] == "abc"
    assert Counts.load(path.with_name("val.npz")).miou() == 1.0
    assert {file.name for file in tmp_path.iterdir()} == {"runs"}


def test_another_kind_of_the_same_name_joins_the_first(tmp_path: Path) -> None:
    add_imported(tmp_path, "x", Pets(), "train", seeds())
    labels = replace(predicted(), kind="labels")
    labels = replace(labels, counts={"labels": labels.counts["val"]})
    add_imported(tmp_path, "x", Pets(), "train", labels)
    path = add_imported(tmp_path, "x", Pets(), "val", predicted())
    record = load_record(path)
    assert set(record.counts) == {"seeds_best", "seeds_fixed", "labels", "val"}
    assert record.thresholds == {"fixed": 0.3}
    assert record.curve == "curve.npz"
    curve = ThresholdCurve.load(path.with_name("curve.npz"))
    assert curve.at(0.5).tolist() == pytest.approx([1 / 2, 1.0, 0.0])
    assert len(list(path.parent.parent.iterdir())) == 1


def test_how_files_were_read_and_what_they_were_scored_on_stays_with_the_row(
    tmp_path: Path,
) -> None:
    read = replace(seeds(), read_as="PSA dict", warnings=("odd",))
    add_imported(tmp_path, "x", Pets(), "train", read)
    doubtful = replace(predicted(), warnings=("one class only",))
    record = load_record(add_imported(tmp_path, "x", Pets(), "val", doubtful))
    assert record.notes == (
        "seeds: read as PSA dict",
        "seeds: odd",
        "prediction: one class only",
    )
    assert record.dataset["truth"] == {
        "seeds": "masks of seeds, border 255 ignored",
        "val": "masks of val, border 255 ignored",
    }
    # The same kind again says it anew.
    record = load_record(add_imported(tmp_path, "x", Pets(), "val", predicted()))
    assert record.notes == ("seeds: read as PSA dict", "seeds: odd")


@pytest.mark.parametrize(
    ("name", "split", "scored", "message"),
    [
        ("(…)", "val", predicted(), "must hold a letter or a digit"),
        ("x", "train", predicted(), r"show prediction on 'val', not on 'train'"),
        ("x", "val", seeds(), r"another one with --seeds-split"),
    ],
)
def test_what_no_board_can_show_is_refused_and_leaves_nothing(
    tmp_path: Path, name: str, split: str, scored: Scored, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        add_imported(tmp_path, name, Pets(), split, scored)
    assert list(tmp_path.iterdir()) == []
