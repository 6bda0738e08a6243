"""`StageContext`: what a hook is given besides its data."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from wsss_bench.contract.names import KEPT
from wsss_bench.errors import ArtifactError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wsss_bench.contract.artifacts import Segmentor

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``."""


FINISHED = "finished"
"""Marks a training's folder in a context that keeps no trainings."""


class Trainer(Protocol):
    """What the harness lends a context, so that the contract itself knows no training library."""

    def train(self, config: Any, ctx: StageContext, name: str) -> Path:
        """Run one training and return the path of its final weights."""

    def keep_segmentor(
        self, config: Any, checkpoint: Path, folder: Path, facts: Mapping[str, Any]
    ) -> Segmentor:
        """Copy a trained segmentor into `folder` and describe it there."""


@dataclass(frozen=True)
class Training:
    """Where one training works, and where it leaves what it learnt.

    Attributes:
        scratch: a folder for checkpoints; it outlives an interruption and is deleted when the training is finished.
        out: the folder of what is kept; a finished training has its files there.
        done: whether the training was finished before, by this run or by another one whose stage differs in test
            settings only.
        same_code: false where it was finished by other code of the harness, so that what it was handed may look
            different without being so.
    """

    scratch: Path
    out: Path
    done: bool
    same_code: bool = True


class Trainings(Protocol):
    """Keeps trainings apart from the stages that use them, so that another test setting trains nothing."""

    def open(self, name: str) -> AbstractContextManager[Training]:
        """Hold the training called `name`; it counts as finished once the block ends without an error."""


class Ranks(Protocol):
    """Processes that take part in one training; this one leads them."""

    @property
    def world(self) -> int:
        """How many they are, with this one."""

    def training(self, task: Any, device: str) -> AbstractContextManager[None]:
        """Let the others take part in a training while the block does so here."""


def _silent(what: str, done: int, total: int) -> None:
    """Report to nobody."""


@dataclass
class StageContext:
    """Seed, device, parameters and places of one stage of one recipe.

    Attributes:
        seed: the run's seed. Derive every random choice from it with `wsss_bench.rng`, never from global state.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        params: the resolved parameters of this stage (defaults, profile and the user's overrides merged).
        scratch: a folder that outlives an interruption of this stage and is deleted when the stage is finished.
        out_dir: the stage's folder of results.
        round: 1, or the number of the retrain round.
        workers: processes or threads that per-image work may use.
        progress: report progress as ``progress("epoch 2/5", done, total)``.
        log: a logger whose lines end in the run's log file.
        masks: pixel masks by image id, only for methods whose card declares masks as supervision; else None.
        visualizers: where trainings log to: ``"local"``, ``"tensorboard"``, …
        test_settings: the names in `params` that a training must not depend on (the method's own ``test_settings``).
        trainer: runs trainings; handed over by the harness.
        trainings: keeps trainings beyond this stage; None keeps them in `scratch`.
        logs: a folder that nothing deletes, for what `visualizers` write (tensorboard's events); None: in `scratch`.
        ranks: the processes that share trainings with this one; None: it trains alone.
    """

    seed: int
    device: str
    params: Mapping[str, Any]
    scratch: Path
    out_dir: Path
    round: int = 1
    workers: int = 1
    progress: Progress = _silent
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("wsss_bench"))
    masks: Callable[[str], NDArray[np.uint8]] | None = None
    visualizers: tuple[str, ...] = ("local",)
    test_settings: tuple[str, ...] = ()
    trainer: Trainer | None = None
    trainings: Trainings | None = None
    logs: Path | None = None
    ranks: Ranks | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process may know of the stage: no display, no store, and nobody to train with."""
        own = {
            "progress": _silent,
            "trainer": None,
            "trainings": None,
            "ranks": None,
        }
        return {**vars(self), **own}

    @property
    def training_params(self) -> dict[str, Any]:
        """Return `params` without `test_settings`: all that a training may look at."""
        params = dict(self.params)
        for name in self.test_settings:
            params.pop(name, None)
        return params

    @contextmanager
    def training(self, name: str) -> Iterator[Training]:
        """Hold the folders of the training called `name`; it is finished once the block ends without an error.

        A training that the harness keeps is shared by all stages that differ in ``test_settings`` only: there
        ``training.done`` is true at once and the block has nothing to compute.
        """
        if self.trainings is not None:
            with self.trainings.open(name) as training:
                yield training
            return
        folder = self.scratch / name
        folder.mkdir(parents=True, exist_ok=True)
        # A context that keeps nothing (in a test, or in a round inside a stage) has one folder for both.
        yield Training(folder, folder, (folder / FINISHED).exists())
        (folder / FINISHED).touch()

    def train(self, config: Any, name: str = "train") -> Path:
        """Run one mmengine training and return the path of its final weights.

        Resumes from the last checkpoint if there is one; a finished training is not run again. `config` is an mmengine
        `Config` or dict as `wsss_bench.toolbox.training` builds them; its seed, device and work dir are set here.
        """
        return self._lent().train(config, self, name)

    def segmentor(self, config: Any, checkpoint: Path, **facts: Any) -> Segmentor:
        """Keep `config` and `checkpoint` in this stage's folder and return the `Segmentor` for the hook to return."""
        return self._lent().keep_segmentor(config, checkpoint, self.out_dir, facts)

    def keep(self, path: Path, name: str | None = None) -> Path:
        """Copy a file (a trained network, say) to this stage's results, where later stages find it by `name`.

        Readers are ``seeds.kept(name)`` and ``labels.kept(name)``. Returns the path of the copy.

        Raises:
            ArtifactError: there is no such file, or `name` leads out of the folder.
        """
        from wsss_bench.io.files import inside, write_atomic

        if not path.is_file():
            what = f"ctx.keep: there is no file {path}."
            raise ArtifactError(f"{what} Write it before it is kept.")
        target = inside(self.out_dir / KEPT, name or path.name)
        with path.open("rb") as source:
            # Whole or not at all, like every file of a stage: a kill must not leave half a network.
            copy = partial(shutil.copyfileobj, source)
            write_atomic(target, copy, durable=True)
        return target

    def _lent(self) -> Trainer:
        if self.trainer is None:
            what = "this StageContext was made without a trainer."
            fix = "Take `train` from wsss_bench.toolbox.training instead."
            raise ArtifactError(f"{what} {fix}")
        return self.trainer
