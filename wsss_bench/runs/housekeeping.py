"""The store of a work dir as a list: what is there, what no cell refers to any more, what is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wsss_bench.runs.ledger import read_cells
from wsss_bench.runs.request import store_of
from wsss_bench.runs.store.explain import referenced
from wsss_bench.runs.store.folders import DONE, UNFINISHED, StageFolder, Store


@dataclass(frozen=True)
class Entry:
    """One stage folder.

    Attributes:
        stage, folder: its place below the store.
        method: whose it is; ``-`` for the harness's own stages.
        state: ``done``, ``running`` or ``unfinished``.
        mb: its size in MiB.
        action: what was done to it, where anything was.
        problem: what is wrong with it, where anything is.
    """

    stage: str
    folder: str
    method: str
    state: str
    mb: float
    action: str | None = None
    problem: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the facts there are; no key for an action that was not taken or a problem that is none."""
        facts = vars(self).items()
        return {key: value for key, value in facts if value is not None}


def list_stages(work_dir: Path) -> list[Entry]:
    """Return every stage folder."""
    store = store_of(work_dir)
    return [_entry(store.read(path)) for path in store.folders()]


def collect_garbage(
    work_dir: Path, *, dry: bool = False, unfinished: bool = False
) -> list[Entry]:
    """Delete the stages that no cell refers to, and return them; what a process works on is kept.

    Args:
        work_dir: whose cells and store.
        dry: delete nothing, and say what would be.
        unfinished: delete also what is unfinished.
    """
    store = store_of(work_dir)
    steps = [step for cell in read_cells(work_dir) for step in cell["steps"]]
    wanted = referenced(steps, store)
    found = []
    for path in store.folders():
        folder = store.read(path)
        entry = _entry(folder)
        # What a process works on is left alone, whether a cell wants it or not.
        at_rest = entry.state in (DONE, UNFINISHED)
        stale = at_rest and folder.spec.key not in wanted
        if stale or (unfinished and entry.state == UNFINISHED):
            removed = dry or folder.remove()
            found.append(replace(entry, action=_action(dry, removed)))
        elif entry.state == DONE and folder.scratch.exists() and not dry:
            # A process was killed between the commit and the cleaning.
            folder.clean()
    return found + list(_nameless(store, dry))


def _nameless(store: Store, dry: bool) -> Iterator[Entry]:
    for path in store.nameless():
        # Without its spec nobody can say what it was, so no cell can refer to it.
        removed = dry or store.remove_nameless(path)
        yield Entry(
            stage=path.parent.name,
            folder=path.name,
            method="-",
            state=UNFINISHED,
            mb=_mb(path),
            action=_action(dry, removed),
        )


def _action(dry: bool, removed: bool) -> str:
    if dry:
        return "would be deleted"
    return "deleted" if removed else "in use, kept"


def verify_stages(work_dir: Path) -> list[Entry]:
    """Hash every file of every finished stage again and return the stages, damaged ones with their problems."""
    store = store_of(work_dir)
    found = []
    for path in store.folders():
        folder = store.read(path)
        entry = _entry(folder)
        if entry.state == DONE:
            problems = " ".join(folder.problems())
            found.append(replace(entry, problem=problems or None))
    return found


def _entry(folder: StageFolder) -> Entry:
    spec = folder.spec
    method = spec.parts.get("method", {})
    return Entry(
        stage=spec.stage,
        folder=folder.path.name,
        method=method.get("name", "-"),
        state=folder.state(),
        mb=_mb(folder.path),
    )


def _mb(path: Path) -> float:
    size = 0
    for found in path.rglob("*"):
        if found.is_file():
            size += found.stat().st_size
    return round(size / 2**20, 2)
