"""Writes the project of a new method: what ``wsss-bench plugin new`` leaves behind is complete and passes the kit.

The template is made of real files beside this module, which are linted as what they are. ``@WORD@`` is filled in;
Python files use ``Template`` and ``wsss_template`` where a name must be valid Python.
"""

from __future__ import annotations

import keyword
import re
import sys
from importlib import metadata
from pathlib import Path

from wsss_bench.errors import PluginError

KINDS: dict[str, str] = {
    "localizer": "localize",
    "refiner": "refine",
    "segmentor": "segment",
}
"""Kinds of projects and the hook that each implements."""

RECIPES = {
    "localizer": "@NAME@/_/_",
    "refiner": "cam/@NAME@/_",
    "segmentor": "cam/_/@NAME@",
}
"""The recipe with which a project's README compares its method."""

HERE = Path(__file__).resolve().parent
COMMON = HERE / "project_files"


def write_project(name: str, kind: str, folder: Path) -> list[Path]:
    """Write a project for method `name` into `folder` and return its files.

    Args:
        name: the method's name: a letter, then letters, digits, ``-`` or ``_``.
        kind: a key of `KINDS`.
        folder: is made; must not hold anything yet.

    Raises:
        PluginError: the name cannot be one, or the folder is in use.
    """
    _check(name, folder)
    words = _words(name, kind)
    written = []
    for relative, source in _files(kind, words["PACKAGE"]).items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(filled(source, words))
        written.append(path)
    return written


def _check(name: str, folder: Path) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or keyword.iskeyword(name):
        what = "this cannot be a method's name."
        fix = "Begin with a letter; use letters, digits, - and _."
        raise PluginError(name, "plugin new", what, fix)
    _check_free(name)
    if folder.exists() and any(folder.iterdir()):
        what = f"{folder} is not empty."
        raise PluginError(name, "plugin new", what, "Choose another --dir.")


def _check_free(name: str) -> None:
    """Refuse a name by which something installed would no longer be found."""
    from wsss_bench.methods.catalog import GROUP

    # Of all that are installed, whatever the environment hides. Names that differ in capitals or dashes alone would be
    # taken for each other.
    for point in metadata.entry_points(group=GROUP):
        if _plain(point.name) == _plain(name):
            owner = point.dist.name if point.dist else "something installed"
            what = f"{owner} brings a method {point.name!r} already, and of two neither could be used."
            raise PluginError(name, "plugin new", what, "Choose another name.")
    package = package_of(name)
    # The finders are asked, for `find_spec` also knows what has only been loaded.
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
    if any(finder.find_spec(package, None) for finder in finders):
        what = f"its package would be called {package!r}, which is installed already."
        raise PluginError(name, "plugin new", what, "Choose another name.")


def _plain(name: str) -> str:
    return re.sub("[-_]", "", name).lower()


def package_of(name: str) -> str:
    """Return what the package of a new method is called."""
    return f"wsss_{name.replace('-', '_')}"


def _words(name: str, kind: str) -> dict[str, str]:
    """Return what stands for each ``@WORD@``."""
    package = package_of(name)
    plugin = (HERE / kind / "plugin.py").read_text()
    # The first line of the plugin says what it does; the README repeats it.
    summary = plugin.partition('"""@NAME@: ')[2].partition('"""')[0]
    return {
        "NAME": name,
        "PACKAGE": package,
        "DISTRIBUTION": package.replace("_", "-"),
        "CLASS": "".join(part.capitalize() for part in re.split("[-_]", name)),
        "KIND": kind,
        "STAGE": KINDS[kind],
        "RECIPE": RECIPES[kind].replace("@NAME@", name),
        "SUMMARY": summary,
        "RULE": (HERE / kind / "rule.md").read_text().rstrip(),
    }


def _files(kind: str, package: str) -> dict[str, str]:
    """Return the texts of all files, not filled in yet, by their path in the project."""
    own = HERE / kind
    return {
        "pyproject.toml": (COMMON / "pyproject.toml").read_text(),
        "README.md": (COMMON / "README.md").read_text(),
        # Under its real name it would hide files of this repository from git.
        ".gitignore": (COMMON / "gitignore").read_text(),
        f"{package}/__init__.py": '"""@NAME@: a @KIND@ for wsss-bench."""\n',
        f"{package}/plugin.py": (own / "plugin.py").read_text(),
        f"{package}/README.md": (COMMON / "CARD.md").read_text(),
        f"tests/test_{package}.py": (own / "test_plugin.py").read_text(),
    }


def filled(text: str, words: dict[str, str]) -> str:
    """Return `text` with every placeholder replaced; raises `KeyError` for an unknown ``@WORD@``."""
    text = re.sub(r"\bTemplate\b", words["CLASS"], text)
    text = re.sub(r"\bwsss_template\b", words["PACKAGE"], text)
    return re.sub(r"@([A-Z]+)@", lambda match: words[match.group(1)], text)
