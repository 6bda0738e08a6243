"""What a stage imported and read beside its plugin while it ran, that no look at its code could tell.

A plugin may put the name of a module together while it runs, or read a table that lies beside it. The first run of a
stage notes such modules and files with their digests, by the stage's key; a later plan compares. Where one has changed,
its digest becomes part of the key, so that the stage is another one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_bench.errors import ArtifactError
from wsss_bench.io.audit import Access, subscribe, unsubscribe
from wsss_bench.io.files import read_json, write_json
from wsss_bench.methods.code import Code
from wsss_bench.methods.modules import (
    BUNDLED,
    HARNESS,
    Closure,
    Walk,
)
from wsss_bench.methods.sources import content_of, file_syntax
from wsss_bench.runs.store.folders import StageSpec

FOLDER = "imports"
"""The folder in the store; nothing in it is ever deleted, for what is derived from a stage may outlive it."""

GONE = "gone"
"""Stands for the digest of what is no longer there."""

_FILE = "file:"
_COMPUTE = ("engine", "toolbox", "contract", "io", "evaluate")
"""Rooms of the harness that compute; what the others import runs around a stage."""

_CODE = (".py", ".pyc", ".so")

Digests = Mapping[str, str]


@dataclass(frozen=True)
class LateImports:
    """The notes of one store."""

    root: Path

    def known(self, key: str) -> dict[str, str]:
        """Return what was noted for a key: digests by module, or by ``file:NAME`` for what is no module."""
        path = self._path(key)
        if not path.exists():
            return {}
        try:
            noted = read_json(path)["noted"]
            return {str(name): str(digest) for name, digest in noted.items()}
        # Damaged notes are those of nothing; they are written again by the next run of the stage.
        except (ArtifactError, KeyError, TypeError, AttributeError):
            return {}

    def note(self, key: str, found: Digests) -> None:
        """Note what a stage turned out to rest on; names that were noted before stay."""
        known = self.known(key)
        both = {**known, **found}
        if both != known:
            write_json(self._path(key), {"key": key, "noted": both})

    def parts(self, spec: StageSpec, code: Code | None) -> dict[str, Any]:
        """Return the part of a key for what a stage loads late, "late"; nothing where that is as it was at first.

        `code` is that of the stage's method; None for the harness's own.
        """

        def key_with(found: Digests) -> str:
            late = {"late": dict(found)} if found else {}
            return StageSpec(spec.stage, {**spec.parts, **late}).key

        found = self.settle(key_with, code.walk if code else None)
        return {"late": found} if found else {}

    def settle(
        self, key_with: Callable[[Digests], str], walk: Walk | None
    ) -> dict[str, str]:
        """Return the digests that belong into a key besides those of the code that can be seen; usually none.

        Args:
            key_with: gives the key that a stage has with such digests.
            walk: finds the plugin's own modules; None for a stage without a plugin.
        """
        late: dict[str, str] = {}
        while True:
            known = self.known(key_with(late))
            now = {name: digest_now(name, walk) for name in known}
            if now == known or {**late, **now} == late:
                return late
            late |= now

    def _path(self, key: str) -> Path:
        return self.root / FOLDER / f"{key[:16]}.json"


def digest_now(name: str, walk: Walk | None) -> str:
    """Return the digest of a module, or of a file beside the plugin, as it is on the disk now; `GONE` for none."""
    walk = walk or Walk()
    if name.startswith(_FILE):
        path = walk.beside(name.removeprefix(_FILE))
        return GONE if path is None else content_of(path)
    module = walk.find(name)
    return GONE if module is None else file_syntax(module.file)


def watch_for(closure: Closure, code: Code | None) -> Watch:
    """Return a watch over a step that rests on `closure`; `code` is that of its method, None for the harness's own."""
    if code is None:
        return Watch(closure, None)
    return Watch(closure, code.walk, frozenset(code.of().files))


@dataclass
class Watch:
    """Sees what a stage imports and reads that `closure` does not hold.

    Attributes:
        closure: what could be told before.
        walk: finds the plugin's own modules and files; None for the harness's own steps.
        others: names of modules that some stage of the plugin can be seen to import: where one is there already when
            this stage begins, another stage has imported it.
    """

    closure: Closure
    walk: Walk | None
    others: frozenset[str] = frozenset()
    _read: set[str] = field(default_factory=set)
    _at_start: frozenset[str] = frozenset()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Watch the block, in this process."""
        self._at_start = frozenset(sys.modules)
        subscribe(self._listen)
        try:
            yield
        finally:
            unsubscribe(self._listen)

    def _listen(self, access: Access) -> None:
        if self.walk is None or not access.reads:
            return
        name = self.walk.name_beside(access.path)
        if name is not None and not name.endswith(_CODE):
            self._read.add(name)

    def found(self) -> dict[str, str]:
        """Return the digests of what was seen."""
        names = [name for name in list(sys.modules) if self._counts(name)]
        names += [_FILE + name for name in sorted(self._read)]
        found = {name: digest_now(name, self.walk) for name in sorted(names)}
        # What is no file in Python, and what has been deleted meanwhile.
        return {name: digest for name, digest in found.items() if digest != GONE}

    def _counts(self, name: str) -> bool:
        top, _, rest = name.partition(".")
        if top == HARNESS:
            late = name not in self._at_start and rest.partition(".")[0] in _COMPUTE
        else:
            late = self._is_late(name)
        # By file, too: a plugin may be loaded under another name than its file's.
        files = self.closure.files
        return late and name not in files and _file(name) not in files.values()

    def _is_late(self, name: str) -> bool:
        if self.walk is None or not self.walk.owns(name):
            return False
        if name not in self._at_start:
            return True
        # It was there before: the stage may use it all the same, unless something else explains it. The bundled methods
        # are everybody's: another one may have been loaded.
        return name not in self.others and name.partition(".")[0] != BUNDLED


def _file(name: str) -> Path | None:
    """Return the file that a module was loaded from."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file) if isinstance(file, str) else None
