"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from wsss_bench.io.paths import CACHE_VARIABLE

# How long an example takes to draw or to run says nothing on a busy machine.
settings.register_profile(
    "wsss-bench", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("wsss-bench")


@pytest.fixture(scope="session", autouse=True)
def _user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test writes to the cache in the home folder; processes that tests start inherit the variable."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("user-cache")
        patch.setenv(CACHE_VARIABLE, str(folder))
        yield
