"""A run that is killed, or loses its disk, at any moment ends as an undisturbed one when the command is given again."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kill_fakes import Moment, Server, moments, sample, table, where, write_method
from run_fakes import arguments, calls, install, start, wait_for, write_plugin

from wsss_bench.boards import build
from wsss_bench.cli import main
from wsss_bench.io.files import TEMPORARY
from wsss_bench.results.records import load_records
from wsss_bench.runs.store.folders import COMMIT, FILES, Store, verify_folder

PAGE = Path(__file__).resolve().parents[2] / "docs" / "robustness.md"
STAGES = ("localize", "refine", "segment")
STEP = 40
"""The default run tries every fortieth moment of each kind and place, the first and the last; ``-m slow`` all."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "calls.log"))
    install(monkeypatch, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Bench:
    """A server, a method, and what an undisturbed run leaves and meets on its way."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.server = folder, Server()
        write_method(folder, "alpha")
        report = folder / "report.json"
        assert self.run("undisturbed", report=str(report)) == 0, self.printed(
            "undisturbed"
        )
        facts = json.loads(report.read_text())
        self.events: list[dict[str, Any]] = facts["events"]
        self.server.warm(facts["modules"])
        self.files = files_of(folder / "undisturbed" / "work")

    def job(self, name: str, methods: str = "alpha", **options: Any) -> dict[str, Any]:
        words = [
            "run",
            "--methods",
            methods,
            "--profile",
            "paper",
            "--device",
            "cpu",
            "--work-dir",
            "work",
        ]
        words += ["--workers", str(options.pop("workers", 1)), *options.pop("more", ())]
        words += [
            word
            for path in sorted(self.folder.glob("*.py"))
            for word in ("--plugin", f"../{path.name}")
        ]
        return {
            "place": str(self.folder / name),
            "data": str(self.folder / "data"),
            "arguments": words,
            **options,
        }

    def run(self, name: str, **options: Any) -> int:
        return self.server.run(self.job(name, **options))[0]

    def printed(self, name: str) -> str:
        return "".join(
            (self.folder / name / file).read_text() for file in ("out.txt", "err.txt")
        )

    def noted(self, name: str) -> list[str]:
        """What the method has computed at a place so far."""
        log = self.folder / name / "calls.log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("kills"))
    yield made
    made.server.close()


def files_of(work: Path) -> dict[str, bytes]:
    """Everything that counts in a work dir: artifacts with their lists, run records (without their date), tables."""
    found = {}
    for path in sorted(p for p in work.rglob("*") if p.is_file()):
        name = path.relative_to(work).as_posix()
        if (
            name.startswith("leaderboards/")
            or "/out/" in name
            or name.endswith((FILES, COMMIT))
        ):
            found[name] = re.sub(rb'"finished": "[^"]*"', b"", path.read_bytes())
    return found


def leftovers(work: Path) -> list[str]:
    return [path.relative_to(work).as_posix() for path in work.rglob(f"{TEMPORARY}*")]


def finished_stages(work: Path) -> set[str]:
    """Stages whose work is done, committed or not; a committed one must be whole."""
    store, found = Store(work / "store"), set()
    for path in store.folders():
        folder = store.read(path)
        if (path / COMMIT).exists():
            assert verify_folder(path) == []
            found.add(folder.spec.stage)
        elif folder.whole():
            found.add(folder.spec.stage)
    return found


def try_kill(bench: Bench, moment: Moment) -> None:
    """Kill a run at one moment, look at what is left, give the same command again, compare with an undisturbed run."""
    name = f"{moment.how}-{moment.at}"
    work = bench.folder / name / "work"
    assert bench.run(name, how=moment.how, at=moment.at) == -signal.SIGKILL
    before = bench.noted(name)
    done = finished_stages(work)
    assert bench.run(name) == 0, bench.printed(name)
    after = bench.noted(name)[len(before) :]
    # Nothing that was finished is computed again, and inside a stage nothing but the image (or step) in flight.
    assert not [
        line
        for line in after
        for stage in done
        if line == f"alpha {stage}" or line.startswith(f"{stage} image ")
    ]
    twice = [
        line
        for line, count in Counter(before + after).items()
        if " image " in line and count > 1
    ]
    # Seeds are appended to one file: a cut there takes what was written last, while the next one is in flight.
    appended = [line for line in twice if line.startswith("localize image ")]
    assert len(twice) <= (2 if moment.how == "torn" and twice == appended else 1)
    # Nothing half-finished is taken for finished: the same files with the same bytes, tables and records among them.
    assert files_of(work) == bench.files
    assert leftovers(work) == []
    for path in sorted((bench.folder / name).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def test_an_undisturbed_run_meets_every_stage_and_every_kind_of_place(
    bench: Bench,
) -> None:
    places = {where(event["path"]) for event in bench.events}
    work = {
        f"{stage}: artifact"
        for stage in (*STAGES, "score_seeds", "score_labels", "predict", "score_val")
    }
    assert places == {
        *work,
        *(name.replace("artifact", "commit") for name in work),
        *(name.replace("artifact", "checkpoints") for name in work),
        "cell file",
        "log",
        "run record",
        "leaderboard",
        "work dir",
    }
    assert leftovers(bench.folder / "undisturbed" / "work") == []


def test_a_run_killed_at_any_moment_ends_as_an_undisturbed_one(bench: Bench) -> None:
    for moment in sample(moments(bench.events), STEP):
        try_kill(bench, moment)


@pytest.mark.slow
def test_a_run_killed_at_every_moment_ends_as_an_undisturbed_one(bench: Bench) -> None:
    for moment in moments(bench.events):
        try_kill(bench, moment)


def test_a_run_killed_again_and_again_gets_there(bench: Bench) -> None:
    attempts = 1
    while bench.run("again", how="kill", at=45) != 0:
        attempts += 1
        assert attempts < 40
    assert attempts > 3
    assert files_of(bench.folder / "again" / "work") == bench.files
    assert leftovers(bench.folder / "again" / "work") == []


def kills_section() -> str:
    parts = re.split(r"^## ", PAGE.read_text(), flags=re.M)
    return next(part for part in parts if part.startswith("Kills\n"))


def test_the_page_says_how_many_kills_were_tried(bench: Bench) -> None:
    kills = kills_section()
    assert table(moments(bench.events)) in kills, (
        f"docs/robustness.md, Kills: the table must be\n{table(moments(bench.events))}"
    )
    counts = re.findall(
        r"^\| (full disk|read-only disk|file size limit) \| (\d+) \|", kills, re.M
    )
    assert {kind: int(count) for kind, count in counts} == {
        FAULTS[how]: len(fault_moments(bench, how)) for how in FAULTS
    }


FAULTS = {"full": "full disk", "readonly": "read-only disk", "limit": "file size limit"}


def fault_moments(bench: Bench, how: str) -> list[int]:
    """Where the disk is taken away: at the start, where each kind of place is first written, here and there between."""
    numbers = sorted(
        {
            moment.at
            for moment in sample(
                [m for m in moments(bench.events) if m.how == "kill"], 10**9
            )
        }
    )
    return [
        at
        for at in numbers[:: {"full": 2, "readonly": 4, "limit": 4}[how]]
        if later(bench.events[at:], how)
    ]


def later(events: list[dict[str, Any]], how: str) -> bool:
    """Whether the rest of a run has something to write that cannot be left out; a log and tidying up can."""
    rest = [event for event in events if not event["path"].startswith("logs")]
    if how == "limit":
        return any(event["torn"] > 64 for event in rest[1:])
    kinds = ("open", "os.mkdir") if how == "full" else ("open", "os.mkdir", "os.rename")
    return any(event["event"] in kinds for event in rest)


@pytest.mark.parametrize("how", FAULTS)
def test_a_disk_that_refuses_is_said_to_and_nothing_half_written_counts(
    how: str, bench: Bench
) -> None:
    for at in fault_moments(bench, how):
        name = f"{how}-{at}"
        work = bench.folder / name / "work"
        status = bench.run(name, how=how, at=at)
        printed = bench.printed(name)
        assert "Traceback" not in printed
        assert "Logging error" not in printed
        assert status or not later(bench.events[at:], how), printed
        if status:
            assert status in (1, 2), printed
            assert re.search(
                r"cannot (write|open folder) .*(No space|Read-only|too large).*[Cc]hoose another",
                printed,
            ), printed
        if work.exists():
            finished_stages(work)
        assert bench.run(name) == 0, bench.printed(name)
        assert files_of(work) == bench.files
        assert leftovers(work) == []


# Pools ---------------------------------------------------------------------------------------------------------------

POOL = {"methods": "alpha/threshold/alpha", "pool": True, "workers": 2, "images": 10}


def pool_events(bench: Bench, name: str) -> list[int]:
    """The events of a run at which an item that the refining pool made is about to get its name."""
    report = bench.folder / f"{name}.json"
    assert bench.run(name, report=str(report), **POOL) == 0, bench.printed(name)
    events = json.loads(report.read_text())["events"]
    return [
        n
        for n, e in enumerate(events)
        if re.fullmatch(r"store/refine/\w+/out/items/.*", e["path"])
        and e["event"] == "os.rename"
    ]


def gone(pid: int) -> bool:
    """Whether a process has ended (one that nobody has waited for counts)."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        )
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("victim", ["kill", "worker"])
def test_a_pool_that_is_killed_loses_what_is_in_flight_and_leaves_no_process(
    victim: str, bench: Bench
) -> None:
    # The pool is given eight images ahead. When the first is written, two of the ten have not been handed out: no
    # dead pool can give them.
    at = pool_events(bench, f"whole-{victim}")[4 if victim == "kill" else 0]
    name = f"pool-{victim}"
    work = bench.folder / name / "work"
    status = bench.run(name, how=victim, at=at, **POOL)
    if victim == "kill":
        assert status == -signal.SIGKILL
    else:
        assert status == 1
        assert "refine: FAILED: a worker process died" in bench.printed(name)
        assert "--workers" in bench.printed(name)
    pids = json.loads((bench.folder / name / "work.pool").read_text())
    assert len(pids) == 2
    deadline = time.monotonic() + 60
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < deadline, "processes of the pool outlived the harness"
        time.sleep(0.1)
    written = {
        p: p.stat().st_mtime_ns for p in work.glob("store/refine/*/out/items/*.png")
    }
    assert len(written) >= (4 if victim == "kill" else 1)
    assert bench.run(name, **POOL) == 0, bench.printed(name)
    assert {
        p: p.stat().st_mtime_ns for p in written
    } == written  # nothing that was written is computed again
    assert files_of(work) == files_of(bench.folder / f"whole-{victim}" / "work")


# Several processes ---------------------------------------------------------------------------------------------------


def test_processes_that_start_the_same_run_at_once_compute_it_once(
    bench: Bench,
) -> None:
    write_method(bench.folder, "beta")
    jobs = [bench.job("together", methods="alpha,beta") for _ in range(4)]
    assert bench.server.run(*jobs) == [0] * 4, bench.printed("together")
    (bench.folder / "beta.py").unlink()
    found = Counter(bench.noted("together"))
    assert {line: n for line, n in found.items() if " image " not in line} == {
        f"{name} {stage}": 1 for name in ("alpha", "beta") for stage in STAGES
    }
    work = bench.folder / "together" / "work"
    assert [record.recipe for record in load_records(work / "leaderboards")] == [
        "alpha",
        "beta",
    ]
    assert (
        sum(
            line.startswith("alpha,")
            for line in (work / "leaderboards" / "tiny.csv").read_text().splitlines()
        )
        <= 1
    )
    assert {
        n: b
        for n, b in files_of(work).items()
        if n in bench.files and "leaderboards/tiny" not in n
    } == {
        n: b
        for n, b in bench.files.items()
        if "leaderboards/tiny" not in n and not n.endswith("record.json")
    } | {
        n: b
        for n, b in files_of(work).items()
        if n in bench.files and n.endswith("record.json")
    }
    assert leftovers(work) == []


def test_many_processes_that_record_at_once_lose_no_record(bench: Bench) -> None:
    jobs = [
        bench.job("many", methods=f"alpha[gain=0.{number}]") for number in range(1, 9)
    ]
    assert bench.server.run(*jobs) == [0] * 8, bench.printed("many")
    boards = bench.folder / "many" / "work" / "leaderboards"
    assert sorted(record.recipe for record in load_records(boards)) == [
        f"alpha[gain=0.{number}]" for number in range(1, 9)
    ]
    tables = {path: path.read_bytes() for path in boards.glob("tiny*")}
    assert build(boards)
    assert {path: path.read_bytes() for path in boards.glob("tiny*")} == tables
    assert main(["status", "--work-dir", str(bench.folder / "many" / "work")]) == 0


WAITS = """
_localize = Localize.localize
def localize(self, view, out, ctx):
    _log(f"{NAME} waits")
    for _ in range(1200):
        if OTHER + " localize" in Path(os.environ["FAKE_LOG"]).read_text():
            return _localize(self, view, out, ctx)
        time.sleep(0.05)
    raise RuntimeError("nobody took the other cell")
All.localize = hookimpl(localize)
"""


def test_a_second_process_takes_the_cell_that_nobody_works_on(place: Path) -> None:
    write_plugin(place, "alpha", extra=f"OTHER = 'beta'\n{WAITS}")
    write_plugin(place, "beta")
    first = start(place, "alpha,beta")
    wait_for(
        place, "alpha waits"
    )  # and goes on when beta is begun, which only the second process can do
    second = start(place, "alpha,beta")
    results = [process.communicate(timeout=300) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], results
    assert "[beta seed 0] localize: done in" in results[1][0]
    for name in ("alpha", "beta"):
        assert calls(place).count(f"{name} localize") == 1
    assert len(load_records(place / "work" / "leaderboards")) == 2


def test_status_says_running_and_after_a_kill_unfinished(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plugin(place, "alpha", extra=f"OTHER = 'nobody'\n{WAITS}")
    process = start(place, "alpha")
    wait_for(place, "alpha waits")
    work = ["--work-dir", str(place / "work")]

    def state() -> str:
        main(["status", "--json", *work])
        (cell,) = json.loads(capsys.readouterr().out)
        found: str = cell["states"]["localize"]
        return found

    assert state() == "running"
    assert main(["cache", "gc", "--unfinished", "--json", *work]) == 0
    assert json.loads(capsys.readouterr().out) == []  # what a process works on stays
    process.kill()
    process.communicate(timeout=60)
    assert state() == "unfinished"
    main(["status", "--json", *work])
    (cell,) = json.loads(capsys.readouterr().out)
    assert main(["why", cell["cell"], *work]) == 0
    assert (
        "localize: unfinished\n    nothing like it was finished in store."
        in capsys.readouterr().out
    )


# The console script, killed from outside -----------------------------------------------------------------------------


def test_the_command_itself_killed_by_its_pid_resumes(place: Path) -> None:
    write_plugin(place, "alpha", extra=f"OTHER = 'gate'\n{WAITS}")
    process = start(place, "alpha")
    wait_for(place, "alpha waits")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    with (place / "calls.log").open("a") as log:
        log.write("gate localize\n")
    assert main(arguments(place, "alpha")) == 0
    assert main([*arguments(place, "alpha"), "--work-dir", str(place / "fresh")]) == 0
    boards = [place / name / "leaderboards" for name in ("work", "fresh")]
    assert without_cost(boards[0]) == without_cost(boards[1])


def without_cost(boards: Path) -> dict[str, bytes]:
    """Every table, built anew from the records without time, memory, date and command."""
    for path in boards.glob("runs/*/*/record.json"):
        record = json.loads(path.read_text())
        path.write_text(
            json.dumps({**record, "cost": {}, "finished": "", "command": []})
        )
    build(boards)
    return {
        path.name: path.read_bytes()
        for path in sorted(boards.glob("*"))
        if path.is_file()
    }


# Real trainings ------------------------------------------------------------------------------------------------------

TRAINING = [
    "--dataset",
    "shapes",
    "--data-root",
    "../data",
    "--data-option",
    "train=8",
    "--data-option",
    "val=2",
    "--data-option",
    "size=48",
    "--profile",
    "check",
]


def training_job(bench: Bench, name: str, **options: Any) -> dict[str, Any]:
    job = bench.job(name, methods="cam", **options)
    words = job["arguments"]
    at = words.index("--profile")
    return {
        **job,
        "fake": False,
        "arguments": [*words[:at], *TRAINING, *words[at + 2 :]],
    }


class Trained:
    """What an undisturbed run with two real trainings leaves and meets."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        report = bench.folder / "training.json"
        assert bench.server.run(training_job(bench, "trained", report=str(report))) == [
            0
        ], bench.printed("trained")
        facts = json.loads(report.read_text())
        self.events: list[dict[str, Any]] = facts["events"]
        bench.server.warm(facts["modules"])
        self.files = files_of(bench.folder / "trained" / "work")

    def moments(self) -> list[Moment]:
        """Kills while the trainings' own files are written."""
        return sample(
            [
                moment
                for moment in moments(self.events)
                if "checkpoints" in moment.where
            ],
            6,
        )

    def try_kill(self, moment: Moment) -> None:
        name = f"training-{moment.how}-{moment.at}"
        assert self.bench.server.run(
            training_job(self.bench, name, how=moment.how, at=moment.at)
        ) == [-signal.SIGKILL]
        assert self.bench.server.run(training_job(self.bench, name)) == [0], (
            self.bench.printed(name)
        )
        assert files_of(self.bench.folder / name / "work") == self.files
        assert leftovers(self.bench.folder / name / "work") == []


@pytest.fixture(scope="module")
def trained(bench: Bench) -> Trained:
    return Trained(bench)


def test_a_training_killed_while_it_writes_a_checkpoint_or_its_weights_ends_the_same(
    trained: Trained,
) -> None:
    paths = [event["path"] for event in trained.events]
    checkpoint = next(
        n
        for n, path in enumerate(paths)
        if path.startswith("store/training") and path.endswith("iter_6.pth")
    )
    weights = next(
        n
        for n, event in enumerate(trained.events)
        if event["event"] == "os.rename"
        and event["path"].startswith("store/segment")
        and "/scratch/" in event["path"]
    )
    kept = next(
        n
        for n, event in enumerate(trained.events)
        if event["event"] == "os.rename"
        and event["path"].startswith("store/training")
        and "/out/" in event["path"]
    )
    trained.try_kill(Moment(checkpoint + 1, "torn", "training: checkpoints"))
    trained.try_kill(Moment(kept, "kill", "training: artifact"))
    trained.try_kill(Moment(weights, "kill", "segment: checkpoints"))


@pytest.mark.slow
def test_trainings_killed_at_any_moment_end_as_undisturbed_ones(
    trained: Trained,
) -> None:
    tried = trained.moments()
    assert {moment.where for moment in tried} >= {
        "training: checkpoints",
        "segment: checkpoints",
    }
    assert f"| {len(tried)} | `-m slow`: the training resumes" in kills_section()
    for moment in tried:
        trained.try_kill(moment)


# Shared prefixes -----------------------------------------------------------------------------------------------------


def test_three_recipes_over_one_cam_have_one_training_to_do(tmp_path: Path) -> None:
    from kill_fakes import FewImages

    from wsss_bench.methods.catalog import Catalog
    from wsss_bench.methods.params import resolve
    from wsss_bench.methods.profiles import load_profile
    from wsss_bench.methods.recipe import parse_recipe
    from wsss_bench.runs.plan import plan_cell
    from wsss_bench.runs.source import Source

    dataset = FewImages(tmp_path)
    dataset.prepare()
    catalog, profile, source = Catalog(), load_profile("check"), Source(dataset)  # type: ignore[arg-type]
    cells = [
        plan_cell(resolve(parse_recipe(r), catalog, profile), source, 0, "check")
        for r in ("cam", "cam/densecrf/_", "cam/_/dsrg")
    ]
    keys = [{step.name: step.spec.key for step in cell.steps} for cell in cells]
    assert (
        len({k["localize"] for k in keys}) == len({k["score_seeds"] for k in keys}) == 1
    )
    assert len({k["refine"] for k in keys}) == 2
    assert len({k["segment"] for k in keys}) == 3


# What a kill leaves that nobody comes back for -----------------------------------------------------------------------


def test_gc_finds_what_a_kill_left_before_it_had_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = ["--work-dir", str(tmp_path)]
    (tmp_path / "store/localize/0123456789abcdef/scratch").mkdir(parents=True)
    assert main(["cache", "gc", "--json", *work]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["stage"], row["folder"], row["action"]) == (
        "localize",
        "0123456789abcdef",
        "deleted",
    )
    assert list((tmp_path / "store/localize").iterdir()) == []


def test_seconds_of_a_killed_attempt_are_not_lost(tmp_path: Path) -> None:
    from wsss_bench.runs.store.folders import StageSpec

    folder = Store(tmp_path).folder(StageSpec("localize", {"seed": 0}))
    assert folder.lost_seconds() == 0
    folder.begin()
    (folder.out / "item").write_text("1")
    begun = (folder.path / "spec.json").stat().st_mtime
    os.utime(folder.out / "item", (begun + 90, begun + 90))
    assert folder.lost_seconds() == pytest.approx(90, abs=0.01)
    folder.add_attempt({"seconds": folder.lost_seconds()})
    folder.begin()
    os.utime(
        folder.path / "attempts.json", (begun + 200, begun + 200)
    )  # an attempt that ended by itself was counted
    assert folder.lost_seconds() == 0
    assert folder.add_attempt({"seconds": 1.0, "peak_mb": 2.0}) == {
        "seconds": pytest.approx(91, abs=0.01),
        "peak_mb": 2.0,
    }


def test_an_empty_item_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    from kill_fakes import FewImages

    from wsss_bench.contract.artifacts import LabelWriter

    dataset = FewImages(tmp_path / "data")
    dataset.prepare()
    out = LabelWriter(tmp_path / "out", dataset.weak_view("train"), "test")
    out.file("im00").write_bytes(b"")
    assert not out.done("im00")
