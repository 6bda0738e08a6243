"""Why a stage is computed anew: what in its key differs from the nearest stage that is finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import read_json
from wsss_bench.runs.store.folders import COMMIT, DONE, SPEC, StageSpec, Store


def explain(steps: Sequence[Mapping[str, Any]], store: Store) -> list[dict[str, Any]]:
    """For every step its state and, unless it is done, how its key differs from the most similar committed stage.

    Args:
        steps: ``name``, ``stage``, ``parts`` of each step, as the cell's file holds them.
        store: where finished stages are.
    """
    found = []
    for step in steps:
        state = store.folder(StageSpec(step["stage"], step["parts"])).state()
        changes = [] if state == DONE else _changes(step, store)
        found.append({"step": step["name"], "state": state, "changes": changes})
    return found


def _changes(step: Mapping[str, Any], store: Store) -> list[str]:
    """The shortest list of differences to a committed stage of the same kind and method."""
    candidates = []
    for path in sorted((store.root / step["stage"]).glob(f"*/{COMMIT}")):
        try:
            parts = read_json(path.parent / SPEC)["parts"]
        except (ArtifactError, KeyError):
            continue
        if _method(parts) == _method(step["parts"]):
            candidates.append(differences(parts, step["parts"]))
    if not candidates:
        return [f"nothing like it was finished in {store.root.name}."]
    return min(candidates, key=lambda changes: (len(changes), changes))


def _method(parts: Mapping[str, Any]) -> Any:
    return parts.get("method", {}).get("name")


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Every leaf that differs between two JSON values, as ``path: old -> new``; digests are shortened."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = sorted({*old, *new})
        return [
            line
            for key in keys
            for line in differences(
                old.get(key), new.get(key), f"{where}.{key}" if where else key
            )
        ]
    return [] if old == new else [f"{where}: {_short(old)} -> {_short(new)}"]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return (
        text[:12] + "…"
        if len(text) == 64 and set(text) <= set("0123456789abcdef")
        else text
    )
