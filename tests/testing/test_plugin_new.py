"""`plugin new` writes projects that are complete: they load, their tests pass, and their methods keep the contract."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from wsss_bench.cli import main
from wsss_bench.errors import PluginError
from wsss_bench.methods.catalog import Catalog
from wsss_bench.testing.template.project import KINDS, write_project


def installed(folder: Path, name: str, package: str) -> None:
    """Make the project in `folder` look installed to whoever has it on the path, as ``pip install -e`` would."""
    entry = tomllib.loads((folder / "pyproject.toml").read_text())["project"][
        "entry-points"
    ]["wsss_bench.methods"]
    info = folder / f"{package}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 0.1.0\n"
    )
    (info / "entry_points.txt").write_text(
        f"[wsss_bench.methods]\n{name} = {entry[name]}\n"
    )


@pytest.fixture(params=KINDS)
def project(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Path]:
    kind = request.param
    assert (
        main(
            [
                "plugin",
                "new",
                f"my-{kind}",
                "--kind",
                kind,
                "--dir",
                str(tmp_path / "project"),
            ]
        )
        == 0
    )
    installed(tmp_path / "project", f"my-{kind}", f"wsss_my_{kind}")
    monkeypatch.syspath_prepend(tmp_path / "project")
    return kind, tmp_path / "project"


def test_a_new_project_is_complete_and_loads(project: tuple[str, Path]) -> None:
    kind, folder = project
    package = f"wsss_my_{kind}"
    for name in (
        "pyproject.toml",
        "README.md",
        f"{package}/plugin.py",
        f"{package}/README.md",
        f"tests/test_{package}.py",
    ):
        text = (folder / name).read_text()
        assert "@" not in text.replace("@hookimpl", ""), name
    content = tomllib.loads((folder / "pyproject.toml").read_text())
    assert content["project"]["dependencies"] == ["wsss-bench>=0.1"]
    method = Catalog().load(f"my-{kind}")
    assert method.card.stages == (KINDS[kind],)
    assert method.distribution == f"wsss-my-{kind}"


def test_the_rule_of_a_new_project_is_right(project: tuple[str, Path]) -> None:
    _, folder = project
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "not contract",
        "tests",
    ]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_a_new_refiner_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project("sieve", "refiner", tmp_path)
    installed(tmp_path, "sieve", "wsss_sieve")
    monkeypatch.syspath_prepend(tmp_path)
    _check("sieve")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["localizer", "segmentor"])
def test_a_new_method_that_trains_keeps_the_contract(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A name of its own for each kind: Python keeps the module of the first project that it imported.
    name = f"drill-{kind}"
    write_project(name, kind, tmp_path)
    installed(tmp_path, name, f"wsss_drill_{kind}")
    monkeypatch.syspath_prepend(tmp_path)
    _check(name)


def _check(name: str) -> None:
    from wsss_bench.testing import check_method

    check_method(name).require()


@pytest.mark.parametrize("name", ["2fast", "a b", "class", "-x", "a.b"])
def test_a_name_that_cannot_be_one_is_refused(name: str, tmp_path: Path) -> None:
    from wsss_bench.errors import PluginError

    with pytest.raises(PluginError, match="cannot be a method's name"):
        write_project(name, "refiner", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_nothing_is_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("work of months")
    assert (
        main(["plugin", "new", "mine", "--kind", "refiner", "--dir", str(tmp_path)])
        == 2
    )
    assert "is not empty. Choose another --dir." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cam", "wsss-bench brings a method 'cam' already"),
        ("CAM", "brings a method 'cam' already"),
        ("affinity-net", "brings a method 'affinitynet' already"),
        ("bench", "its package would be called 'wsss_bench', which is installed"),
        ("plugins", "its package would be called 'wsss_plugins'"),
    ],
)
def test_a_name_that_is_taken_is_refused(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=f"{said}.*Choose another name"):
        write_project(name, "localizer", tmp_path / "new")
    assert not (tmp_path / "new").exists()
