"""One attempt at a folder of the store: measured, its opened data files noted, and committed at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import read_json
from wsss_bench.io.opened import DATA_FILES, OpenedFiles
from wsss_bench.runs.provenance.meter import Meter
from wsss_bench.runs.store.folders import (
    COMMIT,
    TRAINING,
    StageFolder,
    Store,
    add_costs,
)

COSTS = ("seconds", "peak_mb", "peak_gpu_mb")
"""What a commit says of the price."""


class Attempt:
    """Computes what is missing in one folder, whose lock the caller holds.

    A kept training that goes on inside a stage is an attempt of its own, in its own folder. The stage's time excludes
    it (`elsewhere`) and gets the training's whole price at the commit, whoever paid it: so a stage costs the same
    whether it found its training in the store or not.
    """

    def __init__(
        self,
        folder: StageFolder,
        store: Store,
        device: str,
        places: Sequence[Path],
        facts: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Be about to compute `folder`; `facts` go into the commit as they are."""
        self.folder, self.device, self.places = folder, device, places
        self.facts = facts
        self._store = store
        self._away = 0.0
        self._noting = False
        self._opened = OpenedFiles(folder.path / DATA_FILES, places)
        self._meter = Meter(device)

    @contextmanager
    def open(self) -> Iterator[bool]:
        """Measure the block that does the work, then list its files; yields whether they were all there already.

        An earlier process may have died between the work and the commit: then the block has nothing to do.
        """
        folder = self.folder
        if lost := folder.lost_seconds():
            folder.add_attempt({"seconds": lost})
        folder.begin()
        try:
            with self._meter, self._opened:
                self._noting = True
                whole = folder.whole()
                yield whole
                if not whole:
                    folder.list_files()
        except BaseException:
            # On a full disk this fails too, and must not hide the reason.
            with suppress(ArtifactError):
                folder.add_attempt(self._own())
            raise

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Leave what the block does, its time and the files that it opens, out of this attempt."""
        start = time.monotonic()
        # Two lists of opened files cannot be kept at once, so this one is put away meanwhile.
        noting = self._noting
        if noting:
            self._opened.__exit__(None, None, None)
        try:
            yield
        finally:
            if noting:
                self._opened.__enter__()
            away = time.monotonic() - start
            self._away += away
            self.folder.discount(away)

    def use(self, name: str, training: StageFolder) -> None:
        """Note that the work rests on a kept training: its price, and the data files that it opened, count here too."""
        self.folder.note_training(name, training.spec.key)
        listed = training.path / DATA_FILES
        if listed.exists():
            with self._opened.log.open("ab") as log:
                # A kill may have cut the last line; what comes next must not be glued to it.
                log.write(b"\n" + listed.read_bytes())

    def commit(self) -> dict[str, Any]:
        """Commit the folder after `open`; returns the record."""
        cost = self.folder.add_attempt(self._own())
        used = self.folder.trainings()
        for key in used.values():
            cost = add_costs(cost, self._price(key))
        facts = {
            **self.facts,
            **cost,
            "opened": self._opened.summary(),
            "device": self.device,
        }
        if used:
            facts["trainings"] = used
        return self.folder.commit(facts)

    def _own(self) -> dict[str, float]:
        facts = dict(self._meter.facts)
        facts["seconds"] = round(max(0.0, facts["seconds"] - self._away), 3)
        return facts

    def _price(self, key: str) -> dict[str, float]:
        record = read_json(self._store.root / TRAINING / key[:16] / COMMIT)
        return {name: record[name] for name in COSTS if name in record}
