"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long an example takes to draw or to run says nothing on a busy machine.
settings.register_profile(
    "wsss-bench", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("wsss-bench")
