"""A finished run's segmentor predicts other splits as it predicted its own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from boards_fakes import add_run

from wsss_bench.contract.artifacts import SEGMENTOR
from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import write_json
from wsss_bench.results.records import RunRecord
from wsss_bench.runs.predicting import PredictionRequest, predict_run, stored_segmentor
from wsss_bench.runs.predicting import _changes as predicting_changes
from wsss_bench.runs.request import store_of
from wsss_bench.runs.store.folders import StageFolder, StageSpec

OWN = {"scales": [1.0], "flip": True, "crf": "deeplab"}


def finished(place: Path, test: dict[str, object]) -> tuple[RunRecord, StageFolder]:
    """A record of one round, with its segmentor and the spec of its ``predict`` step in the store of `place`."""
    segment = store_of(place).folder(StageSpec("segment", {"n": 1}))
    predict = store_of(place).folder(StageSpec("predict", {"test": test}))
    for folder in (segment, predict):
        folder.begin()
    facts = {"config": "c.py", "checkpoint": "w.pth", "test": OWN, "facts": {}}
    write_json(segment.out / SEGMENTOR, facts)
    keys = {"segment": segment.spec.key, "predict": predict.spec.key}
    return add_run(place / "leaderboards", "cam", images=2, keys=keys), predict


def test_settings_of_the_run_overrule_the_segmentors_own(tmp_path: Path) -> None:
    record, _ = finished(tmp_path, {"scales": [0.5, 1.0], "crf": ""})
    found = stored_segmentor(tmp_path, record)
    assert found.test == {"scales": [0.5, 1.0], "flip": True, "crf": ""}


def test_a_run_without_settings_of_its_own_predicts_as_its_segmentor_says(
    tmp_path: Path,
) -> None:
    record, _ = finished(tmp_path, {})
    assert stored_segmentor(tmp_path, record).test == OWN


def test_settings_that_are_gone_are_not_guessed(tmp_path: Path) -> None:
    record, predict = finished(tmp_path, {"crf": ""})
    shutil.rmtree(predict.path)
    with pytest.raises(ArtifactError, match="is missing"):
        stored_segmentor(tmp_path, record)


def test_a_run_without_a_segmentor_is_refused(tmp_path: Path) -> None:
    record = add_run(tmp_path / "leaderboards", "cam", images=2, keys={})
    with pytest.raises(ArtifactError, match="trained no segmentor"):
        stored_segmentor(tmp_path, record)


def test_other_photographs_of_the_same_names_are_predicted_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from run_fakes import CLASSES, TinyDataset, fake_predict

    from wsss_bench.runs import predicting
    from wsss_bench.toolbox import prediction

    dataset = TinyDataset(tmp_path / "data")
    dataset.prepare()
    record, _ = finished(tmp_path, {"crf": ""})
    record = replace(record, dataset={**record.dataset, "classes": list(CLASSES)})
    monkeypatch.setattr(predicting, "open_requested", lambda *_: dataset)
    monkeypatch.setattr(prediction, "predict", fake_predict)
    monkeypatch.setattr("wsss_bench.results.records.find_run", lambda *_: record)
    boards = tmp_path / "leaderboards"
    request = PredictionRequest("x", boards, "val", work_dir=tmp_path, device="cpu")
    first = predict_run(request)
    assert predict_run(request) == first
    with (dataset.root / "im08.png").open("ab") as handle:
        handle.write(b"more")
    assert predict_run(request) != first


def test_code_that_is_not_that_of_the_run_is_said(tmp_path: Path) -> None:
    record, _ = finished(tmp_path, {})
    then = {"mine.net": "a" * 16, "mine.same": "b" * 16, "wsss_bench.rng": "c" * 16}
    record = replace(record, modules=then)
    now = {"mine.net": "d" * 64, "mine.same": "b" * 64, "wsss_bench.rng": "e" * 64}
    assert predicting_changes(record, now) == ["mine.net has changed"]
