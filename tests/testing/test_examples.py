"""What the next methods need, each as a plugin of at most 40 lines; the kit kills and resumes every one of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wsss_bench.methods.catalog import Catalog
from wsss_bench.testing import check_method
from wsss_bench.testing.report import PASS

EXAMPLES = Path(__file__).with_name("examples")
PLUGINS = sorted(path for path in EXAMPLES.glob("*.py") if "_" not in path.stem)
LINES = 40

CHECKED: list[tuple[str, dict[str, Any]]] = [
    *((path.stem, {}) for path in PLUGINS),
    ("mixed", {"localize": {"mixer": "fmix"}}),
    ("mixed", {"localize": {"mixer": "manifold"}}),
]


@pytest.fixture(autouse=True)
def importable() -> Iterator[None]:
    """Forget the examples' modules, whose names are short, after each test."""
    before = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = before[1]
    for name in set(sys.modules) - before[0]:
        if (EXAMPLES / f"{name}.py").is_file():
            del sys.modules[name]


def code_lines(path: Path) -> int:
    """How many lines are not blank."""
    return sum(bool(line.strip()) for line in path.read_text().splitlines())


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_an_example_is_short_and_loads(path: Path) -> None:
    parts = [path, *EXAMPLES.glob(f"{path.stem}_*.py")]
    assert sum(code_lines(part) for part in parts) <= LINES
    assert Catalog(local=[path]).load(path.stem).card.name == path.stem


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "params"), CHECKED, ids=lambda value: str(value).replace(" ", "")
)
def test_an_example_keeps_the_contract_killed_and_resumed(
    name: str, params: dict[str, Any]
) -> None:
    report = check_method(EXAMPLES / f"{name}.py", params=params)
    report.require()
    resumed = [check for check in report.checks if check.name == "resumes"]
    assert resumed
    assert all(check.status == PASS for check in resumed)
