"""Parameter values: dotted keys, and the type that each must keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsss_bench.errors import RecipeError, did_you_mean

Params = dict[str, Any]

DELETE = "_delete_"


def has(
    params: Mapping[str, Any],
    key: str,
) -> bool:
    """Return whether a dotted key exists."""
    node: Any = params
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True


def put(
    params: Params,
    key: str,
    value: Any,
    where: str,
) -> None:
    """Set a dotted key that exists to a value of the type it has; dicts merge.

    Raises:
        RecipeError: beginning with `where`; the key does not exist, or the type is wrong.
    """
    node, *rest = key.split(".")
    if node not in params:
        hint = did_you_mean(node, params)
        raise RecipeError(f"{where}: there is no such parameter.{hint}")
    old = params[node]
    if rest:
        if not isinstance(old, dict):
            what = f"{node!r} is {old!r}, it has no parts."
            raise RecipeError(f"{where}: {what}")
        put(old, ".".join(rest), value, where)
    elif isinstance(old, dict) and isinstance(value, Mapping):
        params[node] = _merged(old, value, where)
    else:
        params[node] = _typed(old, value, where)


def _merged(
    old: Params,
    value: Mapping[str, Any],
    where: str,
) -> Params:
    """Return `old` with the values of a dict; mmengine's ``_delete_`` in it means "replace, do not merge"."""
    if DELETE in value:
        kept = dict(value)
        del kept[DELETE]
        return kept
    # A default without keys says nothing of which keys there may be, such as options of any backbone.
    if not old:
        own: Params = _typed(old, value, where)
        return own
    for inner, item in value.items():
        put(old, str(inner), item, f"{where}.{inner}")
    return old


def _typed(
    old: Any,
    value: Any,
    where: str,
) -> Any:
    """Return `value` in the type of the default.

    An int may stand for a float, a tuple for a list, None for a text or a dict.
    """
    # A default of None tells no type.
    if old is None:
        return value
    if value is None and not isinstance(old, bool | int | float | list | tuple):
        return value
    if not _fits(old, value):
        what = f"{value!r} is {_kind(value)}"
        expected = f"{_kind(old)} like {old!r} is expected."
        raise RecipeError(f"{where}: {what}, {expected}")
    if isinstance(old, list | tuple):
        return type(old)(_items(old, value, where))
    return float(value) if isinstance(old, float) else value


def _fits(old: Any, value: Any) -> bool:
    # First, for in Python True is an integer too.
    if isinstance(old, bool) or isinstance(value, bool):
        return isinstance(old, bool) and isinstance(value, bool)
    if isinstance(old, float):
        return isinstance(value, int | float)
    if isinstance(old, list | tuple):
        return isinstance(value, list | tuple)
    return isinstance(value, type(old))


def _items(
    old: list[Any] | tuple[Any, ...],
    value: list[Any] | tuple[Any, ...],
    where: str,
) -> list[Any]:
    kinds = {_kind(item) for item in old}
    # Only where all items of the default are of one kind do they tell what others must be.
    if len(kinds) != 1:
        return list(value)
    return [_typed(old[0], item, where) for item in value]


KINDS = {
    bool: "True or False",
    int: "an integer",
    float: "a number",
    str: "a text",
    dict: "a dict",
    list: "a list",
    tuple: "a list",
}
"""What messages call a value of a type; the first that fits."""


def _kind(value: Any) -> str:
    for kind, name in KINDS.items():
        if isinstance(value, kind):
            return name
    return type(value).__name__
