"""What a record says of data, code, parameters and scores, gathered from the steps of a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wsss_bench.runs.provenance.facts import portable
from wsss_bench.runs.provenance.places import contents
from wsss_bench.runs.scoring import notes_of

if TYPE_CHECKING:
    from wsss_bench.runs.pipeline import Finished
    from wsss_bench.runs.plan import Cell
    from wsss_bench.runs.source import Source

DIGITS = 16
"""How much of a module's digest a record holds."""


def modules_of(cell: Cell) -> dict[str, str]:
    """Return short digests of all modules that the steps rest on, as far as that was known before they ran."""
    found: dict[str, str] = {}
    for step in cell.steps:
        found |= step.closure.harness
    for method in cell.resolved.methods.values():
        # All of a plugin's file, of which each stage's key holds its own hook.
        if method.code is not None:
            found |= method.code.of().own
    return {name: digest[:DIGITS] for name, digest in sorted(found.items())}


def notes_of_run(finished: Finished) -> tuple[str, ...]:
    """Return the sentences that scoring left, each once."""
    found: list[str] = []
    for name, stage in finished.folders.items():
        if name.startswith("score"):
            found += notes_of(stage.out)
    return tuple(dict.fromkeys(found))


def foreign_versions(cell: Cell) -> dict[str, str]:
    """Return the versions of other people's distributions that the methods import."""
    found: dict[str, str] = {}
    for method in cell.resolved.methods.values():
        if method.code is not None:
            found |= method.code.versions(method.code.of())
    return found


def inputs_of(cell: Cell, source: Source) -> dict[str, str]:
    """Return the digests of all data, and of files and folders given as parameters."""
    found = dict(source.inputs)
    for stage, params in cell.resolved.params.items():
        for name, digest in contents(params.resolved).items():
            found[f"{stage}.{name}"] = digest
    return found


def overridden(cell: Cell) -> dict[str, dict[str, Any]]:
    """Return what the profile replaced of the methods' own defaults, by stage and parameter."""
    found = {}
    for stage, params in cell.resolved.params.items():
        replaced = params.overridden
        if replaced:
            pairs = {name: list(pair) for name, pair in replaced.items()}
            found[stage] = portable(pairs)
    return found
