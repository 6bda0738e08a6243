"""Every input of ``docs/robustness.md``'s field table is fed to the harness, one test each."""

from __future__ import annotations

from pathlib import Path

import pytest
from field_case import FieldCase, field_cases

CASES = field_cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_field_case(case: FieldCase, tmp_path: Path) -> None:
    case.check(tmp_path)


def test_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def test_half_of_them_were_found_in_what_others_write() -> None:
    assert len(CASES) >= 60
    assert sum(bool(case.reader) for case in CASES) >= len(CASES) / 2
