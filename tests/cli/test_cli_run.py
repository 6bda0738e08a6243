from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from run_fakes import install, write_plugin

from wsss_bench.cli import VERBS, main
from wsss_bench.results.records import load_records

FAKES = Path(__file__).parents[1] / "fakes" / "run_fakes.py"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "calls.log"))
    install(monkeypatch, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(place: Path, methods: str, *more: str) -> list[str]:
    plugins = [
        word for path in sorted(place.glob("*.py")) for word in ("--plugin", str(path))
    ]
    return [
        "run",
        "--methods",
        methods,
        "--profile",
        "paper",
        "--device",
        "cpu",
        "--work-dir",
        str(place / "work"),
        *plugins,
        *more,
    ]


def calls(place: Path) -> list[str]:
    log = place / "calls.log"
    return (
        [line for line in log.read_text().splitlines() if " image " not in line]
        if log.exists()
        else []
    )


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(
    place: Path, methods: str, *more: str, **environment: str
) -> subprocess.Popen[str]:
    """The same command in a process of its own."""
    words = [
        sys.executable,
        str(FAKES),
        str(place / "data"),
        *arguments(place, methods, *more),
    ]
    pipe: Any = subprocess.PIPE
    # A shell that runs the tests in the background has them, and what they start, ignore SIGINT; a terminal does not.
    return subprocess.Popen(
        words,
        env={**os.environ, **environment},
        stdout=pipe,
        stderr=pipe,
        text=True,
        cwd=place,
        preexec_fn=_heed_interrupts,
    )


def wait_for(place: Path, line: str) -> None:
    for _ in range(2400):  # two minutes: the machine may be busy
        if line in (
            (place / "calls.log").read_text() if (place / "calls.log").exists() else ""
        ):
            return
        time.sleep(0.05)
    raise AssertionError(f"{line!r} never happened")


def test_a_run_ends_in_a_leaderboard(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plugin(place, "alpha")
    write_plugin(place, "beta")
    assert main(arguments(place, "alpha,beta,alpha/beta/alpha", "--seeds", "0,1")) == 0
    out = capsys.readouterr().out
    assert "Plan: 6 cells on tiny" in out
    assert "[alpha seed 0] localize: done in" in out
    assert "[alpha/beta/alpha seed 1] localize: cached" in out
    assert "| alpha/beta/alpha |" in out
    boards = place / "work" / "leaderboards"
    assert len(load_records(boards)) == 6
    assert (boards / "tiny.csv").exists()
    assert calls(place).count("alpha localize") == 2


def test_the_same_command_again_computes_nothing_and_writes_the_same_bytes(
    place: Path,
) -> None:
    write_plugin(place, "alpha")
    assert main(arguments(place, "alpha")) == 0
    boards = place / "work" / "leaderboards"
    before = {path: path.read_bytes() for path in boards.rglob("*") if path.is_file()}
    noted = calls(place)
    assert main(arguments(place, "alpha")) == 0
    assert calls(place) == noted
    assert {
        path: path.read_bytes() for path in boards.rglob("*") if path.is_file()
    } == before


def test_a_recipe_may_end_at_seeds_or_labels(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plugin(place, "alpha")
    write_plugin(place, "beta")
    assert main(arguments(place, "alpha/-/-,alpha/beta/-,alpha")) == 0
    found = {
        record.recipe: record
        for record in load_records(place / "work" / "leaderboards")
    }
    assert {recipe: set(record.counts) for recipe, record in found.items()} == {
        "alpha/-/-": {"seeds_best", "seeds_fixed"},
        "alpha/beta/-": {"seeds_best", "seeds_fixed", "labels"},
        "alpha": {"seeds_best", "seeds_fixed", "labels", "val", "val_crf"},
    }
    assert found["alpha/-/-"].picks == {
        "localize": "alpha",
        "refine": None,
        "segment": None,
    }
    for recipe in ("alpha/-/-", "alpha/beta/-"):
        columns = found[recipe].columns
        assert (columns["segmentor"], columns["crf"], columns["multi_scale"]) == (
            "-",
            "-",
            "-",
        ), recipe
    # What a longer recipe shares is not computed again, and scores the same.
    assert calls(place).count("alpha localize") == 1
    assert not [call for call in calls(place) if call.startswith("beta segment")]
    whole = found["alpha"].load_counts("seeds_fixed")
    seeds = found["alpha/-/-"].load_counts("seeds_fixed")
    assert whole is not None
    assert seeds is not None
    assert seeds.miou() == whole.miou()
    # Rows without a score on val stand below those that have one.
    board = capsys.readouterr().out
    assert 0 < board.index("| alpha |") < board.index("| alpha/-/- |")
    assert main(["status", "--work-dir", str(place / "work")]) == 0
    assert (
        main(
            [
                "export",
                "voc-test",
                found["alpha/-/-"].run_id,
                "--work-dir",
                str(place / "work"),
            ]
        )
        != 0
    )


def test_a_failed_cell_does_not_stop_the_others(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("alpha", "beta"):
        write_plugin(place, name)
    monkeypatch.setenv("FAKE_DIE", "alpha:2")
    assert main(arguments(place, "alpha,beta")) == 1
    captured = capsys.readouterr()
    assert (
        "failed: alpha seed 0: alpha (alpha.py local): localize: raised RuntimeError: the GPU fell off."
        in captured.err
    )
    assert "| beta |" in captured.out
    assert [
        record.recipe for record in load_records(place / "work" / "leaderboards")
    ] == ["beta"]
    (log,) = (place / "work" / "logs").glob("tiny-alpha-*.log")
    assert 'raise RuntimeError("the GPU fell off")' in log.read_text()
    assert main(["status", "--work-dir", str(place / "work")]) == 1
    status = capsys.readouterr().out
    assert "localize: failed, refine: to do" in status
    assert (
        "failed at localize: alpha (alpha.py local): localize: raised RuntimeError"
        in status
    )
    monkeypatch.delenv("FAKE_DIE")
    assert main(arguments(place, "alpha,beta")) == 0
    assert main(["status", "--work-dir", str(place / "work")]) == 0
    assert calls(place).count("beta localize") == 1


def test_a_broken_plugin_does_not_stop_the_others(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plugin(place, "alpha")
    write_plugin(place, "rotten", extra="import no_such_module_at_all\n")
    assert main(arguments(place, "rotten,alpha")) == 1
    captured = capsys.readouterr()
    assert (
        "cannot run rotten: rotten (rotten.py local): import: importing it failed with ModuleNotFoundError"
        in captured.err
    )
    assert "| alpha |" in captured.out
    assert main(arguments(place, "rotten")) == 2


def test_dry_run_says_what_is_to_do_and_does_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plugin(place, "alpha")
    assert main(arguments(place, "alpha,alpha[rounds=2]", "--dry-run")) == 0
    out = capsys.readouterr().out
    assert "localize (alpha): to do" in out
    assert "localize (alpha): shared" in out
    assert calls(place) == []
    assert not (place / "work").exists()
    main(arguments(place, "alpha"))
    capsys.readouterr()
    assert main(arguments(place, "alpha", "--dry-run", "--json")) == 0
    (cell,) = json.loads(capsys.readouterr().out)
    assert set(cell["states"].values()) == {"done"}
    assert cell["picks"] == {"localize": "alpha", "refine": "alpha", "segment": "alpha"}
    assert cell["params"]["localize"]["threshold"] == 0.3


def test_json_prints_one_document(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plugin(place, "alpha")
    assert main(arguments(place, "alpha", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["failed"]) == []
    assert len(found["runs"]) == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seeds", "0,x"], "--seeds '0,x'"),
        (["--seeds", "1,1"], "distinct"),
        (["--device", "tpu"], "--device 'tpu' is not known"),
        (["--profile", "papr"], "Did you mean 'paper'"),
        (["--log", "tensorbord"], "Did you mean 'tensorboard'"),
        (["--workers", "0"], "--workers must be at least 1"),
        (["--cfg-options", "localize.gian=2"], "Did you mean 'gain'"),
        (["--methods", "alhpa"], "Did you mean 'alpha'"),
        (["--methods", "alpha[gain=x]"], "'x' is a text, a number"),
        (
            ["--plugin", "nowhere.py", "--methods", "nowhere"],
            "there is no file nowhere.py",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    more: list[str], message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plugin(place, "alpha")
    assert main(arguments(place, "alpha", *more)) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.startswith("wsss-bench run: ")
    assert "Traceback" not in err
    assert calls(place) == []


def test_a_recipe_that_begins_with_a_dash_needs_no_equals_sign(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plugin(place, "alpha")
    assert main(arguments(place, "-/alpha/alpha", "--dry-run")) == 0
    assert "-/alpha/alpha seed 0" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_resume_and_resumes(
    number: int, place: Path
) -> None:
    write_plugin(place, "alpha")
    process = start(place, "alpha", FAKE_SLEEP="30")
    wait_for(place, "alpha localize")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "the same command resumes:\n  wsss-bench run --methods alpha" in err
    assert "Traceback" not in err
    assert main(arguments(place, "alpha")) == 0


def test_a_killed_run_resumes_with_the_same_numbers(place: Path) -> None:
    write_plugin(place, "alpha")
    process = start(place, "alpha", FAKE_SLEEP="30")
    wait_for(place, "alpha localize")
    process.kill()
    process.communicate(timeout=60)
    assert main(arguments(place, "alpha")) == 0
    assert main([*arguments(place, "alpha"), "--work-dir", str(place / "fresh")]) == 0
    pairs = [
        load_records(place / name / "leaderboards")[0] for name in ("work", "fresh")
    ]
    assert pairs[0].run_id == pairs[1].run_id
    for file in pairs[0].counts.values():
        one, two = ((record.folder or Path()) / file for record in pairs)
        assert one.read_bytes() == two.read_bytes()


def test_two_processes_share_the_work(place: Path) -> None:
    write_plugin(place, "alpha")
    together = str(time.time() + 2)
    both = [
        start(place, "alpha", FAKE_SLEEP="1", FAKE_START=together) for _ in range(2)
    ]
    results = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert calls(place).count("alpha localize") == 1
    assert calls(place).count("alpha segment round 1 previous False") == 1
    assert len(load_records(place / "work" / "leaderboards")) == 1
    assert any("another process computes it, waiting" in out for out, _ in results)


def test_why_and_cache(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_plugin(place, "alpha")
    work = ["--work-dir", str(place / "work")]
    assert main(arguments(place, "alpha")) == 0
    assert main(["cache", "verify", *work]) == 0
    assert "7 finished stages, 0 damaged." in capsys.readouterr().out
    write_plugin(place, "alpha", extra="changed = 1\n")
    assert main(arguments(place, "alpha")) == 0
    capsys.readouterr()
    assert main(["cache", "gc", "--dry-run", "--json", *work]) == 0
    stale = json.loads(capsys.readouterr().out)
    assert len(stale) == 7
    assert {row["action"] for row in stale} == {"would be deleted"}
    assert main(["cache", "gc", *work]) == 0
    capsys.readouterr()
    assert main(["cache", "ls", "--json", *work]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 7
    assert {row["state"] for row in rows} == {"done"}
    victim = next((place / "work" / "store" / "refine").glob("*/out/items/im00.png"))
    victim.write_bytes(b"")
    assert main(["cache", "verify", *work]) == 1
    assert "items/im00.png has changed." in capsys.readouterr().out
    (
        place / "work" / "store" / "refine" / victim.parents[2].name / "commit.json"
    ).unlink()
    main(["status", "--json", *work])
    (cell,) = json.loads(capsys.readouterr().out)
    assert cell["states"]["refine"] == "unfinished"
    assert main(["status", "why", cell["cell"], *work]) == 0
    assert "refine: unfinished" in capsys.readouterr().out
    assert main(["status", "why", "nonsense", *work]) == 2


def test_plugin_list_and_info_survive_broken_plugins(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_plugin(place, "alpha")
    bad = write_plugin(place, "rotten", extra="plugin = All\n")
    files = ["--plugin", str(good), "--plugin", str(bad)]
    assert main(["plugin", "list", "--json", *files]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {"alpha", "cam", "rotten"} <= set(rows)
    assert "All is a class" in rows["rotten"]["problem"]
    assert rows["cam"]["problem"] is None
    assert main(["plugin", "list", "--load", *files]) == 1
    assert (
        "broken: rotten (rotten.py local): registration: All is a class."
        in capsys.readouterr().out
    )
    assert main(["plugin", "info", "alpha", "--json", *files]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["parameters"]["segment"]["rounds"] == 1
    assert main(["plugin", "info", "rotten", *files]) == 2


def test_unknown_verb_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rnu"]) == 2
    assert "Did you mean 'run'" in capsys.readouterr().err
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("wsss-bench ")
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(f"  {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert f"wsss-bench {verb}" in out


@pytest.mark.parametrize(
    "words", [["--help"], ["run", "--help"], ["plugin", "list"], ["status"]]
)
def test_reading_commands_are_fast_and_import_no_torch(
    words: list[str], tmp_path: Path
) -> None:
    code = (
        "import sys, time; start = time.process_time(); from wsss_bench.cli import main; "
        f"main({words!r}); heavy = 'torch' in sys.modules or 'mmengine' in sys.modules; "
        # Time of the processor: a busy machine changes it little.
        "print(time.process_time() - start, heavy, file=sys.stderr)"
    )
    best = 9.0
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        seconds, heavy = done.stderr.split()
        assert heavy == "False"
        best = min(best, float(seconds))
    assert best < 0.5
