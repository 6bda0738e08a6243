"""The tables of ``docs/robustness.md``, made from the tests that run them.

``python tests/fakes/robustness_tables.py --write`` writes them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
# What the tables tell lies beside this file and with the tests of the readers.
sys.path[:0] = [str(TESTS / "fakes"), str(TESTS / "exchange")]

PAGE = TESTS.parent / "docs" / "robustness.md"


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| "
        + " | ".join(
            str(cell).replace("|", "\\|").replace("<", "&lt;") for cell in line
        )
        + " |"
        for line in lines
    )


def summary() -> str:
    from bad_input_cases import tally

    rows = [
        [group, t.kinds, t.commands, t.refused, t.taken, t.wrong]
        for group, t in tally().items()
    ]
    total = [
        "**all**",
        *(sum(int(row[column]) for row in rows) for column in range(1, 6)),
    ]
    return table(
        (
            "what",
            "kinds",
            "commands",
            "refused",
            "taken as documented",
            "wrong numbers",
        ),
        [*rows, total],
    )


def kinds() -> str:
    from bad_input_cases import CASES

    return table(
        ("what", "kind", "fed to", "gave"),
        ([c.group, c.kind, ", ".join(c.expect), c.gave] for c in CASES),
    )


def fuzz() -> str:
    from test_fuzz_readers import READERS, ROUNDS

    gave = {
        True: "refused, or the very value that was written",
        False: "refused, or a value that keeps the format's rules",
    }
    return table(
        ("reader", "damaged files", "gave"),
        ([name, ROUNDS + 3, gave[r.exact]] for name, r in READERS.items()),
    )


def field() -> str:
    from field_case import field_cases

    return table(
        ("what", "tried", "gives", "form read in"),
        ([c.kind, c.tried, c.gives, c.reader or "-"] for c in field_cases()),
    )


def edits() -> str:
    from stale_driver import EDITED

    return table(("edited in place", "computed anew"), EDITED)


TABLES = {
    "summary": summary,
    "kinds": kinds,
    "field": field,
    "edits": edits,
    "fuzz": fuzz,
}


def parts(text: str, name: str) -> tuple[str, str, str]:
    """What stands before, in and after the marks of a table."""
    match = re.fullmatch(
        rf"(.*<!-- {name}: [^\n]*-->\n)(.*)(\n<!-- end of {name} -->.*)", text, re.S
    )
    assert match is not None, f"the marks of table {name} are gone"
    return match[1], match[2], match[3]


def found(text: str, name: str) -> str:
    """The table on the page."""
    return parts(text, name)[1]


if __name__ == "__main__":
    text = PAGE.read_text()
    for name, make in TABLES.items():
        before, _, after = parts(text, name)
        text = before + make() + after
    if "--write" in sys.argv:
        PAGE.write_text(text)
    else:
        print(text)
