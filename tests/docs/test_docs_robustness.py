"""The page on robustness says what the tests try, no more and no less."""

from __future__ import annotations

import re

import pytest
from robustness_tables import PAGE, TABLES, found


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_what_the_tests_try(name: str) -> None:
    again = "python tests/fakes/robustness_tables.py --write"
    assert found(PAGE.read_text(), name) == TABLES[name](), (
        f"the page is behind the tests: {again}"
    )


def test_every_kind_is_a_test_of_its_own_and_none_gives_a_wrong_number() -> None:
    from bad_input_cases import CASES, tally

    text = found(PAGE.read_text(), "kinds")
    assert len(text.splitlines()) == len(CASES) + 2
    assert sum(entry.kinds for entry in tally().values()) == len(CASES)
    assert not any(entry.wrong for entry in tally().values())
    assert all(case.gave and case.expect for case in CASES)


def test_the_sections_are_there() -> None:
    heads = re.findall(r"^## (.+)$", PAGE.read_text(), re.M)
    assert {
        "Kills",
        "Bad input",
        "Damaged files",
        "Trust",
        "What a record holds",
        "Reproducing a run",
    } <= set(heads)
