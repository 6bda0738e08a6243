"""Runs one stage of one method: for the pipeline, and for the conformance kit, which must see what a run would see."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.contract.artifacts import (
    LabelSet,
    LabelWriter,
    SeedSet,
    SeedWriter,
    Segmentor,
    write_segmentor,
)
from wsss_bench.contract.context import StageContext
from wsss_bench.errors import ArtifactError, PluginError
from wsss_bench.io.sealing import shut
from wsss_bench.methods.hooks import call_hook

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wsss_bench.contract.context import Progress, Ranks, Trainer, Trainings
    from wsss_bench.contract.view import WeakView
    from wsss_bench.methods.catalog import LoadedMethod

REFUSED = "refused.txt"
"""Names of the sealed files that a plugin tried to open; there is none where nothing was tried."""

Result = SeedSet | LabelSet | Segmentor


def _default_log() -> logging.Logger:
    return logging.getLogger("wsss_bench")


@dataclass(frozen=True)
class Settings:
    """What does not change a result: where and how it is computed.

    `logs` is the cell's folder for visualizers; `ranks` train together.
    """

    device: str = "cpu"
    workers: int = 1
    visualizers: tuple[str, ...] = ("local",)
    log: logging.Logger = field(default_factory=_default_log)
    logs: Path | None = None
    ranks: Ranks | None = None


class EngineTrainer:
    """Lends the engine's trainings to a context; torch and mmengine are imported when a training is asked for."""

    def train(self, config: Any, ctx: StageContext, name: str) -> Path:
        """Run one training and return the path of its final weights."""
        from wsss_bench.engine.training import train

        return train(config, ctx, name)

    def keep_segmentor(
        self,
        config: Any,
        checkpoint: Path,
        folder: Path,
        facts: Mapping[str, Any],
    ) -> Segmentor:
        """Copy a trained segmentor into `folder` and describe it there."""
        from wsss_bench.engine.segmentor import keep_segmentor

        return keep_segmentor(config, checkpoint, folder, facts)


ENGINE: Trainer = EngineTrainer()


def _leave(writer: Any) -> None:
    """Do nothing to a writer."""


def _silent(what: str, done: int, total: int) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class StageCall:
    """One stage of one method, with all that its hook needs.

    Attributes:
        method, hook: whose hook is called, and which.
        params: the parameters that the plugin is handed.
        view: the training images.
        folder: the folder of the stage; ``out`` and ``scratch`` in it exist.
        seed, round: as in `StageContext`.
        inputs: ``seeds``, ``labels``, ``previous``, ``previous_labels``, as far as there are any.
        test_settings: names in `params` that trainings do not depend on.
        masks: gives pixel masks by image id, for a method whose card declares them.
        sealed: files and folders that cannot be opened while the plugin's code runs.
        facts: what the manifest of the result holds besides its ids.
        trainings: keeps trainings beyond the stage; None keeps them in the stage's scratch folder.
        settings: where and how it is computed.
        progress: told how far the stage is.
        prepare: sees the writer before the plugin gets it.
    """

    method: LoadedMethod
    hook: str
    params: Mapping[str, Any]
    view: WeakView
    folder: Path
    seed: int = 0
    round: int = 1
    inputs: Mapping[str, Any] = field(default_factory=dict)
    test_settings: tuple[str, ...] = ()
    masks: Callable[[str], NDArray[np.uint8]] | None = None
    sealed: Sequence[Path] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    trainings: Trainings | None = None
    settings: Settings = field(default_factory=Settings)
    progress: Progress = _silent
    prepare: Callable[[Any], None] = _leave

    @property
    def who(self) -> str:
        """How messages name the plugin and the stage."""
        return f"{self.method.who}: {self.hook}"

    @property
    def out(self) -> Path:
        """The folder of results."""
        return self.folder / "out"

    def context(self) -> StageContext:
        """Return what the hook gets as ``ctx``."""
        settings = self.settings
        logs = settings.logs
        if logs is not None:
            step = self.hook if self.round == 1 else f"{self.hook}.{self.round}"
            logs = logs / step
        return StageContext(
            seed=self.seed,
            device=settings.device,
            params=dict(self.params),
            scratch=self.folder / "scratch",
            out_dir=self.out,
            round=self.round,
            workers=settings.workers,
            progress=self.progress,
            log=settings.log,
            masks=self.masks,
            visualizers=settings.visualizers,
            test_settings=self.test_settings,
            trainer=ENGINE,
            trainings=self.trainings,
            logs=logs,
            ranks=settings.ranks,
        )


def run_stage(call: StageCall) -> Result:
    """Call the hook while masks are sealed, check what it returned, and return that; a segmentor's files are kept.

    Raises:
        PluginError: the plugin raised, or returned something else than its hook promises.
        ArtifactError: the output breaks its contract.
        LeakError: the plugin tried to open a sealed file.
    """
    writer = _writer(call)
    arguments = _inputs(call)
    arguments["view"] = call.view
    arguments["ctx"] = call.context()
    if writer is not None:
        call.prepare(writer)
        arguments["out"] = writer
    method = call.method
    # Only while the plugin's code runs: the harness itself must read masks, to score.
    with shut(call.sealed, call.folder / REFUSED, call.who):
        result = call_hook(method.plugin, call.hook, method.who, arguments)
    return _checked(call, result, writer)


def _writer(call: StageCall) -> SeedWriter | LabelWriter | None:
    about = call.view, call.who, call.facts
    if call.hook == "localize":
        return SeedWriter(call.out, *about)
    if call.hook == "refine":
        # True masks may hold classes that the tags leave out (VOC's "difficult" objects).
        tags = call.masks is None
        return LabelWriter(call.out, *about, tags=tags)
    return None


_ROLES = {
    "localize": (),
    "refine": ("seeds", "previous", "previous_labels"),
    "segment": ("labels", "seeds", "previous", "previous_labels"),
}
"""The inputs of each hook; one that is not there is handed over as None."""


def _inputs(call: StageCall) -> dict[str, Any]:
    roles = _ROLES[call.hook]
    return {role: call.inputs.get(role) for role in roles}


_PROMISED: Mapping[str, type[Result]] = {
    "localize": SeedSet,
    "refine": LabelSet,
    "segment": Segmentor,
}


def _checked(call: StageCall, result: Any, writer: Any) -> Result:
    kind = _PROMISED[call.hook]
    what = f"returned {type(result).__name__}"
    if writer is None:
        fix = "Return ctx.segmentor(config, checkpoint)."
    else:
        fix = "Write every image to `out` and return out.close()."
    if not isinstance(result, kind):
        raise PluginError(call.method.who, call.hook, f"{what}.", fix)
    if isinstance(result, Segmentor):
        made = replace(result, plugin=made_by(call.method))
        return keep_result(made, call.out)
    if result.path != call.out:
        what = f"{what} of another folder."
        raise PluginError(call.method.who, call.hook, what, fix)
    return result


def made_by(method: LoadedMethod) -> dict[str, Any]:
    """Return what `Segmentor.plugin` holds: whose it is, and which modules may register its network's parts."""
    local = method.version == "local"
    made: dict[str, Any] = {"name": method.name}
    made["file" if local else "distribution"] = method.distribution
    if method.code is None:
        return made
    names = [method.code.module.name, *sorted(method.code.of("segment").own)]
    # Such a name holds the digest of a folder: the same result is to have the same bytes everywhere.
    stable = [name for name in names if not name.startswith("wsss_local_")]
    if method.code.module.name in stable:
        made["module"] = method.code.module.name
    made["modules"] = sorted(set(stable))
    return made


def keep_result(segmentor: Segmentor, out: Path) -> Segmentor:
    """Bring a segmentor's files into `out`, where they are not yet, and describe them in ``segmentor.json``.

    Returns the segmentor with the paths of the kept files; raises `ArtifactError` for a file that is not there.
    """
    config = _kept("config", segmentor.config, out / "config.py")
    checkpoint = _kept("checkpoint", segmentor.checkpoint, out / "weights.pth")
    kept = replace(segmentor, config=config, checkpoint=checkpoint)
    write_segmentor(kept, out)
    return kept


def _kept(role: str, path: Path, default: Path) -> Path:
    # A plugin may hand over text.
    path = Path(path)
    if not path.is_file():
        what = f"segment: the {role} {path} does not exist."
        raise ArtifactError(f"{what} Return ctx.segmentor(config, checkpoint).")
    if path.resolve().is_relative_to(default.parent.resolve()):
        return path
    # What lies in scratch is deleted with it.
    return Path(shutil.copyfile(path, default))


def in_force(segmentor: Segmentor, test: Mapping[str, Any]) -> Segmentor:
    """Return the segmentor with the settings that it predicts with: its own, overruled by those of a ``predict`` step.

    `test` is `wsss_bench.runs.plan.Step.test`; it is empty for a method that declares no test settings.
    """
    return replace(segmentor, test={**segmentor.test, **test})
