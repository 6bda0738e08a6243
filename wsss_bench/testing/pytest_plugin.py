"""For authors' tests: ``pytest --wsss-plugin mine`` adds a test per check; the fixture `wsss_check` runs the kit.

Loaded by pytest through its entry point; imports nothing heavy until a check is run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from wsss_bench.testing.report import Report


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--wsss-plugin`` and ``--wsss-full``."""
    group = parser.getgroup("wsss-bench")
    group.addoption(
        "--wsss-plugin",
        action="append",
        default=[],
        metavar="NAME|FILE.py",
        help="check a wsss-bench method (repeatable)",
    )
    group.addoption(
        "--wsss-full",
        action="store_true",
        help="also at the usual size, where it must beat a trivial answer (minutes)",
    )


@pytest.fixture(scope="session")
def wsss_check(pytestconfig: pytest.Config) -> Callable[..., Report]:
    """`wsss_bench.testing.check_method`, each method checked once per session."""
    return _checker(pytestconfig)


def pytest_collection_modifyitems(
    session: pytest.Session,
    config: pytest.Config,
    items: list[pytest.Item],
) -> None:
    """Add one item per method and check."""
    from wsss_bench.testing.report import CHECKS

    for name in config.getoption("--wsss-plugin"):
        for check in CHECKS:
            # No blanks: the name is what `pytest -k` and reports call the item.
            title = f"wsss-bench[{name}-{check.replace(' ', '-')}]"
            item = ConformanceItem.from_parent(
                session,
                name=title,
                method=name,
                check=check,
            )
            items.append(item)


class ConformanceFailure(Exception):
    """Carries what the report says of one check."""


class ConformanceItem(pytest.Item):
    """One check of one method; all items of a method share one run of the kit."""

    def __init__(self, *, method: str, check: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.method, self.check = method, check

    def runtest(self) -> None:
        """Fail with every failure of the check, skip where no stage was judged."""
        full = self.config.getoption("--wsss-full")
        report = _checker(self.config)(self.method, full=full)
        found = report.named(self.check)
        failed = [check.message for check in found if check.status == "fail"]
        if failed:
            raise ConformanceFailure("\n".join(failed))
        if all(check.status == "skip" for check in found):
            why = "; ".join(check.message for check in found)
            pytest.skip(why or "nothing to check")

    def repr_failure(
        self,
        excinfo: pytest.ExceptionInfo[BaseException],
        style: Any = None,
    ) -> Any:
        """Return the messages alone; a traceback of the kit tells an author nothing."""
        if isinstance(excinfo.value, ConformanceFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return where it is said to come from."""
        return Path("wsss-bench"), None, self.name


_CACHE = pytest.StashKey[dict[tuple[str, bool], Any]]()


def _checker(config: pytest.Config) -> Callable[..., Any]:
    reports = config.stash.setdefault(_CACHE, {})

    def check(method: str, *, full: bool = False, **options: Any) -> Any:
        from wsss_bench.testing import check_method

        # What was checked with options of its own says nothing of a check without.
        if options:
            return check_method(method, full=full, **options)
        if (method, full) not in reports:
            reports[method, full] = check_method(method, full=full)
        return reports[method, full]

    return check
