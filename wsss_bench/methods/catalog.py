"""Which methods there are: names from entry points without importing anything, one plugin loaded at a time."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType

from wsss_bench.contract.card import MethodCard
from wsss_bench.errors import PluginError, RecipeError, did_you_mean
from wsss_bench.methods.checks import check_plugin, read_card

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
    """A checked plugin: its object, its card, where it comes from, and a digest of its code."""

    name: str
    plugin: object
    card: MethodCard
    distribution: str
    version: str
    code_digest: str

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
        found = (
            metadata.entry_points(group=GROUP) if entry_points is None else entry_points
        )
        self._restrict = _restriction() if restrict is None else frozenset(restrict)
        self._points: dict[str, list[metadata.EntryPoint]] = {}
        for point in found:
            if (
                self._restrict is None
                or {point.name, _distribution(point)[0]} & self._restrict
            ):
                self._points.setdefault(point.name, []).append(point)
        self._local: dict[str, LoadedMethod] = {}
        self._failed: dict[str, Listing] = {}
        self._loaded: dict[str, LoadedMethod] = {}
        for path in local:
            self._add_file(path)

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
            limit = (
                f" Environment variable {RESTRICT} hides other plugins."
                if self._restrict is not None
                else ""
            )
            raise RecipeError(
                f"there is no method {name!r}.{did_you_mean(name, self.names())}{limit}"
            )
        listing = self._listing(name)
        if listing.problem is not None:
            raise listing.problem
        self._loaded[name] = (
            self._local[name]
            if name in self._local
            else _load(self._points[name][0], listing)
        )
        return self._loaded[name]

    def _listing(self, name: str) -> Listing:
        if name in self._failed:
            return self._failed[name]
        sources = [
            (*_distribution(point), point.value) for point in self._points.get(name, [])
        ]
        if name in self._local:
            sources.append(
                (
                    self._local[name].distribution,
                    "local",
                    self._local[name].distribution,
                )
            )
        problem = None
        if len(sources) > 1:
            claims = " and by ".join(
                f"{distribution} {version}" for distribution, version, _ in sources
            )
            fix = "Uninstall one, rename one, or leave the file out."
            problem = PluginError(
                name, "discovery", f"the name is claimed by {claims}.", fix
            )
        return Listing(name, *sources[0], problem)

    def _add_file(self, path: Path) -> None:
        try:
            method = load_file(path)
            if method.name in self._local:
                what = f"the name is claimed by {self._local[method.name].distribution} and by {path.name}."
                raise PluginError(
                    method.name, "discovery", what, "Rename one in its method card."
                )
            self._local[method.name] = method
        except PluginError as error:
            name = path.stem if error.where != "discovery" else error.who
            self._failed[name] = Listing(name, path.name, "local", path.name, error)


def _restriction() -> frozenset[str] | None:
    text = os.environ.get(RESTRICT)
    return (
        None
        if text is None
        else frozenset(part.strip() for part in text.split(",") if part.strip())
    )


def _distribution(point: metadata.EntryPoint) -> tuple[str, str]:
    dist = point.dist
    return (
        (dist.name, dist.version) if dist is not None else ("unknown distribution", "?")
    )


def _load(point: metadata.EntryPoint, listing: Listing) -> LoadedMethod:
    try:
        plugin = point.load()
    except (Exception, SystemExit) as error:
        what = f"importing {point.value} failed with {type(error).__name__}: {error}."
        fix = f"Repair or uninstall it: pip uninstall {listing.distribution}"
        raise PluginError(listing.who, "import", what, fix) from error
    check_plugin(plugin, listing.who)
    card = read_card(plugin, listing.who)
    if card.name != point.name:
        what = f"the card's name is {card.name!r}, the entry point's is {point.name!r}."
        raise PluginError(listing.who, "method_card", what, "Give both the same name.")
    digest = code_digest(sys.modules[point.module])
    return LoadedMethod(
        card.name, plugin, card, listing.distribution, listing.version, digest
    )


def load_file(path: Path) -> LoadedMethod:
    """Load a local plugin: an object named ``plugin`` in the file, or the file's own decorated functions.

    This runs the file's code.

    Raises:
        PluginError: the file is missing, cannot be imported, or breaks the contract.
    """
    who = f"{path.stem} ({path.name} local)"
    if not path.is_file():
        raise PluginError(
            who,
            "import",
            f"there is no file {path}.",
            "Check the path given to --plugin.",
        )
    name = _module_name(path.resolve())
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(
            who,
            "import",
            f"{path.name} is no Python file.",
            "Name a file that ends in .py.",
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise PluginError(
            who,
            "import",
            f"importing it failed with {type(error).__name__}: {error}.",
            "Repair the file.",
        ) from error
    plugin = getattr(module, "plugin", module)
    check_plugin(plugin, who)
    card = read_card(plugin, who)
    return LoadedMethod(
        card.name, plugin, card, path.name, "local", code_digest(module)
    )


def _module_name(path: Path) -> str:
    """The file's stem, importable from its folder, so that worker processes find the plugin's functions.

    A stem that is taken by another module gives way to a name of its own.
    """
    stem = path.stem
    try:
        taken = importlib.util.find_spec(stem)
    except (ImportError, ValueError):
        taken = None
    if stem.isidentifier() and (taken is None or taken.origin == str(path)):
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        return stem
    return f"wsss_local_{stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def code_digest(module: ModuleType) -> str:
    """Hex digest over the ``.py`` files of the module's package folder (tests left out), or over its one file."""
    file = Path(str(module.__file__))
    files = [file]
    if module.__package__:
        files = [
            p
            for p in sorted(file.parent.rglob("*.py"))
            if "tests" not in p.relative_to(file.parent).parts
        ]
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(file.parent).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
