"""Which kinds of dataset there are: names from entry points without importing anything, one kind loaded at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

from wsss_bench.data.kind import DatasetKind
from wsss_bench.errors import DataError, did_you_mean

GROUP = "wsss_bench.datasets"
"""The entry-point group in which installed distributions offer a `DatasetKind` each."""

# A table and no entry points: a checkout's own kinds must be found before anything was (re)installed.
BUNDLED = {
    "shapes": "wsss_bench.data.shapes.kind:KIND",
    "voc2012": "wsss_bench.data.voc.kind:KIND",
    "coco2014": "wsss_bench.data.coco.kind:KIND",
}
"""The kinds that come with the harness, written as entry points are."""

_OURS = "wsss-bench"


@dataclass(frozen=True)
class Listing:
    """What is known of a kind before it is imported.

    Attributes:
        name: the name of the kind.
        distribution: the installed distribution that brings it.
        version: the version of that distribution; empty for a bundled kind.
        point: its entry point.
        problem: why it cannot be loaded, where that is known already; else empty.
    """

    name: str
    distribution: str
    version: str
    point: metadata.EntryPoint
    problem: str = ""

    @property
    def origin(self) -> str:
        """``distribution version`` of a third party's kind; empty for a bundled one."""
        return f"{self.distribution} {self.version}" if self.version else ""

    @property
    def who(self) -> str:
        """How messages about the kind begin."""
        return f"dataset {self.name!r} ({self.origin or _OURS})"

    def load(self) -> DatasetKind:
        """Import the kind; raises `DataError` where that fails, or where it is no kind of this name."""
        if self.problem:
            raise DataError(f"{self.who}: {self.problem}")
        repair = f"Repair or uninstall it: pip uninstall {self.distribution}"
        try:
            kind = self.point.load()
        # Somebody else's module may raise anything, or end the process, while it is imported.
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            what = f"importing {self.point.value} failed with {reason}."
            raise DataError(f"{self.who}: {what} {repair}") from error
        if not isinstance(kind, DatasetKind):
            what = f"{self.point.value} is a {type(kind).__name__}, not a DatasetKind."
            raise DataError(f"{self.who}: {what} {repair}")
        if kind.name != self.name:
            what = f"it calls itself {kind.name!r}, its entry point {self.name!r}."
            raise DataError(f"{self.who}: {what} Give both the same name.")
        return kind


class Kinds(Mapping[str, DatasetKind]):
    """The kinds of dataset by name, bundled ones first.

    The names are known without importing any kind; looking one up imports that one alone. Broken ones are listed too.
    What is installed is looked up at each use.
    """

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources())

    def __len__(self) -> int:
        return len(self._sources())

    def __contains__(self, name: object) -> bool:
        # The inherited one would import the kind.
        return name in self._sources()

    def __getitem__(self, name: str) -> DatasetKind:
        """Return one kind; raises `KeyError` for an unknown name, `DataError` for a kind that cannot be loaded."""
        return self._listing(name, self._sources()[name]).load()

    def bundled(self) -> list[DatasetKind]:
        """Return the kinds that come with the harness, those left out whose name somebody else claims too."""
        listings = [one for one in self.listings() if one.name in BUNDLED]
        return [one.load() for one in listings if not one.problem]

    def listings(self) -> list[Listing]:
        """Return what is known of every kind without importing it."""
        return [self._listing(*item) for item in self._sources().items()]

    def find(self, name: str) -> Listing:
        """Return what is known of one kind; raises `DataError` with the near misses for an unknown name."""
        sources = self._sources()
        if name not in sources:
            raise DataError(
                f"there is no dataset {name!r}.{did_you_mean(name, sources)}"
            )
        return self._listing(name, sources[name])

    def _sources(self) -> dict[str, list[metadata.EntryPoint]]:
        found = {
            name: [metadata.EntryPoint(name, target, GROUP)]
            for name, target in BUNDLED.items()
        }
        points = metadata.entry_points(group=GROUP)
        for point in sorted(points, key=lambda one: one.name):
            found.setdefault(point.name, []).append(point)
        return found

    @staticmethod
    def _listing(name: str, points: list[metadata.EntryPoint]) -> Listing:
        claims = [_distribution(point) for point in points]
        problem = ""
        if len(claims) > 1:
            # Neither is taken: results under a name must not depend on what else happens to be installed.
            who = " and by ".join(
                f"{dist} {version}".strip() for dist, version in claims
            )
            problem = f"the name is claimed by {who}. Uninstall one, or rename one."
        return Listing(name, *claims[-1], points[-1], problem)


def _distribution(point: metadata.EntryPoint) -> tuple[str, str]:
    """Return name and version of the distribution that brings `point`; the version is empty for a bundled kind."""
    if point.dist is not None:
        return point.dist.name, point.dist.version
    return (_OURS, "") if point.value in BUNDLED.values() else ("unknown", "?")


KINDS = Kinds()
"""The kinds of dataset that can be opened here."""
