"""Every input of ``docs/robustness.md``'s field table is fed to the harness, one test each."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from field_case import FieldCase

FAKES = Path(__file__).resolve().parents[1] / "fakes"


def field_cases() -> list[FieldCase]:
    found: list[FieldCase] = []
    for path in sorted(FAKES.glob("field_*.py")):
        if path.stem != "field_case":
            found += import_module(path.stem).CASES
    return found


CASES = field_cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_field_case(case: FieldCase, tmp_path: Path) -> None:
    case.check(tmp_path)


def test_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
