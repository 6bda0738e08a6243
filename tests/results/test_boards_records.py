"""Run records: what is written is read back, and what is unsound is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from boards_fakes import add_run

from wsss_bench.errors import ArtifactError
from wsss_bench.results.records import RunRecord, load_records, problems, save_record


def test_a_record_comes_back_equal_with_its_counts(tmp_path: Path) -> None:
    written = add_run(tmp_path, "dsrg", params={"localize": {"epochs": 3}})
    (found,) = load_records(tmp_path)
    assert found == written
    assert found.folder == tmp_path / "runs" / "shapes" / "dsrg-0"
    counts, curve = found.load_counts("val"), found.load_curve()
    assert counts is not None
    assert curve is not None
    assert counts.classes == found.classes
    best = found.load_counts("seeds_best")
    assert best is not None
    assert best.miou() == curve.best()[1]


def test_records_are_ordered_and_can_be_limited_to_a_dataset(tmp_path: Path) -> None:
    add_run(tmp_path, "vwe", images=2)
    add_run(tmp_path, "cam", images=2)
    add_run(tmp_path, "cam", images=2, dataset={"name": "another"})
    assert [(r.dataset["name"], r.run_id) for r in load_records(tmp_path)] == [
        ("another", "cam-0"),
        ("shapes", "cam-0"),
        ("shapes", "vwe-0"),
    ]
    assert len(load_records(tmp_path, "another")) == 1
    assert load_records(tmp_path / "nowhere") == []


def edit(folder: Path, change: dict[str, Any]) -> None:
    path = folder / "runs" / "shapes" / "dsrg-0" / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema 2, this version reads 1"),
        ({"protocol": "iou-v0"}, "protocol 'iou-v0'"),
        ({"seed": "0"}, "field 'seed' must be int, not str"),
        ({"seed": True}, "field 'seed' must be int, not bool"),
        ({"run_id": "other"}, "not shapes/other"),
        ({"counts": {"val": "../../../secret.npz"}}, "must be a plain file name"),
        ({"curve": "a/b.npz"}, "must be a plain file name"),
        ({"counts": {"test": "test.npz"}}, "counts name 'test'"),
        ({"origin": "reported"}, "origin is 'reported'"),
        ({"dataset": {"name": "shapes"}}, "dataset.classes is missing"),
        ({"inputs": ["a"]}, "field 'inputs' must be Mapping, not list"),
        ({"inputs": {"data.val.masks": 7}}, "inputs must name one digest per input"),
        ({"modules": "x"}, "field 'modules' must be Mapping, not str"),
        ({"notes": [1]}, "notes must be sentences"),
        ({"overridden": {"segment": {"lr": 0.1}}}, "overridden.segment must name"),
        ({"overridden": {"segment": 3}}, "overridden.segment must name"),
    ],
)
def test_an_unsound_record_is_refused_with_its_path(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    add_run(tmp_path, "dsrg", images=2)
    edit(tmp_path, change)
    with pytest.raises(ArtifactError, match=message) as caught:
        load_records(tmp_path)
    assert "record.json" in str(caught.value)


def test_unknown_fields_of_a_later_version_are_let_pass(tmp_path: Path) -> None:
    add_run(tmp_path, "dsrg", images=2)
    edit(tmp_path, {"colour": "blue"})
    assert load_records(tmp_path)[0].recipe == "dsrg"


def test_fields_that_older_records_lack_come_back_as_they_were(tmp_path: Path) -> None:
    told: dict[str, Any] = {
        "inputs": {"data.val.masks": "a" * 64, "localize.maps": "b" * 64},
        "modules": {"mine.helper": "c" * 16},
        "overridden": {"segment": {"network": ["mynet", "tiny"]}},
        "notes": ("predicts one class only",),
    }
    written = add_run(tmp_path, "dsrg", images=2, **told)
    (found,) = load_records(tmp_path)
    assert found == written
    assert {name: getattr(found, name) for name in told} == told


def test_records_without_them_are_read(tmp_path: Path) -> None:
    add_run(tmp_path, "dsrg", images=2)
    path = tmp_path / "runs" / "shapes" / "dsrg-0" / "record.json"
    payload = json.loads(path.read_text())
    for name in ("inputs", "modules", "overridden", "notes"):
        del payload[name]
    path.write_text(json.dumps(payload))
    (found,) = load_records(tmp_path)
    assert (found.inputs, found.modules, found.overridden) == ({}, {}, {})
    assert found.notes == ()


def test_the_convention_of_the_masks_is_a_sentence_per_role(tmp_path: Path) -> None:
    add_run(tmp_path, "dsrg", images=2)
    path = tmp_path / "runs" / "shapes" / "dsrg-0" / "record.json"
    payload = json.loads(path.read_text())
    payload["dataset"]["truth"] = {"val": None}
    path.write_text(json.dumps(payload))
    with pytest.raises(ArtifactError, match=r"dataset\.truth must name one sentence"):
        load_records(tmp_path)


def test_a_half_written_record_is_named(tmp_path: Path) -> None:
    add_run(tmp_path, "dsrg", images=2)
    (tmp_path / "runs" / "shapes" / "dsrg-0" / "record.json").write_text(
        '{"schema": 1,'
    )
    with pytest.raises(ArtifactError, match=r"record\.json cannot be read"):
        load_records(tmp_path)


def test_missing_counts_are_refused_at_writing_and_at_reading(tmp_path: Path) -> None:
    record = add_run(tmp_path, "dsrg", images=2)
    (tmp_path / "runs" / "shapes" / "dsrg-0" / "val.npz").unlink()
    with pytest.raises(ArtifactError, match=r"val\.npz is not in the run's folder"):
        save_record(tmp_path, record)
    with pytest.raises(ArtifactError, match=r"val\.npz is missing"):
        load_records(tmp_path)[0].load_counts("val")


def test_counts_of_other_classes_are_refused(tmp_path: Path) -> None:
    add_run(tmp_path, "dsrg", images=2)
    path = tmp_path / "runs" / "shapes" / "dsrg-0" / "record.json"
    payload = json.loads(path.read_text())
    payload["dataset"]["classes"][1] = "lion"
    path.write_text(json.dumps(payload))
    with pytest.raises(ArtifactError, match="other classes"):
        load_records(tmp_path)[0].load_counts("val")


def test_everything_wrong_is_said_at_once() -> None:
    found = problems({"schema": 1, "run_id": 3})
    assert "field 'recipe' is missing." in found
    assert "field 'run_id' must be str, not int." in found
    assert problems([]) == ["it is no JSON object."]


def test_every_field_of_a_record_is_documented() -> None:
    doc = RunRecord.__doc__ or ""
    for name in RunRecord.__dataclass_fields__:
        assert (
            f"{name}:" in doc
            or f" {name}:" in doc
            or name in ("schema", "folder", "protocol", "params", "passed")
        ), name
