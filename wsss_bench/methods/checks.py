"""Checks a plugin object against the hook contract, and calls one hook of one plugin.

Pluggy would silently skip an undecorated function, run whichever plugin registered last, and fall through to the next
one on ``None``. Here every call goes through a manager that holds exactly the picked stage of the picked plugin.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pluggy

from wsss_bench.contract.card import MethodCard
from wsss_bench.contract.names import STAGES
from wsss_bench.errors import PluginError, did_you_mean
from wsss_bench.methods.hooks import (
    HOOKS,
    StageManager,
    _arguments,
    call_hook,
    decorated,
    signature,
)


def check_plugin(plugin: object, who: str) -> None:
    """Check everything that can be told without calling a hook.

    Raises:
        PluginError: a class instead of an instance, an undecorated or misspelt hook, a missing ``self``, an argument the
            hook does not have.
    """
    if inspect.isclass(plugin):
        fix = f"Register an instance: write `plugin = {plugin.__name__}()` and name that in the entry point."
        raise PluginError(who, "registration", f"{plugin.__name__} is a class.", fix)
    hooks = decorated(plugin)
    for hook in HOOKS:
        attribute = getattr(plugin, hook, None)
        if hook not in hooks and callable(attribute):
            fix = "Put @hookimpl above it (from wsss_bench import hookimpl)."
            raise PluginError(
                who, hook, "the function is not decorated, so it would be ignored.", fix
            )
    for hook, function in hooks.items():
        _check_function(hook, function, who)
    try:
        manager = StageManager()
        manager.register(plugin)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(
            who, "registration", str(error), "Compare with the hook reference."
        ) from error


def _check_function(hook: str, function: Callable[..., Any], who: str) -> None:
    if hook not in HOOKS:
        raise PluginError(
            who, hook, "there is no such hook.", did_you_mean(hook, HOOKS).strip()
        )
    allowed = _arguments(hook)
    raw = getattr(function, "__func__", None)
    if inspect.ismethod(function) and raw is not None:
        first = next(iter(inspect.signature(raw).parameters), None)
        if first is None or first in allowed:
            raise PluginError(
                who,
                hook,
                "the method has no `self`.",
                f"Write def {hook}(self, ...): {signature(hook)}",
            )
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            what = f"takes {parameter}, hook arguments are passed by name."
            raise PluginError(
                who, hook, what, f"Name the ones you need of {signature(hook)}."
            )
        if parameter.name not in allowed and parameter.default is parameter.empty:
            what = f"takes an argument {parameter.name!r} that the hook does not have."
            raise PluginError(
                who,
                hook,
                what,
                f"The hook is {signature(hook)}; take any of its arguments, in any order.",
            )


def read_card(plugin: object, who: str) -> MethodCard:
    """Call ``method_card`` and check it against the stages the plugin implements.

    Raises:
        PluginError: there is no card, it raises or is no `MethodCard`, or it names other stages than are implemented.
    """
    hooks = decorated(plugin)
    if "method_card" not in hooks:
        fix = "Add: @hookimpl def method_card(self): return MethodCard(name=..., version=..., stages=(...,))"
        raise PluginError(who, "method_card", "the plugin has no method card.", fix)
    card = call_hook(plugin, "method_card", who, {})
    if not isinstance(card, MethodCard):
        raise PluginError(
            who,
            "method_card",
            f"returned {type(card).__name__}.",
            "Return a wsss_bench.MethodCard.",
        )
    implemented = {stage for stage in STAGES if stage in hooks}
    if implemented != set(card.stages):
        what = f"the card names the stages {_words(card.stages)}, the plugin implements {_words(sorted(implemented))}."
        raise PluginError(
            who,
            "method_card",
            what,
            "Make `stages` of the card and the decorated hooks agree.",
        )
    return card


def _words(items: Any) -> str:
    return ", ".join(items) or "none"
