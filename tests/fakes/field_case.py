"""`FieldCase`: one input of the kind that this field's repositories write, and what the harness makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path


@dataclass(frozen=True)
class FieldCase:
    """One row of the table in ``docs/robustness.md``, and the test that keeps it true.

    Attributes:
        kind: the kind of input: ``lists``, ``labels``, ``scores``, …
        tried: what the input is, in a few words.
        gives: what the harness makes of it, in a few words.
        check: called as ``check(tmp_path)``; makes the input there, feeds it to the product, asserts the outcome.
        reader: the public repository whose reader or writer has this form, where one was read for it.
    """

    kind: str
    tried: str
    gives: str
    check: Callable[[Path], None]
    reader: str = ""

    @property
    def name(self) -> str:
        """What a test report calls it."""
        return f"{self.kind}: {self.tried}"


def field_cases() -> list[FieldCase]:
    """Return the cases of all modules ``field_*.py``, those of one kind together."""
    found: list[FieldCase] = []
    for path in sorted(Path(__file__).parent.glob("field_*.py")):
        if path.stem != Path(__file__).stem:
            found += import_module(path.stem).CASES
    return sorted(found, key=lambda case: case.kind)
