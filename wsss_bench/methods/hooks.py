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
    """Return the hook as an author writes it, e.g. ``localize(view, out, ctx)``."""
    return f"{hook}({', '.join(arguments_of(hook))})"


def arguments_of(hook: str) -> tuple[str, ...]:
    """Return the names of a hook's arguments, in the order of its specification."""
    # Read from the specification each time: an argument that is added there is known everywhere.
    return tuple(inspect.signature(getattr(hookspecs, hook)).parameters)


class StageManager(pluggy.PluginManager):
    """A plugin manager that registers, of the plugins it is given, only the hooks in `wanted`."""

    def __init__(self, wanted: tuple[str, ...] = HOOKS) -> None:
        super().__init__(PROJECT)
        self._wanted = wanted
        self.add_hookspecs(hookspecs)

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        """Return pluggy's options for one attribute, None for attributes that are no hook or not wanted here."""
        options = super().parse_hookimpl_opts(plugin, name)
        if options is None or (options.get("specname") or name) not in self._wanted:
            return None
        return options


def decorated(plugin: object) -> dict[str, Callable[..., Any]]:
    """Return all functions of `plugin` that carry `hookimpl`, by the name of the hook each stands for."""
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


def call_hook(
    plugin: object,
    hook: str,
    who: str,
    arguments: Mapping[str, Any],
) -> Any:
    """Call one hook of one plugin and return what it returned.

    Errors of the harness (`WsssError`) pass through: they say already who and what. Everything else that the plugin
    raises is wrapped, with the original as its cause.

    Raises:
        PluginError: the plugin does not implement the hook, raised, or returned None.
    """
    caller = _caller(plugin, hook, who)
    try:
        result = caller(**arguments)
    except WsssError:
        raise
    except Exception as error:
        # A full disk is nobody's bug, and must not look like the plugin's.
        if refused := disk_error(error, f"{who}: {hook}"):
            raise refused from error
        raise _raised(error, hook, who) from error
    if result is None:
        # Pluggy takes None for "ask the next one"; here there is no next one.
        fix = "Return the object the hook promises."
        if hook in ("localize", "refine"):
            fix = "End it with `return out.close()`."
        raise PluginError(who, hook, "returned None.", fix)
    return result


def _caller(
    plugin: object,
    hook: str,
    who: str,
) -> pluggy.HookCaller:
    manager = StageManager((hook,))
    manager.register(plugin)
    caller: pluggy.HookCaller = getattr(manager.hook, hook)
    # Wrappers alone give no result.
    if all(impl.wrapper or impl.hookwrapper for impl in caller.get_hookimpls()):
        what = "the plugin does not implement this hook."
        fix = f"Add @hookimpl def {signature(hook)}."
        raise PluginError(who, hook, what, fix)
    return caller


def _raised(
    error: Exception,
    hook: str,
    who: str,
) -> PluginError:
    what = f"raised {type(error).__name__}: {error}"
    if not what.endswith("."):
        what += "."
    fix = "The traceback is in the run's log."
    # Cards are read before there is a run.
    if hook == "method_card":
        fix = "A card must be cheap and must not fail."
    return PluginError(who, hook, what, fix)
