"""Makes our networks known to mmsegmentation's registry, once per process."""

from __future__ import annotations

from functools import cache


@cache
def register() -> None:
    """Import mmseg's modules and ours and make ``mmseg`` the default scope. Idempotent; about three seconds the first time."""
    import logging

    from mmengine.logging import MMLogger
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    # The registries report every harmless re-import at WARNING; only real trouble should reach the user.
    MMLogger.get_instance("mmengine").setLevel(logging.ERROR)
    from wsss_bench.engine import heads, runner_hooks  # noqa: F401
    from wsss_bench.engine.backbones import tiny, torchvision  # noqa: F401
