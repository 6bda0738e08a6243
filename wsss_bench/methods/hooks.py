"""Calling the hooks of one plugin."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pluggy

from wsss_bench.contract import hookspecs
from wsss_bench.contract.names import STAGES
from wsss_bench.errors import PluginError, WsssError, disk_error

PROJECT = "wsss_bench"
HOOKS = ("method_card", *STAGES)
_MARK = f"{PROJECT}_impl"


def signature(hook: str) -> str:
    """The hook as an author writes it, e.g. ``localize(view, out, ctx)``."""
    return f"{hook}({', '.join(_arguments(hook))})"


def _arguments(hook: str) -> tuple[str, ...]:
    return tuple(inspect.signature(getattr(hookspecs, hook)).parameters)


class StageManager(pluggy.PluginManager):
    """A plugin manager that registers, of the plugins it is given, only the hooks in `wanted`."""

    def __init__(self, wanted: tuple[str, ...] = HOOKS) -> None:
        super().__init__(PROJECT)
        self._wanted = wanted
        self.add_hookspecs(hookspecs)

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        """Pluggy's options for one attribute, or None for attributes that are no hook or not wanted here."""
        options = super().parse_hookimpl_opts(plugin, name)  # type: ignore[arg-type]
        if options is None or (options.get("specname") or name) not in self._wanted:
            return None
        return options


def decorated(plugin: object) -> dict[str, Callable[..., Any]]:
    """Everything on `plugin` that carries `hookimpl`, by the name of the hook it stands for."""
    found: dict[str, Callable[..., Any]] = {}
    for name in dir(plugin):
        # Static first: a property of the plugin must not run because somebody lists the plugin.
        if isinstance(inspect.getattr_static(plugin, name, None), property):
            continue
        attribute = getattr(plugin, name, None)
        options = getattr(attribute, _MARK, None)
        if inspect.isroutine(attribute) and isinstance(options, Mapping):
            found[options.get("specname") or name] = attribute
    return found


def call_hook(plugin: object, hook: str, who: str, arguments: Mapping[str, Any]) -> Any:
    """Call one hook of one plugin and return what it returned.

    Errors of the harness (`WsssError`) pass through: they say already who and what. Everything else the plugin raises is
    wrapped, with the original as its cause.

    Raises:
        PluginError: the plugin does not implement the hook, raised, or returned None.
    """
    manager = StageManager((hook,))
    manager.register(plugin)
    caller = getattr(manager.hook, hook)
    if not any(
        not (impl.wrapper or impl.hookwrapper) for impl in caller.get_hookimpls()
    ):
        raise PluginError(
            who,
            hook,
            "the plugin does not implement this hook.",
            f"Add @hookimpl def {signature(hook)}.",
        )
    try:
        result = caller(**arguments)
    except WsssError:
        raise
    except Exception as error:
        if refused := disk_error(error, f"{who}: {hook}"):
            raise refused from error
        what = f"raised {type(error).__name__}: {error}"
        fix = (
            "The traceback is in the run's log."
            if hook != "method_card"
            else "A card must be cheap and must not fail."
        )
        raise PluginError(
            who, hook, what if what.endswith(".") else what + ".", fix
        ) from error
    if result is None:
        fix = (
            "End it with `return out.close()`."
            if hook in ("localize", "refine")
            else "Return the object the hook promises."
        )
        raise PluginError(who, hook, "returned None.", fix)
    return result
