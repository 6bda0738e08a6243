"""What a stage's code is: which modules it rests on, and which edits of them count."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wsss_bench.errors import PluginError
from wsss_bench.methods.catalog import LoadedMethod, load_file
from wsss_bench.methods.syntax import syntax_digest

PLUGIN = """
import mod_helper
from mod_package import shown
from wsss_bench import MethodCard, hookimpl

LEVEL = 3


@hookimpl
def method_card():
    '''Says what it is.'''
    return MethodCard(name="mod_mine", version="1", stages=("localize", "refine"))


@hookimpl
def localize(view, out, ctx):
    from mod_late import value

    return value + LEVEL


def _only_refine():
    return 1


@hookimpl
def refine(view, seeds, out, ctx):
    import mod_refine

    return mod_refine.VALUE + _only_refine()
"""

FILES = {
    "mod_mine.py": PLUGIN,
    "mod_helper.py": "import mod_deep\nVALUE = 1\n",
    "mod_deep.py": "VALUE = 1\n",
    "mod_late.py": "value = 1\n",
    "mod_refine.py": "VALUE = 1\n",
    "mod_stranger.py": "VALUE = 1\n",
    "mod_package/__init__.py": (
        "_HOME = {'shown': 'inner'}\n\n\ndef __getattr__(name):\n    return _HOME[name]\n"
    ),
    "mod_package/inner.py": "shown = 1\n",
    "mod_package/unused.py": "VALUE = 1\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    # What a test imports from its folder goes with the folder.
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in list(sys.modules):
        if name.startswith("mod_"):
            del sys.modules[name]
    return tmp_path


def code(folder: Path, stage: str = "localize") -> dict[str, str]:
    method: LoadedMethod = load_file(folder / "mod_mine.py")
    assert method.code is not None
    return dict(method.code.of(stage).own)


def changed(folder: Path, name: str, old: str, new: str) -> set[str]:
    """Edit a file; return the stages whose code is another one then."""
    before = {stage: code(folder, stage) for stage in ("localize", "refine")}
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return {
        stage for stage, digests in before.items() if code(folder, stage) != digests
    }


def test_the_closure_of_a_stage(folder: Path) -> None:
    assert set(code(folder)) == {
        "mod_mine",
        "mod_helper",
        "mod_deep",
        "mod_late",
        "mod_package",
        "mod_package.inner",
    }
    assert set(code(folder, "refine")) - set(code(folder)) == {"mod_refine"}


BOTH = {"localize", "refine"}


@pytest.mark.parametrize(
    ("name", "old", "new", "stages"),
    [
        ("mod_helper.py", "VALUE = 1", "VALUE = 2", BOTH),
        ("mod_deep.py", "VALUE = 1", "VALUE = 2", BOTH),
        ("mod_package/inner.py", "shown = 1", "shown = 2", BOTH),
        ("mod_mine.py", "LEVEL = 3", "LEVEL = 4", BOTH),
        ("mod_late.py", "value = 1", "value = 2", {"localize"}),
        ("mod_mine.py", "value + LEVEL", "value - LEVEL", {"localize"}),
        ("mod_refine.py", "VALUE = 1", "VALUE = 2", {"refine"}),
        ("mod_mine.py", "mod_refine.VALUE +", "mod_refine.VALUE -", {"refine"}),
        ("mod_mine.py", "    return 1", "    return 2", BOTH),
        ("mod_mine.py", "LEVEL = 3", "LEVEL = 3  # three", set()),
        ("mod_mine.py", "LEVEL = 3", "\n\nLEVEL = (\n    3\n)", set()),
        ("mod_mine.py", "Says what it is.", "Says it.", set()),
        ("mod_stranger.py", "VALUE = 1", "VALUE = 2", set()),
        ("mod_package/unused.py", "VALUE = 1", "VALUE = 2", set()),
    ],
)
def test_an_edit_counts_where_it_can_matter(
    folder: Path, name: str, old: str, new: str, stages: set[str]
) -> None:
    assert changed(folder, name, old, new) == stages


def test_a_hook_that_another_hook_calls_counts_for_it(folder: Path) -> None:
    path = folder / "mod_mine.py"
    called = "return value + LEVEL + refine(view, None, out, ctx)"
    path.write_text(path.read_text().replace("return value + LEVEL", called))
    assert changed(folder, "mod_mine.py", "mod_refine.VALUE +", "-") == BOTH
    assert "mod_refine" in code(folder)


def test_an_edited_helper_is_imported_again_in_the_same_process(folder: Path) -> None:
    load_file(folder / "mod_mine.py")
    assert sys.modules["mod_helper"].VALUE == 1
    assert sys.modules["mod_deep"].VALUE == 1
    (folder / "mod_deep.py").write_text("VALUE = 5\n")
    load_file(folder / "mod_mine.py")
    assert sys.modules["mod_deep"].VALUE == 5


def test_packages_of_other_people_are_named_and_not_followed(folder: Path) -> None:
    path = folder / "mod_mine.py"
    path.write_text(f"import numpy\nimport json\n{path.read_text()}")
    method = load_file(path)
    assert method.code is not None
    closure = method.code.of("localize")
    assert closure.foreign >= {"numpy"}
    assert "json" not in closure.foreign
    assert not any(name.startswith("numpy") for name in closure.modules)
    assert set(method.code.versions(closure)) >= {"numpy"}
    assert method.code.keyed_versions(closure) == {}


def test_an_environment_below_the_folder_is_not_the_plugins_own(folder: Path) -> None:
    site = folder / "env" / "site-packages"
    (site / "mod_foreign").mkdir(parents=True)
    (site / "mod_foreign" / "__init__.py").write_text("VALUE = 1\n")
    sys.path.append(str(site))
    path = folder / "mod_mine.py"
    path.write_text(f"import mod_foreign\n{path.read_text()}")
    assert "mod_foreign" not in code(folder)


@pytest.mark.parametrize("imported", [False, True])
def test_a_config_that_the_card_names_is_code_where_code_imports_it(
    folder: Path, imported: bool
) -> None:
    path = folder / "mod_mine.py"
    line = "    import mod_config\n" if imported else ""
    text = path.read_text().replace("    from mod_late", f"{line}    from mod_late")
    card = 'version="1", defaults=Path(__file__).with_name("mod_config.py")'
    text = "from pathlib import Path\n" + text.replace('version="1"', card)
    path.write_text(text)
    (folder / "mod_config.py").write_text("localize = dict(a=1)\n")
    # Its values are in the keys one by one.
    expected = {"localize"} if imported else set()
    assert changed(folder, "mod_config.py", "a=1", "a=2") == expected


def test_a_card_whose_defaults_are_malformed_is_refused_at_once(folder: Path) -> None:
    path = folder / "mod_mine.py"
    defaults = '{"refine": {"beta": 1.0}, "test_settings": {"refine": ("betta",)}}'
    card = f'version="1", defaults={defaults}'
    path.write_text(path.read_text().replace('version="1"', card))
    with pytest.raises(PluginError, match=r"'betta', which is not a parameter.*'beta'"):
        load_file(path)


def test_the_engine_counts_for_who_trains(folder: Path) -> None:
    path = folder / "mod_mine.py"

    def engine() -> bool:
        method = load_file(path)
        assert method.code is not None
        return "wsss_bench.engine.training" in method.code.of("localize").harness

    assert not engine()
    path.write_text(path.read_text().replace("value + LEVEL", "ctx.train({})"))
    assert engine()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a = 1", "a = 1  # why\n\n", True),
        ("a = (1,\n     2)", "a = (1, 2)", True),
        ('def f():\n    "says"\n    return 1', "def f():\n    return 1", True),
        ('"""Module."""\na = 1', "a = 1", True),
        ('class A:\n    "says"\n    b = 1', "class A:\n    b = 1", True),
        ("a = 'x'", 'a = "x"', True),
        ("a = 1", "a = 1.0", False),
        ("a = 1", "a = True", False),
        ("a = None", "a = 0", False),
        ("def f(): return", "def f(): return None", False),
        ("f(1)", "f(a=1)", False),
        ("x = {**a, 'b': 1}", "x = {'b': 1, **a}", False),
        ("def f(a, *, b): ...", "def f(a, b): ...", False),
        ("a = b''", "a = ''", False),
        ('"says"\nprint(__doc__)', '"tells"\nprint(__doc__)', False),
        ("a = 'says'", "a = 'tells'", False),
        ("if a: b", "if a: b\nelse: c", False),
        ("x = [i for i in a if i]", "x = [i for i in a]", False),
        ("a = f'{b!r}'", "a = f'{b}'", False),
    ],
)
def test_what_a_digest_of_syntax_sees(one: str, other: str, same: bool) -> None:
    digests = {syntax_digest(text.encode()) for text in (one, other)}
    assert (len(digests) == 1) is same


def test_a_file_that_is_no_python_counts_by_its_bytes() -> None:
    assert syntax_digest(b"def (") != syntax_digest(b"def  (")
    assert syntax_digest(b"def (") == syntax_digest(b"def (")
