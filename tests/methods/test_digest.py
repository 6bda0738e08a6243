"""What a method's code digest sees: its code, and its config only where code imports it."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from wsss_bench.errors import PluginError
from wsss_bench.methods.catalog import Catalog, load_file
from wsss_bench.methods.digest import code_digest

CARD = """
from pathlib import Path

from wsss_bench import MethodCard, hookimpl


@hookimpl
def method_card():
    return MethodCard(name="mine", version="1", stages=("refine",), defaults={defaults})


@hookimpl
def refine(view, seeds, out):
    pass
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    folder = tmp_path / "digest_mine"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "plugin.py").write_text("A = 1\n")
    (folder / "config.py").write_text("refine = dict(a=1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("digest_mine", "digest_mine.plugin"):
        monkeypatch.delitem(importlib.sys.modules, name, raising=False)  # type: ignore[attr-defined]
    return importlib.import_module("digest_mine.plugin")


def changed(module: ModuleType, name: str, text: str, config: bool = True) -> bool:
    folder = Path(str(module.__file__)).parent
    defaults = folder / "config.py" if config else None
    before = code_digest(module, defaults)
    (folder / name).write_text(text)
    return code_digest(module, defaults) != before


def test_a_config_is_no_code(package: ModuleType) -> None:
    assert not changed(package, "config.py", "refine = dict(a=1)  # why\n")


def test_code_is(package: ModuleType) -> None:
    assert changed(package, "plugin.py", "A = 2\n")
    assert changed(package, "maths.py", "B = 2\n")


def test_a_file_that_is_not_named_as_defaults_is_code(package: ModuleType) -> None:
    assert changed(package, "config.py", "refine = dict(a=2)\n", config=False)


@pytest.mark.parametrize(
    "line",
    [
        "import digest_mine.config",
        "from digest_mine import config",
        "from digest_mine.config import refine",
        "from . import config",
        "def late():\n    from .config import refine\n    return refine",
    ],
)
def test_a_config_that_code_imports_is_code(package: ModuleType, line: str) -> None:
    (Path(str(package.__file__)).parent / "maths.py").write_text(f"{line}\n")
    assert changed(package, "config.py", "refine = dict(a=2)\n")


@pytest.mark.parametrize("name", ["cam", "dsrg", "irn"])
def test_bundled_configs_are_no_code(name: str) -> None:
    method = Catalog().load(name)
    module = importlib.import_module(f"wsss_plugins.{name}.plugin")
    assert method.code_digest == code_digest(module, method.card.defaults)  # type: ignore[arg-type]
    assert method.code_digest != code_digest(module)


def test_a_card_whose_defaults_are_malformed_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    defaults = '{"refine": {"beta": 1.0}, "test_settings": {"refine": ("betta",)}}'
    path.write_text(CARD.replace("{defaults}", defaults))
    with pytest.raises(PluginError, match=r"'betta', which is not a parameter.*'beta'"):
        load_file(path)
