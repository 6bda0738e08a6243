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

Json = Mapping[str, Any]
"""An object out of a JSON file."""


def explain(steps: Sequence[Json], store: Store) -> list[dict[str, Any]]:
    """Return for every step its state and, unless it is done, how its key differs from the most similar finished one.

    Args:
        steps: ``name``, ``stage``, ``parts`` and ``training`` of each step, as the cell's file holds them.
        store: where finished stages are.
    """
    found = []
    for step in steps:
        spec = StageSpec(step["stage"], step["parts"])
        state = store.folder(spec).state()
        changes = []
        if state != DONE:
            changes = _changes(step, store) + _kept(step, store)
        entry = {"step": step["name"], "state": state, "changes": changes}
        found.append(entry)
    return found


def kept_trainings(parts: Json | None, store: Store) -> dict[str, str]:
    """Return the names of the trainings that depend on `parts` and are in the store, with the state of each."""
    if parts is None:
        return {}
    found = {}
    for name in _training_names(store):
        folder = store.folder(training_spec(parts, name))
        state = folder.state()
        if state != TODO:
            found[name] = state
    return found


def referenced(steps: Iterable[Json], store: Store) -> set[str]:
    """Return the keys that steps (as a cell's file holds them) refer to: their own, and their kept trainings'."""
    keys: set[str] = set()
    names = _training_names(store)
    for step in steps:
        keys.add(step["key"])
        parts = step.get("training")
        if parts is None:
            continue
        for name in names:
            keys.add(training_spec(parts, name).key)
    return keys


def _training_names(store: Store) -> list[str]:
    """Return what the trainings in the store are called."""
    names = set()
    # The names are the plugins' own affair, so they are read from what is there.
    for path in (store.root / TRAINING).glob(f"*/{SPEC}"):
        names.add(str(_parts(path).get("name")))
    return sorted(names)


def _kept(step: Json, store: Store) -> list[str]:
    """Say which trainings need not be repeated although the step is computed anew."""
    found = []
    states = kept_trainings(step.get("training"), store)
    for name, state in states.items():
        if state == DONE:
            found.append(f"training {name!r} is finished and is used again.")
    return found


def _changes(step: Json, store: Store) -> list[str]:
    """Return the shortest list of differences to a committed stage of the same kind and method."""
    parts = step["parts"]
    candidates = []
    for finished in _finished(step["stage"], store):
        # Between two methods everything differs, which explains nothing.
        if _method(finished) == _method(parts):
            candidates.append(changes(finished, parts))
    if not candidates:
        return [f"nothing like it was finished in {store.root.name}."]
    # The list itself settles ties, so that the answer does not depend on the order of folders.
    return min(candidates, key=lambda changes: (len(changes), changes))


def _finished(stage: str, store: Store) -> Iterator[Json]:
    folder = store.root / stage
    for path in sorted(folder.glob(f"*/{COMMIT}")):
        parts = _parts(path.with_name(SPEC))
        if parts:
            yield parts


def _parts(spec: Path) -> Json:
    """Return the parts in a spec file, nothing for one that cannot be read: it explains nothing."""
    try:
        parts = read_json(spec)["parts"]
    except (ArtifactError, KeyError, TypeError):
        return {}
    return parts if isinstance(parts, dict) else {}


def _method(parts: Json) -> Any:
    return parts.get("method", {}).get("name")


def changes(old: Json, new: Json) -> list[str]:
    """Return what differs between the parts of two keys, with the modules whose code has changed by name."""
    before, after = dict(old), dict(new)
    found = []
    for name, kind in (("code", "code"), ("late", "what it loads while it runs")):
        then, now = _modules(before.pop(name, {})), _modules(after.pop(name, {}))
        found += [f"{kind}: {line}" for line in module_changes(then, now)]
    return differences(before, after) + found


def _modules(code: Json) -> dict[str, Any]:
    """Return digests by module, and versions by distribution, out of one part of a key."""
    found: dict[str, Any] = {}
    for name, value in code.items():
        if isinstance(value, Mapping):
            found |= value
        else:
            found[name] = value
    return found


def module_changes(then: Json, now: Json) -> list[str]:
    """Return a line for every module that has changed, came or went."""
    found = []
    for name in sorted({*then, *now}):
        if name not in then:
            found.append(f"{name} is new")
        elif name not in now:
            found.append(f"{name} is gone")
        elif then[name] != now[name]:
            found.append(f"{name} has changed")
    return found


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Return every leaf that differs between two JSON values, as ``path: old -> new``; digests are shortened."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return [] if old == new else [f"{where}: {_short(old)} -> {_short(new)}"]
    found = []
    for key in sorted({*old, *new}):
        inner = f"{where}.{key}" if where else key
        before, after = old.get(key), new.get(key)
        found += differences(before, after, inner)
    return found


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    digest = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:12] + "…" if digest else text
