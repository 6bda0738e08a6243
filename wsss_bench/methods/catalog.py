"""Which methods there are: names from entry points without importing anything, one plugin loaded at a time."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType

from wsss_bench.contract.card import MethodCard
from wsss_bench.errors import PluginError, RecipeError, did_you_mean
from wsss_bench.methods.checks import check_plugin, read_card
from wsss_bench.methods.code import (
    Code,
    code_digest,
    code_of,
    file_walk,
    forget_changed,
    installed_walk,
    note_loaded,
)

GROUP = "wsss_bench.methods"
RESTRICT = "WSSS_BENCH_PLUGINS"


@dataclass(frozen=True)
class Listing:
    """What is known of a plugin before it is imported.

    Attributes:
        name: the name in recipes.
        distribution, version: the installed distribution that brings it, or the file's name and ``"local"``.
        target: ``module:attribute``, or the file's name.
        problem: why it cannot be loaded, where that is known already.
    """

    name: str
    distribution: str
    version: str
    target: str
    problem: PluginError | None = None

    @property
    def who(self) -> str:
        """``name (distribution version)``, as every error about the plugin begins."""
        return f"{self.name} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class LoadedMethod:
    """A checked plugin: its object, its card, where it comes from, and its code.

    Attributes:
        name, plugin, card: its name, its object and what that says of itself.
        distribution, version: as in `Listing`.
        code_digest: a digest of its own modules.
        code: what its stages rest on; None for one that was put together by hand.
    """

    name: str
    plugin: object
    card: MethodCard
    distribution: str
    version: str
    code_digest: str
    code: Code | None = None

    @property
    def who(self) -> str:
        """``name (distribution version)``, as every error about the plugin begins."""
        return f"{self.name} ({self.distribution} {self.version})"


class Catalog:
    """The methods that can be picked in a recipe.

    Args:
        local: Python files loaded besides the installed plugins (their names come from their cards).
        restrict: names of methods or distributions to keep; default: environment variable ``WSSS_BENCH_PLUGINS``
            (comma-separated; unset keeps all, empty keeps none). Local files are always kept.
        entry_points: for tests; default: those of all installed distributions.
    """

    def __init__(
        self,
        local: Sequence[Path] = (),
        restrict: Iterable[str] | None = None,
        entry_points: Iterable[metadata.EntryPoint] | None = None,
    ) -> None:
        if entry_points is None:
            entry_points = metadata.entry_points(group=GROUP)
        self._restrict = _restriction() if restrict is None else frozenset(restrict)
        # Lists, for two distributions may claim one name; which of them is meant is nobody's to guess.
        self._points: dict[str, list[metadata.EntryPoint]] = {}
        for point in entry_points:
            if self._keeps(point):
                self._points.setdefault(point.name, []).append(point)
        self._local: dict[str, LoadedMethod] = {}
        self._failed: dict[str, Listing] = {}
        self._loaded: dict[str, LoadedMethod] = {}
        for path in local:
            self._add_file(path)

    def _keeps(self, point: metadata.EntryPoint) -> bool:
        if self._restrict is None:
            return True
        distribution, _ = _distribution(point)
        return not self._restrict.isdisjoint({point.name, distribution})

    def names(self) -> tuple[str, ...]:
        """All names, broken plugins included, sorted; imports no installed plugin."""
        return tuple(sorted({*self._points, *self._local, *self._failed}))

    def listings(self) -> list[Listing]:
        """What is known of every plugin without importing the installed ones, sorted by name."""
        return [self._listing(name) for name in self.names()]

    def load(self, name: str) -> LoadedMethod:
        """Import, check and return one plugin.

        Raises:
            RecipeError: there is no plugin of that name.
            PluginError: it cannot be imported, breaks the contract, or its name is claimed twice.
        """
        if name in self._loaded:
            return self._loaded[name]
        if name not in self.names():
            raise RecipeError(self._unknown(name))
        listing = self._listing(name)
        if listing.problem is not None:
            raise listing.problem
        if name in self._local:
            method = self._local[name]
        else:
            method = _load(self._points[name][0], listing)
        self._loaded[name] = method
        return method

    def _unknown(self, name: str) -> str:
        what = f"there is no method {name!r}.{did_you_mean(name, self.names())}"
        if self._restrict is None:
            return what
        return f"{what} Environment variable {RESTRICT} hides other plugins."

    def _listing(self, name: str) -> Listing:
        if name in self._failed:
            return self._failed[name]
        points = self._points.get(name, [])
        sources = [(*_distribution(point), point.value) for point in points]
        if name in self._local:
            file = self._local[name].distribution
            sources.append((file, "local", file))
        problem = None
        # A file does not win over an installed plugin: results would bear the name of another method.
        if len(sources) > 1:
            owners = [f"{owner} {version}" for owner, version, _ in sources]
            what = f"the name is claimed by {' and by '.join(owners)}."
            fix = "Uninstall one, rename one, or leave the file out."
            problem = PluginError(name, "discovery", what, fix)
        return Listing(name, *sources[0], problem)

    def _add_file(self, path: Path) -> None:
        try:
            method = load_file(path)
            if method.name in self._local:
                other = self._local[method.name].distribution
                what = f"the name is claimed by {other} and by {path.name}."
                fix = "Rename one in its method card."
                raise PluginError(method.name, "discovery", what, fix)
            self._local[method.name] = method
        except PluginError as error:
            # Kept, and raised when the method is asked for: a broken file must not stop a run of others.
            name = path.stem if error.where != "discovery" else error.who
            self._failed[name] = Listing(name, path.name, "local", path.name, error)


def _restriction() -> frozenset[str] | None:
    text = os.environ.get(RESTRICT)
    # Set and empty is not unset: it hides all, which a test of the harness itself may want.
    if text is None:
        return None
    names = [part.strip() for part in text.split(",")]
    return frozenset(filter(None, names))


def _distribution(point: metadata.EntryPoint) -> tuple[str, str]:
    dist = point.dist
    if dist is None:
        return "unknown distribution", "?"
    return dist.name, dist.version


def _load(point: metadata.EntryPoint, listing: Listing) -> LoadedMethod:
    walk = installed_walk(point.module, listing.distribution)
    forget_changed(walk)
    began = time.time_ns()
    try:
        plugin = point.load()
    # A module that calls sys.exit must not end a run of other methods.
    except (Exception, SystemExit) as error:
        what = f"importing {point.value} failed with {type(error).__name__}: {error}."
        fix = f"Repair or uninstall it: pip uninstall {listing.distribution}"
        raise PluginError(listing.who, "import", what, fix) from error
    note_loaded(walk, began)
    check_plugin(plugin, listing.who)
    card = read_card(plugin, listing.who)
    if card.name != point.name:
        what = f"the card's name is {card.name!r}, the entry point's is {point.name!r}."
        raise PluginError(listing.who, "method_card", what, "Give both the same name.")
    code = code_of(sys.modules[point.module], walk, listing.distribution)
    owner = listing.distribution, listing.version
    return _method(plugin, card, *owner, code)


def _method(
    plugin: object, card: MethodCard, distribution: str, version: str, code: Code
) -> LoadedMethod:
    digest = code_digest(code.of())
    return LoadedMethod(card.name, plugin, card, distribution, version, digest, code)


def load_file(path: Path) -> LoadedMethod:
    """Load a local plugin: an object named ``plugin`` in the file, or the file's own decorated functions.

    This runs the file's code.

    Raises:
        PluginError: the file is missing, cannot be imported, or breaks the contract.
    """
    who = f"{path.stem} ({path.name} local)"
    walk = file_walk(path)
    forget_changed(walk)
    began = time.time_ns()
    module = _import_file(path, who)
    note_loaded(walk, began)
    plugin = getattr(module, "plugin", module)
    check_plugin(plugin, who)
    card = read_card(plugin, who)
    code = code_of(module, walk)
    return _method(plugin, card, path.name, "local", code)


def _import_file(path: Path, who: str) -> ModuleType:
    if not path.is_file():
        fix = "Check the path given to --plugin."
        raise PluginError(who, "import", f"there is no file {path}.", fix)
    name = _module_name(path.resolve())
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        what = f"{path.name} is no Python file."
        raise PluginError(who, "import", what, "Name a file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    # Before it runs, as the import system does: dataclasses look their own module up there.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        what = f"importing it failed with {type(error).__name__}: {error}."
        raise PluginError(who, "import", what, "Repair the file.") from error
    return module


def _module_name(path: Path) -> str:
    """Return the file's stem, and make it importable, so that worker processes find the plugin's functions.

    A stem that is taken by another module gives way to a name of its own.
    """
    stem = path.stem
    try:
        taken = importlib.util.find_spec(stem)
    except (ImportError, ValueError):
        taken = None
    if stem.isidentifier() and (taken is None or taken.origin == str(path)):
        # Last, so that no file of that folder hides a module that is installed.
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        return stem
    digest = hashlib.sha256(str(path).encode()).hexdigest()
    return f"wsss_local_{stem}_{digest[:8]}"
