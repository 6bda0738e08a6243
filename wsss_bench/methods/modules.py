"""Which modules a piece of code rests on: its imports, followed through its own package or folder and the harness.

Nothing is imported for it: files are parsed, and imports inside functions count like those at the top. Packages of
other people are not followed; they are named (`Closure.foreign`). What the walk cannot see, a module whose name is put
together while the code runs, a run notes when it happens (see `wsss_bench.runs.store.imports`).
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from wsss_bench.io.paths import PACKAGE
from wsss_bench.methods.sources import file_syntax, handed_out, imported

HARNESS = "wsss_bench"
BUNDLED = "wsss_plugins"
"""The package of the bundled methods."""

_PASSED_BY = frozenset(
    {
        # The package itself imports nothing that computes, and names everything; old names lead to new ones.
        HARNESS,
        f"{HARNESS}._moved",
        # Words: what a method says of itself, which arguments a hook has, what an error is called.
        f"{HARNESS}.contract.card",
        f"{HARNESS}.contract.hookspecs",
        f"{HARNESS}.errors",
    }
)
"""Modules of the harness that are in no key, since nothing in them can change a number."""


@dataclass(frozen=True)
class Module:
    """A module by name, and its file."""

    name: str
    file: Path

    @property
    def package(self) -> str:
        """The package that relative imports in it start from."""
        if self.file.name == "__init__.py":
            return self.name
        return self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Closure:
    """What a piece of code rests on.

    Attributes:
        own: digests of the modules of the plugin's own package or folder, by name.
        harness: digests of the harness's modules, by name.
        foreign: top-level names of other people's packages that are imported.
        files: the file of every module in `own` and `harness`.
    """

    own: Mapping[str, str] = field(default_factory=dict)
    harness: Mapping[str, str] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()
    files: Mapping[str, Path] = field(default_factory=dict, compare=False)

    @property
    def modules(self) -> dict[str, str]:
        """All digests by module."""
        return {**self.harness, **self.own}

    def joined(self, other: Closure) -> Closure:
        """Return what this code and `other` rest on together; of a module that both have, this one's digest counts."""
        return Closure(
            dict(sorted({**other.own, **self.own}.items())),
            dict(sorted({**other.harness, **self.harness}.items())),
            self.foreign | other.foreign,
            {**other.files, **self.files},
        )


class Walk:
    """Follows imports from some modules on.

    Args:
        home: the folder whose modules are the plugin's own besides its package: that of a plugin that is one file.
        tops: top-level names of the plugin's own packages.
    """

    def __init__(self, home: Path | None = None, tops: Iterable[str] = ()) -> None:
        self.home, self.tops = home, frozenset(tops)
        self._roots: dict[str, Path | None] = {}

    def closure(
        self,
        roots: Iterable[Module],
        without: Iterable[str] = (),
        alone: Iterable[Module] = (),
    ) -> Closure:
        """Return what `roots` rest on.

        Args:
            roots: where to begin.
            without: names of functions in the roots that do not count; see `kept_tree`.
            alone: modules that count themselves, but not what they import.
        """
        dropped = tuple(sorted(without))
        found: dict[str, Module] = {module.name: module for module in alone}
        digest: dict[str, str] = {}
        foreign: set[str] = set()
        for module in found.values():
            digest[module.name] = file_syntax(module.file)
        due = [(module, dropped) for module in roots]
        while due:
            module, leave = due.pop()
            if module.name in digest and module.name in found and not leave:
                continue
            found[module.name] = module
            digest[module.name] = file_syntax(module.file, leave)
            for name in imported(module.file, module.package, leave):
                others, strange = self._resolve(name)
                foreign |= strange
                due += [(one, ()) for one in others if one.name not in digest]
        return _sorted(found, digest, foreign)

    def _resolve(self, name: str) -> tuple[list[Module], set[str]]:
        """Return the modules that importing `name` runs, and the foreign package that it belongs to."""
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names:
            return [], set()
        root = self._root(top)
        if root is None:
            return [], {top}
        # Of the harness's own tree nobody adds or takes away modules while a process runs.
        along = _along_ours if top in (HARNESS, BUNDLED) else _along
        return [one for one in along(name, root) if one.name not in _PASSED_BY], set()

    def _root(self, top: str) -> Path | None:
        """Return the folder or file of a top-level module that is to be followed, None for a foreign one."""
        if top not in self._roots:
            self._roots[top] = self._find(top)
        return self._roots[top]

    def _find(self, top: str) -> Path | None:
        if top == HARNESS:
            return PACKAGE
        place = find_top(top)
        if place is None:
            place = self._in_home(top)
        own = place is not None and (
            top in (*self.tops, BUNDLED) or self._at_home(place)
        )
        return place if own else None

    def _in_home(self, top: str) -> Path | None:
        if self.home is None:
            return None
        for place in (self.home / top, self.home / f"{top}.py"):
            if place.exists():
                return place
        return None

    def _at_home(self, place: Path) -> bool:
        # Right in the folder: below it there may be an environment with everybody's packages.
        return self.home is not None and place.resolve().parent == self.home.resolve()

    def find(self, name: str) -> Module | None:
        """Return the module of a dotted name, None where it is nobody's that is followed, or is gone."""
        modules, _ = self._resolve(name)
        return next((one for one in modules if one.name == name), None)

    def folders(self) -> list[Path]:
        """Return the folders of the plugin's own packages."""
        roots = map(self._root, sorted(self.tops))
        return [root.resolve() for root in roots if root is not None and root.is_dir()]

    def sources(self) -> list[Path]:
        """Return the source files of the plugin's own packages, or those in its folder and the packages there."""
        if self.home is None:
            found = [folder.rglob("*.py") for folder in self.folders()]
        else:
            found = [self.home.glob("*.py")]
            found += [
                init.parent.rglob("*.py") for init in self.home.glob("*/__init__.py")
            ]
        return sorted(file for files in found for file in files)

    def name_beside(self, path: str) -> str | None:
        """Return the name of a file that lies with the plugin's code, None for any other file."""
        place = Path(path).absolute()
        # Right beside a file of its own: further below, there may be anybody's data.
        if self.home is not None:
            near = place.parent == self.home.resolve() and place.is_file()
            return place.name if near else None
        for folder in self.folders():
            if place.is_relative_to(folder) and place.is_file():
                return place.relative_to(folder.parent).as_posix()
        return None

    def beside(self, name: str) -> Path | None:
        """Return the file of a name that `name_beside` gave, None where it is gone."""
        if self.home is not None:
            places = [self.home / name]
        else:
            places = [folder.parent / name for folder in self.folders()]
        return next(filter(Path.is_file, places), None)

    def owns(self, name: str) -> bool:
        """Return whether a module, by its dotted name, is one of the plugin's own."""
        top = name.partition(".")[0]
        if top == HARNESS or top in sys.stdlib_module_names:
            return False
        return self._root(top) is not None


def _sorted(
    found: Mapping[str, Module], digest: Mapping[str, str], foreign: set[str]
) -> Closure:
    own: dict[str, str] = {}
    harness: dict[str, str] = {}
    for name in sorted(found):
        of_harness = name.partition(".")[0] == HARNESS
        (harness if of_harness else own)[name] = digest[name]
    files = {name: module.file for name, module in found.items()}
    return Closure(own, harness, frozenset(foreign), files)


def find_top(top: str) -> Path | None:
    """Return the folder or file of a top-level module, None where there is none, or none in Python."""
    try:
        spec = importlib.util.find_spec(top)
    # `ValueError`: a module without a spec, such as one that was made by hand.
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    if folders:
        return Path(folders[0])
    return Path(spec.origin) if spec.has_location and spec.origin else None


@lru_cache(maxsize=4096)
def _along_ours(name: str, root: Path) -> tuple[Module, ...]:
    return tuple(_along(name, root))


def _along(name: str, root: Path) -> Iterator[Module]:
    """Yield the modules that lie on a dotted name, as far as they exist: packages first, then what is in them."""
    top, *rest = name.split(".")
    if root.is_file():
        yield Module(top, root)
        return
    place, so_far = root, top
    package = _file_of(root)
    if package is not None:
        yield Module(top, package)
    for part in rest:
        place = place / part
        file = _file_of(place)
        if file is None and not place.is_dir():
            # A name in the module before, which may hand it out from another one.
            if package is not None and package.name == "__init__.py":
                yield from _behind(part, package, so_far)
            return
        so_far = f"{so_far}.{part}"
        package = file
        if file is not None:
            yield Module(so_far, file)


def _behind(name: str, package: Path, dotted: str) -> Iterator[Module]:
    """Yield the module from which a package hands out a name."""
    module = handed_out(package).get(name)
    if module is None:
        return
    place = package.parent.joinpath(*module.split("."))
    file = _file_of(place)
    if file is not None:
        yield Module(f"{dotted}.{module}", file)


def _file_of(place: Path) -> Path | None:
    """Return the file of the module whose dotted path ends in `place`."""
    package = place / "__init__.py"
    if package.is_file():
        return package
    source = place.with_name(f"{place.name}.py")
    if source.is_file():
        return source
    # Compiled by the plugin's authors: its bytes are all there is.
    compiled = sorted(place.parent.glob(f"{place.name}.*.so"))
    return compiled[0] if compiled else None


def harness_module(name: str) -> Module:
    """Return one of the harness's modules by its name below the package, such as ``toolbox.prediction``."""
    file = _file_of(PACKAGE.joinpath(*name.split(".")))
    if file is None:
        raise LookupError(f"the harness has no module {name!r}.")
    return Module(f"{HARNESS}.{name}", file)


def tops_of(distribution: str) -> frozenset[str]:
    """Return the top-level names that an installed distribution brings; none for one that is not installed."""
    names = []
    for top, owners in _owners().items():
        if distribution in owners:
            names.append(top)
    return frozenset(names)


def versions_of(tops: Iterable[str]) -> dict[str, str]:
    """Return the distributions that bring the given top-level names, with their versions."""
    owners = _owners()
    found = {}
    for top in tops:
        for name in owners.get(top, ()):
            found[name] = metadata.version(name)
    return dict(sorted(found.items()))


# It reads the metadata of everything that is installed, which takes a third of a second.
@lru_cache(maxsize=1)
def _owners() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()
