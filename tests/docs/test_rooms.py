"""Every package says in one sentence what lives there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(
    path
    for folder in ("wsss_bench", "plugins")
    for path in (ROOT / folder).rglob("__init__.py")
)


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.parent.name)
def test_a_package_says_what_lives_there(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    first = text.partition("\n\n")[0]
    assert first.endswith("."), f"{path.parent.name} begins with {first!r}"
