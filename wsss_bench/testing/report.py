"""What the conformance kit found: one line per check and stage, as a table and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

PASS, FAIL, SKIP, WARN = "pass", "fail", "skip", "warn"
_WORDS = {PASS: "passed", FAIL: "failed", SKIP: "skipped", WARN: "warned of"}

CHECKS: dict[str, str] = {
    "loads": "can be imported; its hooks are decorated and take arguments that the hooks have",
    "card": "has a complete method card, and the card's stages are those it implements",
    "runs": "every stage runs to its end and returns what its hook promises",
    "outputs": "one output per image, finite, of the right shape, size and type, with allowed classes only",
    "inputs": "images, view, seeds and labels are as they were",
    "repeatable": "the same seed gives the same bytes, in another process and another folder",
    "resumes": "killed in the middle and run again, it ends with the same bytes",
    "sealed masks": "opens no mask, and gives the same bytes where there are none",
    "no GPU": "works where no accelerator is visible",
    "baseline": "beats a trivial answer",
    "classes": "labels and predictions hold more than one class (else a warning)",
    "visible": "its code tells what its results rest on, so that a change is seen (else a warning)",
}
"""Every check and what passing it says, in the order of the report."""


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: a key of `CHECKS`.
        stage: the hook it is about (``refine.2``: of the second round), or "" for the plugin as a whole.
        status: `PASS`, `FAIL`, `SKIP`, or `WARN` for what an author should look at and may mean.
        message: for a failure or a warning, who, where, what and what to do; for a skip, why.
    """

    name: str
    stage: str
    status: str
    message: str = ""


@dataclass(frozen=True)
class Report:
    """All findings about one method."""

    method: str
    who: str
    checks: tuple[Check, ...]
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing failed (and something was checked)."""
        return bool(self.checks) and not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return self.of(FAIL)

    def of(self, status: str) -> tuple[Check, ...]:
        """Return the checks of one status."""
        return tuple(check for check in self.checks if check.status == status)

    def named(self, name: str) -> tuple[Check, ...]:
        """Return the checks of one name, over all stages."""
        return tuple(check for check in self.checks if check.name == name)

    def table(self, width: int = 118) -> str:
        """Return the report as text: a line per check and stage, failures spelled out below their line."""
        names = max(map(len, CHECKS))
        headings = ["stage", *(check.stage for check in self.checks)]
        stages = max(map(len, headings))
        row = f"{{:<{names}}}  {{:<{stages}}}  {{}}"
        lines = [self.who, row.format("check", "stage", "status")]
        for check in self.checks:
            status = check.status.upper()
            lines.append(row.format(check.name, check.stage, status))
            lines += _wrapped(check.message, width)
        return "\n".join([*lines, self._summary()])

    def _summary(self) -> str:
        counted = Counter(check.status for check in self.checks)
        parts = [f"{counted[status]} {word}" for status, word in _WORDS.items()]
        if not counted[WARN]:
            parts.pop()
        return f"{', '.join(parts)} in {self.seconds:.0f} s"

    def to_json(self) -> str:
        """Return the report as JSON: ``method, who, ok, seconds, checks``; a check has the fields of `Check`."""
        content = {
            "method": self.method,
            "who": self.who,
            "ok": self.ok,
            "seconds": round(self.seconds, 1),
            "checks": [asdict(check) for check in self.checks],
        }
        return json.dumps(content, indent=1)

    def require(self) -> Report:
        """Return the report; raises `AssertionError` with the table if a check failed."""
        if not self.ok:
            # pytest shows an assertion's message as it is, lines and all.
            count = len(self.failures)
            what = f"{self.method} fails {count} checks."
            raise AssertionError(f"{what}\n{self.table()}")
        return self


def _wrapped(message: str, width: int) -> Sequence[str]:
    lines: list[str] = []
    for line in message.splitlines():
        lines += textwrap.wrap(
            line,
            width,
            initial_indent="    ",
            subsequent_indent="    ",
            # A path that is cut in two can be neither read nor copied.
            break_long_words=False,
        )
    return lines
