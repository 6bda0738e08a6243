"""Trainings that the store keeps apart from the stages that use them, so that another test setting trains nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from wsss_bench.contract.context import Training
from wsss_bench.errors import ArtifactError, WsssError
from wsss_bench.runs.attempt import Attempt
from wsss_bench.runs.store.folders import StageFolder, Store, training_spec


class StageBusy(WsssError):
    """Another process computes the stage or the training that is due, and whoever asked was told not to wait.

    A `WsssError`, so that it passes through the hook in which a training is opened.
    """


def _ignore(*_: object) -> None:
    """Tell nobody."""


@dataclass
class KeptTrainings:
    """The trainings of one stage, backed by the store: what `StageContext.trainings` is in a run.

    Attributes:
        store: where they are kept.
        parts: what they depend on (see `wsss_bench.runs.store.folders.training_spec`).
        attempt: the stage's own, which is inside its hook now.
        broken: trainings (by key) that failed in this process, and why; they fail at once when they are asked for
            again.
        wait: called before waiting for another process; may raise `StageBusy` instead.
        watch: called as ``watch(name, True)`` when a training begins to be computed, with False when that ends.
    """

    store: Store
    parts: Mapping[str, Any]
    attempt: Attempt
    broken: MutableMapping[str, Exception] = field(default_factory=dict)
    wait: Callable[[], None] = _ignore
    watch: Callable[[str, bool], None] = _ignore
    _names: list[str] = field(default_factory=list)

    @contextmanager
    def open(self, name: str) -> Iterator[Training]:
        """Hold the training called `name`; it is finished, for every stage, once the block ends without an error.

        Raises:
            ArtifactError: the block is inside another one of the same name.
            StageBusy: another process computes it, and `wait` does not want to wait.
        """
        if name in self._names:
            what = f"training {name!r} is open already."
            raise ArtifactError(f"{what} Give each training of a stage its own name.")
        folder = self.store.folder(training_spec(self.parts, name))
        if folder.spec.key in self.broken:
            raise self.broken[folder.spec.key]
        outer = self.attempt
        if folder.commit_record() is None:
            with outer.elsewhere(), folder.lock(self.wait):
                # Whoever held the lock may have finished it meanwhile.
                if folder.commit_record() is None:
                    yield from self._compute(name, folder)
                    outer.use(name, folder)
                    return
        # Its process may have been killed between the commit and the cleaning.
        if folder.scratch.exists():
            folder.clean()
        outer.use(name, folder)
        yield Training(folder.scratch, folder.out, True)

    def _compute(self, name: str, folder: StageFolder) -> Iterator[Training]:
        """Let the block train, then commit; where only the commit was missing, the block finds the training done."""
        outer = self.attempt
        inner = Attempt(folder, self.store, outer.device, outer.places, outer.facts)
        self._names.append(name)
        self.attempt = inner
        self.watch(name, True)
        try:
            with inner.open() as whole:
                yield Training(folder.scratch, folder.out, whole)
            inner.commit()
        except StageBusy:
            raise
        except Exception as error:
            self.broken[folder.spec.key] = error
            raise
        finally:
            self.watch(name, False)
            self.attempt = outer
            self._names.remove(name)
