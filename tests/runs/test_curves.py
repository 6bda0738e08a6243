"""What trainings logged is found by the run's name, as numbers and as a drawing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wsss_bench.cli import main
from wsss_bench.errors import ArtifactError, DataError, RecipeError
from wsss_bench.io.files import write_json
from wsss_bench.runs.curves import curves_of, draw
from wsss_bench.runs.request import store_of
from wsss_bench.runs.store.folders import StageSpec, training_spec

TABLE = "iteration,lr,loss_seg,loss\n1,0.1,,2\n2,0.05,0.5,1.5\n"


def made(work: Path, *, losses: bool = True) -> Path:
    """A work dir of one cell: its localizer keeps a training apart, its segmentor trains inside its stage."""
    store = store_of(work)
    steps = []
    for stage in ("localize", "segment"):
        spec = StageSpec(stage, {"n": 1})
        store.folder(spec).begin()
        steps.append({"name": stage, "stage": stage, "key": spec.key, "parts": {}})
    kept = store.folder(training_spec({"n": 1}, "net"))
    kept.begin()
    store.folder(StageSpec("localize", {"n": 1})).note_training("net", kept.spec.key)
    places = [kept.out, store.folder(StageSpec("segment", {"n": 1})).out]
    for out in places if losses else []:
        (out / "losses").mkdir()
        (out / "losses" / "net.csv").write_text(TABLE)
    cell = {
        "cell": "tiny-alpha-s0-abc123",
        "recipe": "alpha",
        "dataset": "tiny",
        "seed": 0,
        "profile": "paper",
        "started": "2026-01-01T00:00:00",
        "steps": steps,
        "failure": None,
        "run_id": "alpha-s0-12345678",
    }
    write_json(work / "cells" / "tiny-alpha-s0-abc123.json", cell)
    return work


@pytest.mark.parametrize("name", ["alpha", "tiny-alpha", "alpha-s0-12345678"])
def test_curves_of_a_run_in_the_order_of_its_stages(name: str, tmp_path: Path) -> None:
    found = curves_of(name, made(tmp_path))
    assert [(curve.step, curve.name) for curve in found] == [
        ("localize", "net"),
        ("segment", "net"),
    ]
    assert found[0].columns["iteration"] == [1, 2]
    assert found[0].losses == ["loss", "loss_seg"]
    assert found[0].path.parts[-5] == "training"


def test_a_run_without_losses_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"has no losses.*Run it again"):
        curves_of("alpha", made(tmp_path, losses=False))
    with pytest.raises(RecipeError, match="beta"):
        curves_of("beta", tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_curves_are_drawn_the_same_way_twice(suffix: str, tmp_path: Path) -> None:
    found = curves_of("alpha", made(tmp_path))
    pictures = []
    for name in ("a", "b"):
        path = tmp_path / "plots" / f"{name}{suffix}"
        draw(found, path)
        pictures.append(path.read_bytes())
    assert len(pictures[0]) > 1000
    assert pictures[0] == pictures[1]


def test_a_drawing_of_another_kind_is_refused(tmp_path: Path) -> None:
    found = curves_of("alpha", made(tmp_path))
    with pytest.raises(DataError, match=r"\.png, \.svg, \.pdf"):
        draw(found, tmp_path / "curves.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        draw(found, tmp_path / "file" / "curves.png")


def test_the_verb_prints_a_line_for_each_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["curves", "alpha", "--work-dir", str(made(tmp_path))]
    picture = tmp_path / "c.png"
    assert main([*words, "--out", str(picture)]) == 0
    said = capsys.readouterr().out.splitlines()
    numbers = "2 iterations, loss 2 to 1.5, loss_seg 0.5 to 0.5, lr 0.1 to 0.05"
    assert said[0] == f"localize: net: {numbers}"
    assert said[-1] == f"Drawn: {picture}"
    assert picture.stat().st_size > 1000
    assert main([*words, "--json"]) == 0
    (first, _) = json.loads(capsys.readouterr().out)
    assert first["columns"]["loss_seg"] == [None, 0.5]
