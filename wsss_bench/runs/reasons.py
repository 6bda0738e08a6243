"""Why stages that are planned will be computed, although something like them is finished."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wsss_bench.io.files import canonical
from wsss_bench.runs.ledger import step_entry
from wsss_bench.runs.store.explain import explain
from wsss_bench.runs.store.folders import DONE

if TYPE_CHECKING:
    from wsss_bench.runs.plan import Cell, Step
    from wsss_bench.runs.store.folders import Store

SHOWN = 3
"""Differences named in a line of the plan; ``wsss-bench why`` names all."""

_FOLLOWS = "inputs."
_NEW = "nothing like it was finished"


def explain_cell(cell: Cell, store: Store) -> list[dict[str, Any]]:
    """Return what `wsss_bench.runs.store.explain.explain` says of a cell as it is planned now."""
    return explain(list(map(_as_kept, cell.steps)), store)


def _as_kept(step: Step) -> dict[str, Any]:
    """Return a step as it comes back from a file, where tuples are lists: else they would count as a difference."""
    entry: dict[str, Any] = json.loads(canonical(step_entry(step)))
    return entry


def reasons(cells: Sequence[Cell], store: Store) -> dict[str, str]:
    """Return one line by stage key, for stages that something finished is like.

    A stage that is new, or that differs only because one before it does, has none.
    """
    found: dict[str, str] = {}
    seen: set[str] = set()
    for cell in cells:
        steps = [step for step in cell.steps if step.spec.key not in seen]
        seen.update(step.spec.key for step in steps)
        told = explain(list(map(_as_kept, steps)), store)
        for step, entry in zip(steps, told, strict=True):
            line = _line(entry)
            if line:
                found[step.spec.key] = line
    return found


def _line(entry: Mapping[str, Any]) -> str:
    if entry["state"] == DONE:
        return ""
    changes = [one for one in entry["changes"] if not one.startswith((_FOLLOWS, _NEW))]
    line = "; ".join(changes[:SHOWN])
    if len(changes) > SHOWN:
        line += f"; and {len(changes) - SHOWN} more"
    return line
