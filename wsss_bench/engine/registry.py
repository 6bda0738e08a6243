"""Makes our networks known to mmsegmentation's registry, once per process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

N = TypeVar("N")


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
    # Importing them registers them. The module of timm's networks needs timm only when one is asked for.
    from wsss_bench.engine import heads, models, runner_hooks  # noqa: F401
    from wsss_bench.engine.backbones import timm, tiny, torchvision  # noqa: F401


def build(config: Mapping[str, Any]) -> Any:
    """Return the network (or part of one) that an mmseg config names."""
    register()
    from mmseg.registry import MODELS

    return MODELS.build(dict(config))


def registered(network: type[N]) -> type[N]:
    """Make a network known by its class's name, so that a segmentor's config can name it. A class decorator."""
    register()
    from mmseg.registry import MODELS

    # A module that is imported again (by a worker, or a test) brings the same class.
    MODELS.register_module(module=network, force=True)
    return network
