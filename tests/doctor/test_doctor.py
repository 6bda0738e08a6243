from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_fakes import write_plugin

from wsss_bench.cli import main
from wsss_bench.doctor import (
    compiled,
    examine,
    findings,
    machine,
    packages,
    requirements,
)
from wsss_bench.doctor.findings import FAIL, OK, WARN, Check

PROJECT = tomllib.loads(
    Path(__file__).parents[2].joinpath("pyproject.toml").read_text()
)["project"]


def asked(name: str) -> str:
    """The requirement as pyproject.toml has it, in the quotes and the order in which doctor prints it."""
    (line,) = [
        line for line in PROJECT["dependencies"] if re.match(rf"{name}\b(?!-)", line)
    ]
    ranges = sorted(line.removeprefix(name).split(","))
    return f"'{name}{','.join(ranges)}'"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WSSS_BENCH_DATA_ROOT", raising=False)
    monkeypatch.delenv("WSSS_BENCH_PLUGINS", raising=False)
    monkeypatch.chdir(tmp_path)


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Pretend versions; None for a distribution that is not there."""
    real = requirements.version
    names = {name.replace("_", "-"): found for name, found in versions.items()}
    monkeypatch.setattr(
        packages, "version", lambda name: names[name] if name in names else real(name)
    )


def bad(checks: Any) -> list[Check]:
    return [check for check in checks if check.level != OK]


def test_a_sound_machine_has_no_failure_and_the_answer_is_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    failures = [check["part"] for check in found["checks"] if check["level"] == FAIL]
    # A small disk, an odd driver or a stale editable installation are this machine's, not the code's.
    assert not {*failures} - {"gpu", "work dir", "install"}
    assert (status, found["ok"]) == (int(bool(failures)), not failures)
    assert {
        "python",
        "packages",
        "install",
        "crf",
        "gpu",
        "data",
        "work dir",
        "plugins",
    } == {c["part"] for c in found["checks"]}
    assert any(c["what"].startswith("torch 2") for c in found["checks"])
    assert list(tmp_path.iterdir()) == []


def test_every_dependency_is_looked_at() -> None:
    named = {
        need.name
        for need in requirements.applying(requirements.project()["dependencies"])
    }
    shown = {
        check.what.split()[0]
        for check in packages.check_packages()
        if check.level == OK
    }
    assert {"torch", "pydensecrf2", "numba"} <= named <= shown


@pytest.mark.parametrize(
    ("versions", "what", "fix"),
    [
        (
            {"torch": None},
            "torch is not installed",
            f"python -m pip install {asked('torch')}",
        ),
        (
            {"numpy": "1.26.4"},
            "numpy 1.26.4 does not satisfy >=2.0",
            "python -m pip install 'numpy>=2.0'",
        ),
        (
            {"torch": "2.15.0+cpu"},
            "builds of different kinds",
            f"--force-reinstall {asked('torch')} {asked('torchvision')}",
        ),
        (
            {"mmcv": "2.1.0"},
            "mmcv 2.1.0 lies over onedl-mmcv",
            f"uninstall -y mmcv onedl-mmcv && python -m pip install {asked('onedl-mmcv')}",
        ),
        (
            {"opencv_python_headless": "4.9"},
            "both install the module cv2",
            "uninstall -y opencv-python-headless opencv-python",
        ),
        (
            {"pydensecrf2": None},
            "pydensecrf2 is not installed (its build needs a compiler",
            "pip install 'pydensecrf2==1.1'",
        ),
    ],
)
def test_packages_that_are_wrong_come_with_the_line_that_repairs_them(
    versions: dict[str, str | None],
    what: str,
    fix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed(monkeypatch, **versions)
    found = [check for check in packages.check_packages() if check.level == FAIL]
    assert any(what in check.what and fix in check.fix for check in found), found


def test_a_python_that_is_too_new_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.platform, "python_version", lambda: "3.13.1")
    (check,) = bad(packages.check_python())
    assert "3.13.1 is not >=3.11" in check.what
    assert check.fix.startswith("python3.11 -m venv")


def test_an_installation_older_than_the_source_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = requirements.project()
    monkeypatch.setattr(
        packages,
        "project",
        lambda: {**real, "methods": {**real["methods"], "brandnew": "x:y"}},
    )
    (check,) = bad(packages.check_install())
    assert "does not know brandnew" in check.what
    assert "python -m pip install -e" in check.fix


def broken_import(*broken: str) -> Callable[[str], object]:
    real = compiled.importlib.import_module

    def load(name: str) -> object:
        if name in broken:
            raise ImportError("libGL.so.1: cannot open shared object file")
        return real(name)

    return load


@pytest.mark.parametrize(
    ("module", "level", "fix"),
    [
        ("pydensecrf.densecrf", WARN, "pydensecrf2==1.1"),
        ("numba", FAIL, "numba"),
        ("cv2", FAIL, "apt-get install -y libgl1"),
    ],
)
def test_compiled_modules_that_do_not_load(
    module: str, level: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled.importlib, "import_module", broken_import(module))
    (check,) = bad(compiled.check_crf())
    assert check.level == level
    assert "libGL.so.1" in check.what
    assert fix in check.fix


@pytest.mark.parametrize(
    ("driver", "build", "level", "what"),
    [
        (None, "12.8", WARN, "no NVIDIA driver"),
        (([], (12, 8)), "12.8", WARN, "shows no GPU"),
        ((["H200"], (12, 8)), None, FAIL, "a build without CUDA"),
        (
            (["H200"], (11, 4)),
            "12.8",
            FAIL,
            "the driver knows CUDA 11.4, torch is built for 12.8",
        ),
        ((["H200"], (12, 2)), "12.8", OK, "H200; driver for CUDA 12.2"),
    ],
)
def test_gpu(
    driver: Any,
    build: str | None,
    level: str,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "driver", lambda: driver)
    monkeypatch.setattr(machine, "torch_cuda", lambda: build)
    (check,) = machine.check_gpu()
    assert check.level == level
    assert what in check.what
    if "without CUDA" in what:
        both = f"{asked('torch')} {asked('torchvision')}"
        assert check.fix == f"{findings.PIP} --force-reinstall {both}"


def test_the_versions_to_install_are_those_of_the_installed_package_without_a_checkout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requirements, "checkout", lambda: None)
    assert requirements.source() == "wsss-bench"
    wanted = requirements.project()
    assert wanted["python"]
    assert {"cam", "dsrg"} <= set(wanted["methods"])
    # The package was installed when torch was asked for in one way or another; a bare name would let pip take any.
    assert re.fullmatch(
        r"'torch[=<>].+' 'torchvision[=<>].+'",
        requirements.quoted("torch", "torchvision"),
    )
    assert requirements.quoted("something-else") == "something-else"


def test_numba_keeps_its_cache_where_the_kernels_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsss_bench.toolbox import kernels

    assert Path(str(kernels.__file__)).parent == compiled.KERNELS
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(compiled.os, "access", lambda folder, how: False)
    found = [c for c in compiled.check_crf() if "numba" in c.what + c.fix]
    assert [(c.level, str(compiled.KERNELS) in c.what) for c in found] == [(WARN, True)]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert any(f"{tmp_path} is read-only" in c.what for c in bad(compiled.check_crf()))


def test_the_doctor_names_no_version_that_pyproject_does_not() -> None:
    for file in Path(str(examine.__file__)).parent.glob("*.py"):
        assert not re.search(r"[\w-]+==\d", file.read_text()), file


def test_data_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voc = tmp_path / "data" / "VOC2012"
    (voc / "JPEGImages").mkdir(parents=True)
    (voc / "ImageSets" / "Segmentation").mkdir(parents=True)
    (voc / "ImageSets" / "Segmentation" / "train.txt").write_text("a\n")
    found = {
        check.what.split(":")[0].split(" ")[0]: check
        for check in examine.check_data(tmp_path / "data")
    }
    assert found["voc2012"].level == OK
    assert (
        f"wsss-bench data verify --dataset voc2012 --data-root {tmp_path / 'data'}"
        in found["voc2012"].what
    )
    assert found["coco2014"].level == WARN
    assert (
        found["coco2014"].fix
        == f"wsss-bench data prepare --dataset coco2014 --data-root {tmp_path / 'data'} --download"
    )
    monkeypatch.setenv("WSSS_BENCH_DATA_ROOT", str(tmp_path / "nowhere"))
    (check,) = bad(examine.check_data(None))
    assert (check.level, "is no folder" in check.what) == (FAIL, True)


def test_work_dirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = machine.check_work_dir(tmp_path / "not" / "yet")
    assert first == Check(
        "work dir", OK, f"{tmp_path}: files can be written, renamed and locked"
    )
    assert not (tmp_path / "not").exists()
    (tmp_path / "file").write_text("")
    (check,) = machine.check_work_dir(tmp_path / "file")
    assert (check.level, check.fix) == (FAIL, "wsss-bench run --work-dir OTHER_FOLDER")
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: type("Usage", (), {"free": 5 << 20})()
    )
    assert any(
        check.level == FAIL and check.what == "0.0 GiB free"
        for check in machine.check_work_dir(tmp_path)
    )


def test_locks_that_do_not_hold_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(fcntl, "flock", lambda handle, how: None)
    (check,) = machine.check_work_dir(tmp_path)
    assert check.level == FAIL
    assert "locks do not hold" in check.what
    assert list(tmp_path.iterdir()) == []


def test_broken_plugins_are_named_and_the_status_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = write_plugin(tmp_path, "alpha")
    rotten = write_plugin(tmp_path, "rotten", extra="import no_such_module_at_all\n")
    assert main(["doctor", "--plugin", str(good), "--plugin", str(rotten)]) == 1
    out = capsys.readouterr().out
    assert "ok    plugins:   alpha (alpha.py local): localize, refine, segment" in out
    assert (
        "fail  plugins:   rotten (rotten.py local): import: importing it failed with ModuleNotFoundError"
        in out
    )
    assert "repair: wsss-bench plugin check rotten --plugin rotten.py" in out
    monkeypatch.setenv("WSSS_BENCH_PLUGINS", "cam")
    assert any(
        "hides all other plugins" in check.what
        for check in bad(examine.check_plugins())
    )


def test_a_check_that_breaks_is_a_failure_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examine, "check_gpu", lambda: 1 / 0)
    found = list(examine.examine(None, tmp_path))
    assert any(
        check.part == "gpu" and "ZeroDivisionError" in check.what for check in found
    )
    assert found[-1].part == "plugins"


def test_it_imports_no_torch_and_takes_well_under_three_seconds(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from wsss_bench.cli import main; status = main(['doctor']); "
        "use = resource.getrusage(resource.RUSAGE_SELF); "
        "heavy = 'torch' in sys.modules or 'mmengine' in sys.modules; "
        "print(status, heavy, use.ru_utime + use.ru_stime, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=os.environ,
    )
    status, heavy, seconds = done.stderr.split()
    assert status in "01"
    assert heavy == "False"
    assert float(seconds) < 3  # processor time: other programs do not count
