"""Why a stage is computed anew: what in its key differs from the nearest stage that is finished."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import read_json
from wsss_bench.runs.store.folders import (
    COMMIT,
    DONE,
    SPEC,
    TODO,
    TRAINING,
    StageSpec,
    Store,
    training_spec,
)


def explain(steps: Sequence[Mapping[str, Any]], store: Store) -> list[dict[str, Any]]:
    """Return for every step its state and, unless it is done, how its key differs from the most similar committed stage.

    Args:
        steps: ``name``, ``stage``, ``parts`` and ``training`` of each step, as the cell's file holds them.
        store: where finished stages are.
    """
    found = []
    for step in steps:
        state = store.folder(StageSpec(step["stage"], step["parts"])).state()
        changes = [] if state == DONE else [*_changes(step, store), *_kept(step, store)]
        found.append({"step": step["name"], "state": state, "changes": changes})
    return found


def kept_trainings(parts: Mapping[str, Any] | None, store: Store) -> dict[str, str]:
    """Return the names of the trainings that depend on `parts` and are in the store, with the state of each."""
    if parts is None:
        return {}
    found = {}
    for name in _training_names(store):
        state = store.folder(training_spec(parts, name)).state()
        if state != TODO:
            found[name] = state
    return found


def referenced(steps: Iterable[Mapping[str, Any]], store: Store) -> set[str]:
    """Return the keys that steps (as a cell's file holds them) refer to: their own, and those of their kept trainings."""
    keys: set[str] = set()
    names = _training_names(store)
    for step in steps:
        keys.add(step["key"])
        parts = step.get("training")
        if parts is not None:
            keys.update(training_spec(parts, name).key for name in names)
    return keys


def _training_names(store: Store) -> list[str]:
    """Return what the trainings in the store are called; the names are the plugins' own affair, so nobody lists them."""
    specs = (store.root / TRAINING).glob(f"*/{SPEC}")
    return sorted({str(_parts(path).get("name")) for path in specs})


def _kept(step: Mapping[str, Any], store: Store) -> list[str]:
    """Say which trainings need not be repeated although the step is computed anew."""
    states = kept_trainings(step.get("training"), store)
    names = [name for name, state in states.items() if state == DONE]
    return [f"training {name!r} is finished and is used again." for name in names]


def _changes(step: Mapping[str, Any], store: Store) -> list[str]:
    """Return the shortest list of differences to a committed stage of the same kind and method."""
    method = _method(step["parts"])
    finished = [p for p in _finished(step["stage"], store) if _method(p) == method]
    candidates = [differences(parts, step["parts"]) for parts in finished]
    if not candidates:
        return [f"nothing like it was finished in {store.root.name}."]
    return min(candidates, key=lambda changes: (len(changes), changes))


def _finished(stage: str, store: Store) -> Iterator[dict[str, Any]]:
    for path in sorted((store.root / stage).glob(f"*/{COMMIT}")):
        if parts := _parts(path.with_name(SPEC)):
            yield parts


def _parts(spec: Path) -> dict[str, Any]:
    """Return the parts in a spec file, nothing for one that cannot be read: it explains nothing."""
    try:
        parts = read_json(spec)["parts"]
    except (ArtifactError, KeyError, TypeError):
        return {}
    return parts if isinstance(parts, dict) else {}


def _method(parts: Mapping[str, Any]) -> Any:
    return parts.get("method", {}).get("name")


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Return every leaf that differs between two JSON values, as ``path: old -> new``; digests are shortened."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return [] if old == new else [f"{where}: {_short(old)} -> {_short(new)}"]
    found = []
    for key in sorted({*old, *new}):
        inner = f"{where}.{key}" if where else key
        found += differences(old.get(key), new.get(key), inner)
    return found


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    digest = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:12] + "…" if digest else text
