"""Writes the project of a new method: what ``wsss-bench plugin new`` leaves behind is complete and passes the kit."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from wsss_bench.errors import PluginError
from wsss_bench.testing.template import files as _template_files
from wsss_bench.testing.template import methods as _template_methods

KINDS: dict[str, str] = {
    "localizer": "localize",
    "refiner": "refine",
    "segmentor": "segment",
}
"""Kinds of projects and the hook that each implements."""


def write_project(name: str, kind: str, folder: Path) -> list[Path]:
    """Write a project for method `name` into `folder` and return its files.

    Args:
        name: the method's name: a letter, then letters, digits, ``-`` or ``_``.
        kind: a key of `KINDS`.
        folder: is made; must not hold anything yet.

    Raises:
        PluginError: the name cannot be one, or the folder is in use.
    """
    package = f"wsss_{name.replace('-', '_')}"
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or keyword.iskeyword(name):
        raise PluginError(
            name,
            "plugin new",
            "this cannot be a method's name.",
            "Begin with a letter; use letters, digits, - and _.",
        )
    if folder.exists() and any(folder.iterdir()):
        raise PluginError(
            name, "plugin new", f"{folder} is not empty.", "Choose another --dir."
        )
    words = {
        "NAME": name,
        "PACKAGE": package,
        "DISTRIBUTION": package.replace("_", "-"),
        "CLASS": "".join(part.capitalize() for part in re.split("[-_]", name)),
        "KIND": kind,
        "STAGE": KINDS[kind],
        "RECIPE": {
            "localizer": f"{name}/_/_",
            "refiner": f"cam/{name}/_",
            "segmentor": f"cam/_/{name}",
        }[kind],
        "SUMMARY": _template_methods.SUMMARIES[kind],
        "RULE": _template_methods.RULES[kind],
    }
    files = {
        "pyproject.toml": _template_files.PYPROJECT,
        "README.md": _template_files.README,
        ".gitignore": _template_files.IGNORE,
        f"{package}/__init__.py": _template_files.INIT,
        f"{package}/plugin.py": _template_methods.PLUGINS[kind],
        f"{package}/README.md": _template_files.CARD,
        f"tests/test_{package}.py": _template_files.TEST
        + _template_methods.TESTS[kind],
    }
    written = []
    for relative, text in files.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(filled(text, words))
        written.append(path)
    return written


def filled(text: str, words: dict[str, str]) -> str:
    """`text` with every ``@WORD@`` replaced; raises `KeyError` for an unknown one."""
    return re.sub(r"@([A-Z]+)@", lambda match: words[match.group(1)], text)
