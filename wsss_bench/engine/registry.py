"""Makes our networks known to mmsegmentation's registry, once per process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from wsss_bench.errors import RecipeError

N = TypeVar("N")

_LOCAL = re.compile(r"wsss_local_(.*)_[0-9a-f]{8}")
"""What a plugin's file is called as a module where another one has its name: see `wsss_bench.methods.catalog`."""


@cache
def register() -> None:
    """Import mmseg's modules and ours and make ``mmseg`` the default scope.

    May be called any number of times; the first one takes about three seconds.
    """
    import logging

    from mmengine.logging import MMLogger
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    # The registries report every harmless re-import at WARNING; only real trouble should reach the user.
    MMLogger.get_instance("mmengine").setLevel(logging.ERROR)
    # Importing them registers them, in mmengine's registry, where mmseg's looks last: so a plugin may call a class of
    # its own as one of ours is called. The module of timm's networks needs timm only when one is asked for.
    from wsss_bench.engine import heads, models, runner_hooks  # noqa: F401
    from wsss_bench.engine.backbones import timm, tiny, torchvision  # noqa: F401


def build(config: Mapping[str, Any]) -> Any:
    """Return the network (or part of one) that an mmseg config names."""
    register()
    from mmseg.registry import MODELS

    return MODELS.build(dict(config))


def registered(network: type[N]) -> type[N]:
    """Make a network known by its class's name, so that a segmentor's config can name it. A class decorator.

    Raises:
        RecipeError: another module's class has that name already; the network of the other would be replaced.
    """
    register()
    from mmseg.registry import MODELS

    known = MODELS.module_dict.get(network.__name__)
    if known is not None and _owner(known) != _owner(network):
        what = f"network {network.__name__!r} of module {network.__module__!r}"
        why = f"the name is taken by module {known.__module__!r}."
        raise RecipeError(f"{what}: {why} Give the class another name.")
    # A module that is imported again (by a worker, or a test) brings the same class.
    MODELS.register_module(module=network, force=True)
    return network


def _owner(network: Any) -> str:
    """Return the module of a class; of a plugin's file that was loaded from another folder too, the file's name."""
    module = str(network.__module__)
    found = _LOCAL.fullmatch(module)
    return found[1] if found else module
