"""Plugins written for version 0.1.0, kept as they were: they load, keep the contract, and old paths warn."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest

from wsss_bench.methods.catalog import Catalog
from wsss_bench.testing import check_method

OUTSIDERS = Path(__file__).with_name("outsiders")
# They were written for the old paths, whose warnings are errors elsewhere in these tests.
pytestmark = pytest.mark.filterwarnings("ignore:.*has moved:DeprecationWarning")

KINDS = {"mylocalizer": "localize", "myrefiner": "refine", "mysegmentor": "segment"}


def install(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the project look installed, as ``pip install -e`` would."""
    project = folder / name
    shutil.copytree(OUTSIDERS / name, project)
    content = tomllib.loads((project / "pyproject.toml").read_text())
    target = content["project"]["entry-points"]["wsss_bench.methods"][name]
    info = project / f"wsss_{name}-0.1.0.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: wsss-{name}\nVersion: 0.1.0\n"
    (info / "METADATA").write_text(metadata)
    (info / "entry_points.txt").write_text(f"[wsss_bench.methods]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(project)


@pytest.mark.parametrize("name", KINDS)
def test_a_project_of_the_old_template_loads(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(name, tmp_path, monkeypatch)
    method = Catalog().load(name)
    assert method.card.stages == (KINDS[name],)
    assert method.distribution == f"wsss-{name}"


def test_a_refiner_of_the_old_template_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("myrefiner", tmp_path, monkeypatch)
    check_method("myrefiner").require()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mylocalizer", "mysegmentor"])
def test_a_method_of_the_old_template_that_trains_keeps_the_contract(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(name, tmp_path, monkeypatch)
    check_method(name).require()


@pytest.mark.slow
def test_the_plugin_of_the_old_tutorial_keeps_the_contract() -> None:
    check_method(OUTSIDERS / "mine.py").require()


def test_the_old_names_of_the_template_are_found_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match=r"import it from wsss_bench\.contract"):
        from wsss_bench.view import WeakImage  # noqa: F401
    with pytest.warns(DeprecationWarning, match="import it from wsss_bench"):
        from wsss_bench.paths import configs_dir  # noqa: F401
