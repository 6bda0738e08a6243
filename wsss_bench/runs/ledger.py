"""One small file per cell under ``<work_dir>/cells``: what was asked for, and how it ended; ``status`` reads them."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wsss_bench.errors import ArtifactError, RecipeError, did_you_mean
from wsss_bench.io.files import drop_leftovers, read_json, write_json
from wsss_bench.io.locking import locked
from wsss_bench.runs.plan import Cell, Step
from wsss_bench.runs.provenance.facts import command
from wsss_bench.runs.store.folders import DONE, RUNNING, StageSpec, Store

CELLS = "cells"
FAILED = "failed"

_NEEDED = {
    "cell": str,
    "recipe": str,
    "dataset": str,
    "seed": int,
    "profile": str,
    "started": str,
    "steps": list,
}


def note_start(work_dir: Path, cell: Cell, arguments: Sequence[str]) -> None:
    """Write the cell's steps and keys; a failure noted earlier is forgotten."""
    payload = {
        "cell": cell.id,
        "recipe": str(cell.resolved.recipe),
        "dataset": cell.dataset,
        "seed": cell.seed,
        "profile": cell.profile,
        "steps": [step_entry(step) for step in cell.steps],
        "command": command(arguments),
        # As typed, and where: `why` plans the same again. What is published keeps no path of this machine.
        "words": list(arguments),
        "folder": os.getcwd(),
        "started": _now(),
        "host": platform.node(),
        "pid": os.getpid(),
        "failure": None,
        "run_id": None,
    }
    with locked(work_dir / CELLS):
        drop_leftovers(work_dir / CELLS)
        write_json(_path(work_dir, cell.id), payload)


def step_entry(step: Step) -> dict[str, Any]:
    """Return a step as a cell's file holds it."""
    return {
        "name": step.name,
        "stage": step.stage,
        "key": step.spec.key,
        "parts": step.spec.parts,
        # `cache gc` keeps the trainings that depend on these parts.
        "training": step.training,
    }


def note_failure(
    work_dir: Path, cell: Cell, step: Step | None, error: BaseException
) -> None:
    """Add where and why the cell failed."""
    failure = {
        "step": step.name if step else "record",
        "error": str(error),
        "kind": type(error).__name__,
        "when": _now(),
    }
    _update(work_dir, cell, {"failure": failure})


def note_finished(work_dir: Path, cell: Cell, run_id: str) -> None:
    """Add the run record's name."""
    _update(work_dir, cell, {"run_id": run_id, "finished": _now()})


def read_cells(work_dir: Path) -> list[dict[str, Any]]:
    """Return all cells of a work dir, oldest first; unreadable files are left out."""
    found = []
    for path in sorted((work_dir / CELLS).glob("*.json")):
        try:
            entry = read_json(path)
        except ArtifactError:
            continue
        if _sound(entry):
            found.append(entry)
    return sorted(found, key=lambda entry: (entry["started"], entry["cell"]))


def read_cell(work_dir: Path, name: str) -> dict[str, Any]:
    """Return one cell by its id, its run's id, its recipe, or the beginning of one of the ids.

    Raises:
        RecipeError: there is none of that name, or there are several; the message lists them.
    """
    cells = read_cells(work_dir)
    # A whole name comes before what merely begins with it.
    for named in (_is_called, _is_recipe, _begins):
        found = [entry for entry in cells if named(entry, name)]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(entry["cell"] for entry in found)
            what = f"{name!r} stands for {len(found)} cells in {work_dir}"
            raise RecipeError(f"{what}. Name one of: {listed}.")
    hint = did_you_mean(name, [entry["cell"] for entry in cells])
    raise RecipeError(f"there is no cell {name!r} in {work_dir}.{hint}")


def _is_called(entry: Mapping[str, Any], name: str) -> bool:
    return name in (entry["cell"], entry.get("run_id"))


def _is_recipe(entry: Mapping[str, Any], name: str) -> bool:
    return bool(entry["recipe"] == name)


def _begins(entry: Mapping[str, Any], name: str) -> bool:
    ids = (entry["cell"], entry.get("run_id"))
    return any(one.startswith(name) for one in ids if isinstance(one, str))


def step_states(cell: Mapping[str, Any], store: Store) -> dict[str, str]:
    """Return the state of every step of a cell (as `read_cells` gives it) by the step's name."""
    states = {}
    for step in cell["steps"]:
        folder = store.folder(StageSpec(step["stage"], step["parts"]))
        states[step["name"]] = folder.state()
    failure = cell.get("failure")
    # Another cell may have finished since, or be computing now, the stage at which this one failed.
    if failure and states.get(failure["step"], "") not in (DONE, RUNNING):
        states[failure["step"]] = FAILED
    return states


def _sound(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    needed = _NEEDED.items()
    return all(isinstance(entry.get(key), kind) for key, kind in needed)


def _update(work_dir: Path, cell: Cell, changes: dict[str, Any]) -> None:
    path = _path(work_dir, cell.id)
    with locked(path.parent):
        write_json(path, {**read_json(path), **changes})


def _path(work_dir: Path, cell_id: str) -> Path:
    return work_dir / CELLS / f"{cell_id}.json"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
