"""The whole way of a third party: wheels of harness and project, a fresh environment, a run, the board."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from wsss_bench.testing.template.project import write_project

ROOT = Path(__file__).resolve().parents[2]
TINY = ["train=16", "val=4", "size=64", "seed=1"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def run(command: list[str | Path], folder: Path, first: tuple[Path, ...] = ()) -> str:
    """Run a command in `folder`, with one thread and nothing of this checkout on the path; its stdout.

    `first`: folders of programs that win over all others.
    """
    env = {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONPATH", "WSSS_BENCH_PLUGINS")
    }
    env |= {
        "OMP_NUM_THREADS": "1",
        "PATH": os.pathsep.join([*map(str, first), env["PATH"]]),
    }
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def wheel(source: Path, target: Path) -> Path:
    """Build a wheel from a copy of `source`, so that nothing is left behind in it."""
    copy = target / f"source-{source.name}"
    ignore = shutil.ignore_patterns(
        ".git",
        ".venv*",
        "work_dirs",
        "__pycache__",
        "*.egg-info",
        "build",
        "tests",
        "benchmarks",
    )
    shutil.copytree(source, copy, ignore=ignore)
    out = target / f"wheel-{source.name}"
    code = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    out.mkdir()
    run([sys.executable, "-c", code, out], copy)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that holds both wheels, and sees the other packages of this one."""
    folder = tmp_path_factory.mktemp("third-party")
    write_project("lsepool", "localizer", folder / "project")
    wheels = [wheel(ROOT, folder), wheel(folder / "project", folder)]
    run([sys.executable, "-m", "venv", folder / "env"], folder)
    python = folder / "env" / "bin" / "python"
    site = Path(
        run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            folder,
        ).strip()
    )
    run(
        [python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", *wheels],
        folder,
    )
    # The one that came with the environment is too old to build a project; that of this environment is seen instead.
    run([python, "-m", "pip", "uninstall", "-q", "-y", "setuptools"], folder)
    # After the environment's own packages, so that the installed wheel wins over this checkout.
    (site / "zz_others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


def test_a_wheel_of_the_template_runs_beside_the_wheel_of_the_harness(
    python: Path, tmp_path: Path
) -> None:
    where = run(
        [python, "-c", "import wsss_bench; print(wsss_bench.__file__)"], tmp_path
    )
    assert str(ROOT) not in where

    bench = python.parent / "wsss-bench"
    listed = {
        row["name"]: row
        for row in json.loads(run([bench, "plugin", "list", "--json"], tmp_path))
    }
    assert listed["lsepool"]["distribution"] == "wsss-lsepool"
    assert listed["cam"]["distribution"] == "wsss-bench"

    report = json.loads(run([bench, "plugin", "check", "lsepool", "--json"], tmp_path))
    assert report["ok"]
    assert report["who"] == "lsepool (wsss-lsepool 0.1.0)"

    options = [word for option in TINY for word in ("--data-option", option)]
    settings = ["--profile", "check", "--device", "cpu", "--workers", "1"]
    run(
        [
            bench,
            "run",
            "--methods",
            "cam,lsepool",
            "--dataset",
            "shapes",
            *options,
            *settings,
        ],
        tmp_path,
    )
    board = (tmp_path / "work_dirs" / "leaderboards" / "shapes.md").read_text()
    assert re.search(r"^\|.*\blsepool\b", board, re.M)
    assert re.search(r"^\|.*\bcam\b", board, re.M)


def test_every_command_of_the_tutorial_works_as_pasted(
    python: Path, tmp_path: Path
) -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text()
    (tmp_path / "mine.py").write_text(re.findall(r"```python\n(.*?)```", text, re.S)[0])
    commands = [
        line
        for block in re.findall(r"```bash\n(.*?)```", text, re.S)
        for line in block.splitlines()
        if line.strip()
    ]
    assert [command.split()[1] for command in commands] == [
        "run",
        "plugin",
        "plugin",
        "install",
        "plugin",
        "run",
    ]

    # Fewer and smaller photographs, short trainings, no package index; the commands themselves are what the page says.
    tiny = " ".join(f"--data-option {option}" for option in TINY)
    shims, real = tmp_path / "shims", python.parent
    shims.mkdir()
    for program, verb, more in (
        ("wsss-bench", "run", f"{tiny} --profile check --device cpu --workers 1"),
        ("pip", "install", "--no-index --no-build-isolation"),
    ):
        script = f'#!/bin/sh\nif [ "$1" = {verb} ]; then set -- "$@" {more}; fi\nexec {real / program} "$@"\n'
        (shims / program).write_text(script)
        (shims / program).chmod(0o755)
    for command in commands:
        run(["bash", "-c", command], tmp_path, (shims, real))

    board = (tmp_path / "work_dirs" / "leaderboards" / "shapes.md").read_text()
    for name in ("cam", "mine", "mymethod"):
        assert re.search(rf"^\|.*\b{name}\b", board, re.M)
