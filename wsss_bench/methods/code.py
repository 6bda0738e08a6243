"""A method's code: what each of its stages rests on, and whether this process still runs what the files say."""

from __future__ import annotations

import ast
import hashlib
import importlib
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

from wsss_bench.contract.names import STAGES
from wsss_bench.io import generation
from wsss_bench.io.files import canonical
from wsss_bench.methods.bytecode import drop_stale
from wsss_bench.methods.modules import (
    BUNDLED,
    HARNESS,
    Closure,
    Module,
    Walk,
    harness_module,
    tops_of,
    versions_of,
)
from wsss_bench.methods.sources import content_of

CARD_HOOK = "method_card"

_TRAINS = frozenset({"train", "training", "keep_segmentor"})
"""What a context offers besides imports: who uses one of them rests on the engine."""

_UNKEYED = frozenset({"torch", "torchvision", HARNESS, "wsss-bench"})
"""Distributions whose versions are in no key: two machines share a store."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Code:
    """The code of one method.

    Attributes:
        module: the module that holds the plugin.
        packages: the packages that the module lies in, outermost first.
        walk: follows its imports.
        requires: distributions that the metadata of the plugin's own names, as it names them.
    """

    module: Module
    packages: tuple[Module, ...] = ()
    walk: Walk = field(default_factory=Walk)
    requires: frozenset[str] = frozenset()

    def of(
        self,
        stage: str | None = None,
        roots: Iterable[Module] = (),
        alone: Iterable[Module] = (),
    ) -> Closure:
        """Return what a stage rests on; what any stage does for None.

        Args:
            stage: one of `STAGES`.
            roots: modules of the harness that count too, with what they import.
            alone: such that count without what they import.
        """
        # Hooks of other stages are another stage's affair, and a card's texts change no number.
        without = {CARD_HOOK, *STAGES} - {stage} if stage else ()
        closure = self._closure(without, roots, alone)
        if not self._trains(closure):
            return closure
        engine = map(harness_module, ("engine.training", "engine.segmentor"))
        return self._closure(without, [*roots, *engine], alone)

    def _closure(
        self, without: Iterable[str], roots: Iterable[Module], alone: Iterable[Module]
    ) -> Closure:
        own = self.walk.closure([self.module], without, self.packages)
        return own.joined(self.walk.closure([*self.packages, *roots], (), alone))

    def _trains(self, closure: Closure) -> bool:
        files = (closure.files[name] for name in closure.own)
        return any(_refers(file, content_of(file)) for file in files)

    def versions(self, closure: Closure) -> dict[str, str]:
        """Return the versions of other people's distributions that `closure` imports, by name."""
        return versions_of(closure.foreign)

    def keyed_versions(self, closure: Closure) -> dict[str, str]:
        """Return those of `versions` that the plugin's own metadata names: part of a key."""
        found = {}
        for name, version in self.versions(closure).items():
            plain = _plain(name)
            if plain in self.requires and plain not in _UNKEYED:
                found[name] = version
        return found


@lru_cache(maxsize=1024)
def _refers(file: Path, content: str) -> bool:
    """Return whether a file asks for one of `_TRAINS`."""
    if file.suffix != ".py":
        return False
    tree = ast.parse(file.read_bytes())
    return any(getattr(node, "attr", None) in _TRAINS for node in ast.walk(tree))


def code_digest(closure: Closure) -> str:
    """Return one hex digest over the modules of the plugin's own."""
    text = canonical(dict(closure.own))
    return hashlib.sha256(text.encode()).hexdigest()


def file_walk(path: Path) -> Walk:
    """Return a walk for a plugin that is a file of its own: modules beside it are its own too."""
    return Walk(home=path.resolve().parent)


def installed_walk(module: str, distribution: str) -> Walk:
    """Return a walk for a plugin that a distribution brings: all of the distribution's modules are its own."""
    tops = {module.partition(".")[0], *tops_of(distribution)}
    return Walk(tops=tops - {HARNESS})


def code_of(module: ModuleType, walk: Walk, distribution: str = "") -> Code:
    """Return the code of a plugin whose module was imported.

    Args:
        module: the module that holds it.
        walk: see `file_walk` and `installed_walk`.
        distribution: what brings it, where it is installed.
    """
    file = Path(str(module.__file__))
    # A file may have to be loaded under another name, which would tell of its place; its code is the same.
    name = file.stem if walk.home else module.__name__
    found = Module(name, file)
    # The harness's own requirements are recorded with every run, and are the same for all methods.
    bundled = name.partition(".")[0] == BUNDLED
    required = frozenset() if bundled else _requirements(distribution)
    return Code(found, tuple(_packages(name)), walk, required)


def _packages(name: str) -> Iterator[Module]:
    """Yield the packages that a module lies in, as this process has imported them."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        package = ".".join(parts[:end])
        file = getattr(sys.modules.get(package), "__file__", None)
        # A namespace package has no file.
        if file:
            yield Module(package, Path(file))


def _requirements(distribution: str) -> frozenset[str]:
    """Return the distributions that one needs, by plain name; a file of its own has no metadata to name any."""
    try:
        lines = metadata.requires(distribution) or ()
    # An empty name is a `ValueError`.
    except (metadata.PackageNotFoundError, ValueError):
        return frozenset()
    found = (_NAME.match(line.strip()) for line in lines)
    return frozenset(_plain(match[0]) for match in found if match)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


_loaded: dict[str, str] = {}
"""Content digests of plugins' modules as this process has imported them, by module."""

_IN_DOUBT = "in doubt"


def forget_changed(walk: Walk) -> None:
    """Let a plugin's modules be imported anew where a file of theirs is not what this process has imported.

    All of them at once: they hold each other's functions.
    """
    # Before anything is imported, so that Python does not run what an editor has replaced.
    drop_stale(walk.sources())
    owned = _loaded_files(walk)
    if all(_as_loaded(name, file) for name, file in owned.items()):
        return
    for name in owned:
        sys.modules.pop(name, None)
        _loaded.pop(name, None)
    generation.note_dropped()
    importlib.invalidate_caches()


def _as_loaded(name: str, file: Path) -> bool:
    # A module that nobody noted was imported by somebody else, at an unknown time.
    if name not in _loaded:
        return True
    return file.is_file() and content_of(file) == _loaded[name]


def note_loaded(walk: Walk, since: int) -> None:
    """Note which modules of a plugin have been imported since `since` (nanoseconds since 1970), and their contents.

    A file that changed after that time is not known to be what was imported, and counts as changed.
    """
    for name, file in _loaded_files(walk).items():
        if name in _loaded or not file.is_file():
            continue
        stat = file.stat()
        last = max(stat.st_mtime_ns, stat.st_ctime_ns)
        _loaded[name] = content_of(file) if last < since else _IN_DOUBT


def _loaded_files(walk: Walk) -> dict[str, Path]:
    """Return the files of a plugin's own modules that this process has imported, by module."""
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and walk.owns(name):
            found[name] = Path(file)
    return found
