"""The conformance kit on plugins of a few lines: what is right passes, and each fault is found under its own name."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from plugin_fakes import BROKEN, SUBTLE, write
from run_fakes import install, write_plugin

from wsss_bench.cli import main
from wsss_bench.io.landlock import landlock_version
from wsss_bench.methods.catalog import Catalog
from wsss_bench.testing import CHECKS, Check, Report, check_method

AT_LOADING = [name for name, row in BROKEN.items() if row[2] == "loads"]
AT_RUNNING = [name for name in BROKEN if name not in AT_LOADING]


def test_a_sound_plugin_passes_every_check(tmp_path: Path) -> None:
    report = check_method(write(tmp_path, "sound"))
    assert report.ok, report.table()
    assert {check.name for check in report.checks} == set(CHECKS)
    not_passed = {
        (check.name, check.stage) for check in report.checks if check.status != "pass"
    }
    assert not_passed <= {
        ("baseline", "localize"),
        ("baseline", "refine"),
        ("classes", "localize"),
    }
    assert report.named("resumes")[0].status == "pass"


@pytest.mark.parametrize("name", AT_LOADING)
def test_a_plugin_that_cannot_be_loaded_has_a_report_too(
    name: str, tmp_path: Path
) -> None:
    report = check_method(write(tmp_path, name, BROKEN))
    _, _, check, message = BROKEN[name]
    assert [c.name for c in report.failures] == [check]
    assert re.search(message, report.failures[0].message)
    assert report.failures[0].message.startswith(f"{name} ({name}.py local): ")


@pytest.mark.parametrize("name", AT_RUNNING)
def test_a_plugin_that_fails_at_running_is_told_where(
    name: str, tmp_path: Path
) -> None:
    _found(name, BROKEN, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBTLE)
def test_subtle_faults_are_found(name: str, tmp_path: Path) -> None:
    _found(name, SUBTLE, tmp_path)


def _found(
    name: str, table: dict[str, tuple[str, str, str, str]], folder: Path
) -> None:
    report = check_method(write(folder, name, table))
    _, _, check, message = table[name]
    assert check in {c.name for c in report.failures}, report.table()
    assert any(
        re.search(message, c.message) for c in report.failures if c.name == check
    ), report.table()


def test_ten_broken_plugins_stop_neither_the_list_nor_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, tmp_path / "data")
    files = [write(tmp_path, name, BROKEN) for name in BROKEN] + [
        write_plugin(tmp_path, "fine")
    ]
    given = [word for path in files for word in ("--plugin", str(path))]
    assert main(["plugin", "list", "--json", *given]) == 0
    listed = {
        row["name"]: row["problem"] for row in json.loads(capsys.readouterr().out)
    }
    assert {name for name in AT_LOADING if listed[name]} == set(AT_LOADING)
    assert listed["fine"] is None
    recipes = ["fine", *(f"{name}/{name}/fine" for name in BROKEN)]
    work = ["--work-dir", str(tmp_path / "work"), "--workers", "1", "--device", "cpu"]
    assert main(["run", "--methods", ",".join(recipes), *given, *work]) == 1
    errors = capsys.readouterr().err
    for name, (_, _, check, message) in BROKEN.items():
        begins = (
            rf"cannot run {name}/{name}/fine: "
            if check == "loads"
            else rf"failed: {name}/{name}/fine seed 0: "
        )
        where = message if check == "loads" else r"(localize|refine): "
        assert re.search(rf"{begins}{name} \({name}\.py local\): .*{where}", errors), (
            name
        )
    assert "| fine" in (tmp_path / "work" / "leaderboards" / "tiny.md").read_text()


def test_a_newer_contract_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path, "tomorrow")
    path.write_text(path.read_text().replace('version="1"', 'version="1", contract=2'))
    (failure,) = check_method(path).failures
    assert failure.name == "card"
    assert (
        "written for hook contract 2, this wsss-bench has 1. Upgrade wsss-bench: pip install -U wsss-bench"
        in failure.message
    )


def test_fewer_arguments_in_another_order_are_fine_and_defaults_too(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "frugal")
    path.write_text(
        path.read_text().replace(
            "def refine(self, view, seeds, out)",
            "def refine(self, out, seeds, view, mine=3)",
        )
    )
    assert Catalog(local=[path]).load("frugal").card.name == "frugal"


def test_an_object_is_found_by_the_processes_that_check_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsss_bench.testing import kit

    loaded = Catalog(local=[write(tmp_path, "held")]).load("held")
    assert kit._target(loaded.plugin, []) == ("held", [tmp_path / "held.py"])
    lost = type("Lost", (type(loaded.plugin),), {})()
    report = check_method(lost)
    assert not report.ok
    assert "cannot be found by another process" in report.failures[0].message


def test_the_report_is_a_table_and_json() -> None:
    checks = (
        Check("loads", "", "pass"),
        Check("runs", "refine", "fail", "it fell over"),
        Check("baseline", "", "skip", "why"),
    )
    report = Report("m", "m (d 1)", checks, 2.0)
    assert not report.ok
    lines = report.table().splitlines()
    assert lines[0] == "m (d 1)"
    assert lines[3].split() == ["runs", "refine", "FAIL"]
    assert lines[4].strip() == "it fell over"
    assert lines[-1] == "1 passed, 1 failed, 1 skipped in 2 s"
    assert json.loads(report.to_json())["checks"][1] == {
        "name": "runs",
        "stage": "refine",
        "status": "fail",
        "message": "it fell over",
    }
    with pytest.raises(AssertionError, match="it fell over"):
        report.require()
    assert not Report("m", "m", ()).ok


def test_the_command_prints_the_report_and_its_status_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "typo", BROKEN)
    assert main(["plugin", "check", str(path), "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert not content["ok"]
    assert {check["name"] for check in content["checks"]} == set(CHECKS)
    assert main(["plugin", "check", str(path), "--keep", str(tmp_path)]) == 2
    assert "Name a folder that does not" in capsys.readouterr().err


GUARD = """
import subprocess, sys
from pathlib import Path
from wsss_bench.testing.guard import landlock, refuse_reading
root = Path(sys.argv[1])
print(landlock(root / "sealed" / "masks"))
(root / "work" / "made later").write_text("x")
print((root / "work" / "made later").read_text(), (root / "sealed" / "image").read_text())
done = subprocess.run(["cat", root / "sealed" / "masks" / "a"], capture_output=True, text=True)
print(done.returncode, done.stdout)
refuse_reading(root / "sealed" / "masks", root / "work" / "log")
for attempt in (lambda: open(root / "sealed" / "masks" / "a"), lambda: list((root / "work" / "link").iterdir())):
    try:
        attempt()
    except Exception as error:
        print(type(error).__name__)
print((root / "work" / "log").read_text())
"""


def test_the_guard_shuts_one_folder_and_no_other(tmp_path: Path) -> None:
    for folder in ("sealed/masks", "work"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "sealed" / "masks" / "a").write_text("secret")
    (tmp_path / "sealed" / "image").write_text("y")
    (tmp_path / "work" / "link").symlink_to(tmp_path / "sealed" / "masks")
    done = subprocess.run(
        [sys.executable, "-c", GUARD, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    locked, files, cat, *rest = done.stdout.split("\n")
    assert locked == str(landlock_version() > 0)
    assert files == "x y"
    assert cat == ("1 " if landlock_version() else "0 secret")
    assert rest[:2] == ["LeakError", "LeakError"]
    assert rest[2:4] == ["masks/a", "masks"]


def evidence(**runs: Any) -> Any:
    from wsss_bench.testing.judge import Evidence

    def worker(**passes: Any) -> dict[str, Any]:
        return {
            "passes": {name: {"refine": run} for name, run in passes.items()},
            "opened": [],
        }

    guarded, bare = (
        worker(plain=runs["a"]),
        worker(plain=runs["b"], killed=runs["killed"]),
    )
    extra = (
        {"again": worker(plain=runs["again"]), "unguarded": worker(plain=runs["free"])}
        if "again" in runs
        else {}
    )
    return Evidence(["refine"], None, guarded, bare, **extra)  # type: ignore[arg-type]


def run(files: str, **facts: Any) -> dict[str, Any]:
    return {
        "ok": True,
        "check": "",
        "message": "",
        "files": {"x": files},
        "touched": [],
        "killed": 2,
        **facts,
    }


def test_bytes_that_differ_are_put_down_to_chance_or_to_masks() -> None:
    from wsss_bench.testing.judge import _repeatable, _resumes, _sealed

    quiet = evidence(a=run("1"), b=run("1"), killed=run("1"))
    assert not quiet.suspicious
    assert [f(quiet, "refine").status for f in (_repeatable, _resumes, _sealed)] == [
        "pass",
        "pass",
        "pass",
    ]
    chance = evidence(
        a=run("1"), b=run("2"), killed=run("3"), again=run("4"), free=run("5")
    )
    assert chance.suspicious
    assert [f(chance, "refine").status for f in (_repeatable, _resumes, _sealed)] == [
        "fail",
        "skip",
        "pass",
    ]
    masks = evidence(
        a=run("1"), b=run("2"), killed=run("2"), again=run("2"), free=run("1")
    )
    assert [f(masks, "refine").status for f in (_repeatable, _sealed)] == [
        "skip",
        "fail",
    ]
    resume = evidence(a=run("1"), b=run("1"), killed=run("2"))
    assert _resumes(resume, "refine").status == "fail"
    quick = evidence(a=run("1"), b=run("1"), killed=run("1", killed=0))
    assert _resumes(quick, "refine").status == "skip"


@pytest.mark.parametrize("name", ["threshold", "densecrf", "supervised"])
def test_bundled_refiners_keep_the_contract(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What an old build left in the current folder knows none of the methods; it must not win over what is installed.
    old = tmp_path / "wsss_bench.egg-info"
    old.mkdir()
    (old / "PKG-INFO").write_text(
        "Metadata-Version: 2.1\nName: wsss-bench\nVersion: 0.0.1\n"
    )
    (old / "entry_points.txt").write_text("[wsss_bench.methods]\n")
    monkeypatch.chdir(tmp_path)
    check_method(name).require()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["cam", "deeplab", "dsrg", "ficklenet", "vwe", "affinitynet", "irn"]
)
def test_bundled_methods_that_train_keep_the_contract(name: str) -> None:
    check_method(name).require()


def test_every_bundled_method_is_checked_here() -> None:
    text = Path(__file__).read_text()
    missing = [
        name
        for name in Catalog(restrict=["wsss-bench"]).names()
        if f'"{name}"' not in text
    ]
    assert not missing


def test_pytest_shows_one_result_per_check(tmp_path: Path) -> None:
    path = write(tmp_path, "typo", BROKEN)
    # The package's entry point brings the plugin; nothing is named here.
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        "--rootdir",
        str(tmp_path),
    ]
    done = subprocess.run(
        [*command, str(tmp_path), "-v", "--wsss-plugin", str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "typo.py-loads] FAILED" in done.stdout
    assert f"1 failed, {len(CHECKS) - 1} skipped" in done.stdout
    assert "there is no such hook" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_pytest_plugin_imports_nothing_heavy_at_the_start() -> None:
    code = (
        "import sys; import pytest; import wsss_bench.testing.pytest_plugin; "
        "heavy = {'torch', 'numpy', 'mmengine', 'numba', 'pandas', 'cv2', 'rich', 'wsss_bench.testing.kit'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["wsss_bench", "wsss_bench.testing.pytest_plugin"])
def test_naming_the_pytest_plugin_once_more_does_no_harm(
    name: str, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        "-p",
        name,
        "--help",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("--wsss-plugin") == 1


def test_twenty_plugins_are_listed_without_importing_them_or_torch(
    tmp_path: Path,
) -> None:
    for number in range(20):
        name = f"extra{number}"
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported')\n")
        info = tmp_path / f"wsss_{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: wsss-{name}\nVersion: 1\n"
        )
        (info / "entry_points.txt").write_text(
            f"[wsss_bench.methods]\n{name} = {name}:plugin\n"
        )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "from wsss_bench.cli import main; main(['plugin', 'list']); main(['--help']); "
        "print(sorted({'torch', 'mmengine', 'pandas', 'numba', 'extra7'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert len(re.findall(r"^extra\d+ ", done.stdout, re.M)) == 20
    assert done.stdout.strip().endswith("[]")
