"""Parameter values: dotted keys, and the type that each must keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsss_bench.errors import RecipeError, did_you_mean

Params = dict[str, Any]


def has(params: Mapping[str, Any], key: str) -> bool:
    """Whether a dotted key exists."""
    node: Any = params
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True


def put(params: Params, key: str, value: Any, where: str) -> None:
    """Set a dotted key that exists to a value of the type it has; dicts merge.

    Raises:
        RecipeError: beginning with `where`; the key does not exist, or the type is wrong.
    """
    node, *rest = key.split(".")
    if node not in params:
        raise RecipeError(
            f"{where}: there is no such parameter.{did_you_mean(node, params)}"
        )
    if rest:
        if not isinstance(params[node], dict):
            raise RecipeError(
                f"{where}: {node!r} is {params[node]!r}, it has no parts."
            )
        put(params[node], ".".join(rest), value, where)
        return
    old = params[node]
    if (
        isinstance(old, dict) and isinstance(value, Mapping) and "_delete_" in value
    ):  # mmengine's word for "replace, do not merge"
        params[node] = {key: item for key, item in value.items() if key != "_delete_"}
        return
    if isinstance(old, dict) and isinstance(value, Mapping) and old:
        for inner, item in value.items():
            put(old, str(inner), item, f"{where}.{inner}")
        return
    params[node] = _typed(old, value, where)


def _typed(old: Any, value: Any, where: str) -> Any:
    """`value` in the type of the default; an int may stand for a float, a tuple for a list, None for nothing."""
    if old is None or (
        value is None and not isinstance(old, bool | int | float | list | tuple)
    ):
        return value
    if isinstance(old, bool) or isinstance(value, bool):
        fits = isinstance(old, bool) and isinstance(value, bool)
    elif isinstance(old, float):
        fits = isinstance(value, int | float)
    elif isinstance(old, list | tuple):
        fits = isinstance(value, list | tuple)
    else:
        fits = isinstance(value, type(old))
    if not fits:
        raise RecipeError(
            f"{where}: {value!r} is {_kind(value)}, {_kind(old)} like {old!r} is expected."
        )
    if isinstance(old, list | tuple):
        kinds = {_kind(item) for item in old}
        items = (
            [_typed(old[0], item, where) for item in value]
            if len(kinds) == 1
            else list(value)
        )
        return type(old)(items)
    return float(value) if isinstance(old, float) else value


def _kind(value: Any) -> str:
    kinds = (
        (bool, "True or False"),
        (int, "an integer"),
        (float, "a number"),
        (str, "a text"),
        (dict, "a dict"),
    )
    if isinstance(value, list | tuple):
        return "a list"
    return next(
        (name for kind, name in kinds if isinstance(value, kind)), type(value).__name__
    )
