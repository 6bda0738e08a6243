"""The name of the protocol: written once, kept in every file, and asked for when one is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsss_bench.errors import ArtifactError
from wsss_bench.evaluate import PROTOCOL, Counts, CountsBuilder, CurveBuilder
from wsss_bench.evaluate import ThresholdCurve as Curve
from wsss_bench.evaluate.stored import load_arrays
from wsss_bench.io.files import save_arrays

PACKAGE = Path(__file__).resolve().parents[2] / "wsss_bench"
TRUTH = np.asarray([[0, 1]], np.uint8)


def test_the_name_is_written_in_one_place_of_the_code() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if PROTOCOL in path.read_text()]
    assert [file.relative_to(PACKAGE).as_posix() for file in files] == [
        "evaluate/__init__.py"
    ]


def counts() -> Counts:
    builder = CountsBuilder(("background", "cat"))
    builder.add("a", TRUTH, TRUTH)
    return builder.result()


def curve() -> Curve:
    builder = CurveBuilder(("background", "cat"))
    builder.add("a", np.asarray([1]), np.asarray([[[0.1, 0.9]]], np.float32), TRUTH)
    return builder.result()


@pytest.mark.parametrize("scored", [counts(), curve()], ids=["counts", "curve"])
@pytest.mark.parametrize("name", [["iou-v0"], ["iou-v0", PROTOCOL], []])
def test_what_was_scored_by_other_rules_is_refused(
    tmp_path: Path, scored: Counts | Curve, name: list[str]
) -> None:
    scored.save(tmp_path / "a.npz")
    stored = load_arrays(tmp_path / "a.npz", "it")
    assert stored["protocol"].tolist() == [PROTOCOL]
    stored["protocol"] = np.asarray(name, dtype=str)
    with open(tmp_path / "b.npz", "wb") as handle:
        save_arrays(handle, stored)
    found = name[0] if name else "none"
    with pytest.raises(ArtifactError, match=rf"b\.npz was counted .* '{found}'"):
        type(scored).load(tmp_path / "b.npz")


def test_a_file_without_a_protocol_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", classes=np.asarray(["background"]))
    with pytest.raises(ArtifactError, match="under protocol 'none', this version has"):
        Counts.load(tmp_path / "a.npz")
