"""``wsss-bench why``, and the lines of a plan that say why something finished cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from run_fakes import arguments, install, write_plugin

from wsss_bench.cli import main
from wsss_bench.cli import run as verb
from wsss_bench.cli._display import _replaced
from wsss_bench.results.records import load_records
from wsss_bench.runs.ledger import read_cells

Output = pytest.CaptureFixture[str]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "calls.log"))
    install(monkeypatch, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def why(place: Path, *words: str) -> int:
    return main(["why", *words, "--work-dir", str(place / "work")])


def test_a_run_that_was_not_started_is_explained(place: Path, capsys: Output) -> None:
    write_plugin(place, "alpha")
    words = arguments(place, "alpha,alpha/-/-")[1:]
    assert main(["why", *words]) == 0
    out = capsys.readouterr().out
    assert "(alpha seed 0)" in out
    assert "(alpha/-/- seed 0)" in out
    assert out.count("localize: to do") == 2
    assert not (place / "work").exists()
    assert main(["run", *words]) == 0
    capsys.readouterr()
    changed = ["--cfg-options", "localize.gain=0.5", "--json"]
    assert main(["why", *words, *changed]) == 0
    cells = json.loads(capsys.readouterr().out)
    assert [cell["label"] for cell in cells] == ["alpha seed 0", "alpha/-/- seed 0"]
    localize = cells[0]["steps"][0]
    assert localize["state"] == "to do"
    assert localize["changes"] == ["params.gain: 1.0 -> 0.5"]


def test_short_names_are_understood_where_they_are_clear(
    place: Path, capsys: Output
) -> None:
    write_plugin(place, "alpha")
    write_plugin(place, "beta")
    assert main(arguments(place, "alpha/-/-,beta/-/-", "--seeds", "0")) == 0
    (alpha, _) = read_cells(place / "work")
    (run, _) = load_records(place / "work" / "leaderboards")
    assert run.recipe == "alpha/-/-"
    capsys.readouterr()
    names = [alpha["cell"], alpha["cell"][:8], run.run_id, run.run_id[:7], "alpha/-/-"]
    for name in names:
        assert why(place, name) == 0, name
        assert capsys.readouterr().out == "localize: done\nscore_seeds: done\n"
    assert why(place, "tiny-") == 2
    err = capsys.readouterr().err
    assert "'tiny-' stands for 2 cells" in err
    assert alpha["cell"] in err
    assert why(place, "gamma") == 2
    assert "there is no cell 'gamma'" in capsys.readouterr().err


def test_a_name_and_flags_do_not_go_together(place: Path, capsys: Output) -> None:
    assert why(place) == 2
    assert "name a cell, or a run by its flags" in capsys.readouterr().err
    assert why(place, "alpha", "--seeds", "1", "--data-root", "x") == 2
    err = capsys.readouterr().err
    assert "--seeds" in err
    assert "--data-root" in err
    assert "no effect" in err


def test_code_that_changed_is_named_by_every_verb(place: Path, capsys: Output) -> None:
    write_plugin(place, "alpha")
    assert main(arguments(place, "alpha/-/-")) == 0
    write_plugin(place, "alpha", extra="changed = 1\n")
    capsys.readouterr()
    assert why(place, "alpha/-/-") == 0
    out = capsys.readouterr().out
    assert "localize: to do" in out
    (line,) = [line for line in out.splitlines() if "code: " in line]
    assert "alpha" in line
    assert main(arguments(place, "alpha/-/-", "--dry-run")) == 0
    assert f"localize anew: {line.strip()}" in capsys.readouterr().out
    assert main(arguments(place, "alpha/-/-", "--dry-run", "--json")) == 0
    (cell,) = json.loads(capsys.readouterr().out)
    # What merely follows has no line of its own.
    assert cell["why"] == {"localize": line.strip()}
    assert main(arguments(place, "alpha/-/-")) == 0
    assert f"localize anew: {line.strip()}" in capsys.readouterr().out
    assert main(arguments(place, "alpha/-/-", "--dry-run")) == 0
    assert "anew" not in capsys.readouterr().out


def test_a_cell_is_planned_from_where_it_was_started(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    write_plugin(place, "alpha")
    words = ["--methods", "alpha/-/-", "--plugin", "alpha.py", "--profile", "paper"]
    assert main(["run", *words, "--work-dir", "work", "--device", "cpu"]) == 0
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    capsys.readouterr()
    assert why(place, "alpha/-/-") == 0
    captured = capsys.readouterr()
    assert captured.out == "localize: done\nscore_seeds: done\n"
    assert captured.err == ""
    assert Path.cwd() == elsewhere


def test_a_cell_that_cannot_be_planned_is_explained_as_it_was(
    place: Path, capsys: Output
) -> None:
    plugin = write_plugin(place, "alpha")
    assert main(arguments(place, "alpha/-/-")) == 0
    plugin.unlink()
    capsys.readouterr()
    assert why(place, "alpha/-/-") == 0
    captured = capsys.readouterr()
    assert captured.out == "localize: done\nscore_seeds: done\n"
    assert "cannot be planned now" in captured.err
    assert "What follows is how it was planned on 20" in captured.err


def test_what_a_profile_replaces_is_said_once() -> None:
    changed = {"network": ("mynet", "tiny"), "lr": (0.1, 0.2)}
    params = SimpleNamespace(overridden=changed, passed={"net.depth": 2})
    card = SimpleNamespace(pins={"segment": ("net",)})
    methods = {"segment": SimpleNamespace(name="mine", card=card)}
    resolved = SimpleNamespace(params={"segment": params}, methods=methods)
    cell = SimpleNamespace(resolved=resolved, profile="shapes")
    lines = _replaced([cell, cell])  # type: ignore[list-item]
    assert lines == [
        "mine pins segment.net.depth: with 2, as asked for, it is another method",
        "Profile shapes replaces mine's own segment settings: network 'mynet' -> 'tiny', lr 0.1 -> 0.2",
    ]


def test_the_flags_of_run_are_those_of_why() -> None:
    import argparse

    from wsss_bench.cli import why as explaining

    flags = []
    for module in (verb, explaining):
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        names = {name for action in parser._actions for name in action.option_strings}
        # What belongs to a plan that is not carried out.
        flags.append(names - {"--dry-run", "--probe"})
    assert flags[0] == flags[1]
