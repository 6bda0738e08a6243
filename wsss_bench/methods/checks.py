"""Checks a plugin object against the hook contract, and calls one hook of one plugin.

Pluggy would silently skip an undecorated function, run whichever plugin registered last, and fall through to the next
one on ``None``. Here every call goes through a manager that holds exactly the picked stage of the picked plugin.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pluggy

from wsss_bench.contract.card import MethodCard
from wsss_bench.contract.names import STAGES
from wsss_bench.errors import PluginError, did_you_mean
from wsss_bench.io.configs import INHERIT
from wsss_bench.methods.declared import problem_of
from wsss_bench.methods.hooks import (
    HOOKS,
    StageManager,
    arguments_of,
    call_hook,
    decorated,
    signature,
)


def check_plugin(plugin: object, who: str) -> None:
    """Check everything that can be told without calling a hook.

    Raises:
        PluginError: a class instead of an instance, an undecorated or misspelt hook, a missing ``self``, an argument
            that the hook does not have.
    """
    if inspect.isclass(plugin):
        fix = f"Register an instance: write `plugin = {plugin.__name__}()` and name that in the entry point."
        raise PluginError(who, "registration", f"{plugin.__name__} is a class.", fix)
    hooks = decorated(plugin)
    for hook in HOOKS:
        attribute = getattr(plugin, hook, None)
        if hook not in hooks and callable(attribute):
            what = "the function is not decorated, so it would be ignored."
            fix = "Put @hookimpl above it (from wsss_bench import hookimpl)."
            raise PluginError(who, hook, what, fix)
    for hook, function in hooks.items():
        _check_function(hook, function, who)
    _check_registration(plugin, who)


def _check_registration(plugin: object, who: str) -> None:
    # Last: pluggy finds some of the same faults, in words that help only those who know pluggy.
    try:
        manager = StageManager()
        manager.register(plugin)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        fix = "Compare with the hook reference."
        raise PluginError(who, "registration", str(error), fix) from error


def _check_function(
    hook: str,
    function: Callable[..., Any],
    who: str,
) -> None:
    if hook not in HOOKS:
        hint = did_you_mean(hook, HOOKS).strip()
        raise PluginError(who, hook, "there is no such hook.", hint)
    _check_self(hook, function, who)
    for parameter in inspect.signature(function).parameters.values():
        _check_parameter(hook, parameter, who)


def _check_self(
    hook: str,
    function: Callable[..., Any],
    who: str,
) -> None:
    raw = getattr(function, "__func__", None)
    if not inspect.ismethod(function) or raw is None:
        return
    # A forgotten `self` makes Python bind the first argument to the plugin, and that argument is missed silently.
    first = next(iter(inspect.signature(raw).parameters), None)
    if first is None or first in arguments_of(hook):
        fix = f"Write def {hook}(self, ...): {signature(hook)}"
        raise PluginError(who, hook, "the method has no `self`.", fix)


def _check_parameter(
    hook: str,
    parameter: inspect.Parameter,
    who: str,
) -> None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        what = f"takes {parameter}, hook arguments are passed by name."
        fix = f"Name the ones you need of {signature(hook)}."
        raise PluginError(who, hook, what, fix)
    # What has a default may stand there: it is for the plugin's own calls and tests.
    if parameter.default is not parameter.empty:
        return
    if parameter.name not in arguments_of(hook):
        what = f"takes an argument {parameter.name!r} that the hook does not have."
        fix = f"The hook is {signature(hook)}; take any of its arguments, in any order."
        raise PluginError(who, hook, what, fix)


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
        what = f"returned {type(card).__name__}."
        fix = "Return a wsss_bench.MethodCard."
        raise PluginError(who, "method_card", what, fix)
    implemented = {stage for stage in STAGES if stage in hooks}
    if implemented != set(card.stages):
        named = f"the card names the stages {_words(card.stages)}"
        what = f"{named}, the plugin implements {_words(sorted(implemented))}."
        fix = "Make `stages` of the card and the decorated hooks agree."
        raise PluginError(who, "method_card", what, fix)
    # A config is read when its parameters are needed: a card must be cheap.
    if isinstance(card.defaults, Mapping) and INHERIT not in card.defaults:
        problem = problem_of(card.defaults)
        if problem is not None:
            fix = "Correct `defaults` of the card."
            raise PluginError(who, "method_card", problem, fix)
    return card


def _words(items: Iterable[str]) -> str:
    return ", ".join(items) or "none"
