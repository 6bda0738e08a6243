"""What is in a key besides parameters: folders by content, late imports, bytecode that is not of its source."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import sys
from pathlib import Path

import pytest

from wsss_bench.methods.bytecode import drop_stale, is_stale
from wsss_bench.methods.catalog import load_file
from wsss_bench.runs.provenance.places import contents, key_params
from wsss_bench.runs.store.explain import changes
from wsss_bench.runs.store.imports import GONE, LateImports, digest_now, watch_for


def test_a_folder_counts_by_content_and_name(tmp_path: Path) -> None:
    folders = [tmp_path / name / "maps" for name in ("a", "b")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "one.png").write_bytes(b"1")
    one, two = (key_params({"saliency_dir": str(folder)}) for folder in folders)
    assert one == two
    assert one["saliency_dir"]["folder"] == "maps"
    (folders[1] / "one.png").write_bytes(b"2")
    assert key_params({"saliency_dir": str(folders[1])}) != one
    assert set(contents({"saliency_dir": str(folders[0]), "lr": 0.1})) == {
        "saliency_dir"
    }


def test_a_relative_folder_is_looked_up_by_the_parameter_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "maps").mkdir()
    assert "sha256" in key_params({"saliency_dir": "maps"})["saliency_dir"]
    # Another text that happens to be a folder's name is a text.
    assert key_params({"network": "maps"}) == {"network": "maps"}
    assert key_params({"saliency_dir": ""}) == {"saliency_dir": ""}
    assert key_params({"saliency_dir": "."}) == {"saliency_dir": "."}
    assert key_params({"saliency_dir": "none"}) == {"saliency_dir": "none"}


def test_files_inside_lists_and_mappings_count(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_text("1")
    params = {"model": {"nets": [{"weights": str(tmp_path / "w.pth")}]}}
    assert list(contents(params)) == ["model.nets.0.weights"]
    before = key_params(params)
    (tmp_path / "w.pth").write_text("2")
    assert key_params(params) != before


def test_a_config_counts_with_what_it_is_based_on_and_imports(tmp_path: Path) -> None:
    config = tmp_path / "net.py"
    config.write_text(
        '_base_ = ["base.py"]\ncustom_imports = dict(imports=["key_parts"])\nmodel = dict(a=1)\n'
    )
    (tmp_path / "base.py").write_text("depth = 1\n")
    (tmp_path / "key_parts.py").write_text("VALUE = 1\n")
    seen = [key_params({"network": str(config)})]
    for name, text in (
        ("base.py", "depth = 2\n"),
        ("key_parts.py", "VALUE = 2\n"),
        ("net.py", config.read_text().replace("a=1", "a=2")),
    ):
        (tmp_path / name).write_text(text)
        seen.append(key_params({"network": str(config)}))
    assert len({str(key) for key in seen}) == 4
    config.write_text("# why\n" + config.read_text())
    assert key_params({"network": str(config)}) == seen[-1]


def test_a_network_of_the_harness_counts_by_its_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsss_bench.runs.provenance import places

    models = tmp_path / "models"
    models.mkdir()
    (models / "one.py").write_text('_base_ = "common.py"\n')
    (models / "common.py").write_text("depth = 1\n")
    monkeypatch.setattr(places, "configs_dir", lambda: tmp_path)
    before = key_params({"network": "one"})
    assert before["network"]["config"] == "one"
    (models / "common.py").write_text("depth = 2\n")
    assert key_params({"network": "one"}) != before
    assert key_params({"network": "two", "backbone": "one"}) == {
        "network": "two",
        "backbone": "one",
    }


def compiled(path: Path, text: str) -> Path:
    path.write_text(text)
    return Path(str(py_compile.compile(str(path))))


def replace(path: Path, text: str) -> None:
    """Write other content of the same size under the same time stamp."""
    stat = path.stat()
    assert len(text) == stat.st_size
    path.write_text(text)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_compiled_code_of_another_content_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "mod_stale.py"
    pyc = compiled(path, "A = 1\n")
    assert not is_stale(path)
    replace(path, "A = 2\n")
    # Python itself would run the old code.
    spec = importlib.util.spec_from_file_location("mod_stale", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.A == 1
    assert is_stale(path)
    drop_stale([path])
    assert not pyc.exists()
    spec.loader.exec_module(module)
    assert module.A == 2


def test_a_copied_environment_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "mod_copied.py"
    pyc = compiled(path, "def f(a):\n    return (a, 'b', frozenset({1}))\n")
    stat = path.stat()
    # As `cp -a` does: the source is put there after its compiled form, with its old time stamp.
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_ctime_ns > pyc.stat().st_ctime_ns
    assert not is_stale(path)


PLUGIN = """
import importlib
from pathlib import Path

from wsss_bench import MethodCard, hookimpl


@hookimpl
def method_card():
    return MethodCard(name="key_mine", version="1", stages=("localize",))


@hookimpl
def localize(view, out):
    name = "key_" + "late"
    table = Path(__file__).with_name("key_table.txt").read_text()
    return importlib.import_module(name).VALUE, table
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "key_mine.py").write_text(PLUGIN)
    (tmp_path / "key_late.py").write_text("VALUE = 1\n")
    (tmp_path / "key_table.txt").write_text("1")
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("key_mine", "key_late"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_what_is_loaded_late_is_noted_and_changes_the_key(folder: Path) -> None:
    method = load_file(folder / "key_mine.py")
    assert method.code is not None
    watch = watch_for(method.code.of("localize"), method.code)
    with watch.open():
        method.plugin.localize(None, None)  # type: ignore[attr-defined]
    found = watch.found()
    assert set(found) == {"key_late", "file:key_table.txt"}

    notes, walk = LateImports(folder / "store"), method.code.walk
    notes.note("first" * 4, found)

    def key_with(late: object) -> str:
        return f"other-key-{late}" if late else "first" * 4

    assert notes.settle(key_with, walk) == {}
    for name, text, late in (
        ("key_late.py", "VALUE = 1  # one\n", set()),
        ("key_late.py", "VALUE = 2\n", {"key_late"}),
        ("key_table.txt", "2", {"key_late", "file:key_table.txt"}),
        ("key_late.py", "VALUE = 1\n", {"file:key_table.txt"}),
        ("key_table.txt", "1", set()),
    ):
        (folder / name).write_text(text)
        settled = notes.settle(key_with, walk)
        assert {n for n in settled if settled[n] != found[n]} == late
    (folder / "key_late.py").unlink()
    assert notes.settle(key_with, walk)["key_late"] == GONE
    assert digest_now("file:none.txt", walk) == GONE


def test_changed_modules_are_named() -> None:
    then = {
        "params": {"lr": 1},
        "code": {"harness": {"wsss_bench.rng": "a", "wsss_bench.old": "b"}},
    }
    now = {
        "params": {"lr": 1},
        "code": {"harness": {"wsss_bench.rng": "c"}, "own": {"mine": "d"}},
        "late": {"helper": "e"},
    }
    assert changes(then, now) == [
        "code: mine is new",
        "code: wsss_bench.old is gone",
        "code: wsss_bench.rng has changed",
        "what it loads while it runs: helper is new",
    ]
