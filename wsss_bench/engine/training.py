"""One training from its parameters to its weights: finished ones are handed on, interrupted ones resumed."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.config import Config, ConfigDict
from torch import nn
from torch.utils.data import DataLoader

from wsss_bench.engine.handed import HANDED, check_handed, handed
from wsss_bench.engine.loading import ScheduleSampler, TrainingSet
from wsss_bench.engine.logged import LOSSES
from wsss_bench.engine.precision import dtype_of
from wsss_bench.engine.ranks import check_share, rank, world
from wsss_bench.engine.registry import register
from wsss_bench.engine.runner import newest_checkpoint, release, runner_of
from wsss_bench.engine.synced import synced
from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import inside, write_atomic, write_json
from wsss_bench.io.paths import configs_dir
from wsss_bench.rng import derive

if TYPE_CHECKING:
    from wsss_bench.contract.context import StageContext, Training

WEIGHTS = "weights.pth"


def iterations(params: Any, images: int) -> int:
    """Return the training's length: ``iterations`` if given, else ``epochs`` over `images`.

    An epoch's last partial batch is dropped, as IRN counts.
    """
    if params.get("iterations"):
        return int(params["iterations"])
    batches = images // int(params["batch"])
    total = int(params["epochs"]) * max(1, batches)
    return max(1, total)


def training_config(
    params: Any,
    total: int,
    new: tuple[str, ...],
    fast: dict[str, float] | None = None,
) -> ConfigDict:
    """Return the mmengine config of one training, from `configs/_base_/training.py` and a method's parameters.

    Args:
        params: ``lr, momentum, weight_decay, batch`` and optionally ``schedule`` ("poly" | "step" | "constant"),
            ``power``, ``step_every``, ``step_factor``, ``warmup``, ``new_mult``, ``bias_mult``, ``bias_decay``,
            ``optimizer``, ``amp``, ``clip``.
        total: iterations.
        new: prefixes of the freshly initialised modules (learning rate times ``new_mult``).
        fast: extra multipliers by prefix.
    """
    config = Config.fromfile(configs_dir() / "_base_" / "training.py")
    paramwise = {
        "new": list(new),
        "new_mult": params.get("new_mult", 1.0),
        "bias_mult": params.get("bias_mult", 1.0),
        "bias_decay": params.get("bias_decay", True),
        "fast": fast or {},
    }
    config.optim_wrapper = _wrapper(params, paramwise)
    config.param_scheduler = [*_warmup(params), *_schedule(params, total)]
    config.train_cfg = {
        "type": "IterBasedTrainLoop",
        "max_iters": total,
        "val_interval": total + 1,
    }
    return config


def _wrapper(params: Any, paramwise: dict[str, Any]) -> dict[str, Any]:
    """Return the config of the optimiser, its precision and its gradients' norm."""
    optimizer: dict[str, Any] = {
        "type": params.get("optimizer", "SGD"),
        "lr": params["lr"],
        "weight_decay": params["weight_decay"],
    }
    if optimizer["type"] == "SGD":
        optimizer["momentum"] = params["momentum"]
    wrapper: dict[str, Any] = {
        "type": "AmpOptimWrapper" if params.get("amp") else "OptimWrapper",
        "optimizer": optimizer,
        "constructor": "GroupedOptimizer",
        "paramwise_cfg": paramwise,
    }
    if params.get("amp"):
        wrapper["dtype"] = dtype_of(str(params["amp"]), "amp")
    if params.get("clip"):
        wrapper["clip_grad"] = {"max_norm": params["clip"]}
    return wrapper


def _warmup(params: Any) -> list[dict[str, Any]]:
    length = int(params.get("warmup") or 0)
    if not length:
        return []
    warmup = {
        "type": "LinearLR",
        "start_factor": 1 / (length + 1),
        "begin": 0,
        "end": length + 1,
        "by_epoch": False,
    }
    return [warmup]


def _schedule(params: Any, total: int) -> list[dict[str, Any]]:
    kind = params.get("schedule", "poly")
    if kind == "poly":
        # lr · (1 - k / total)^power at step k, as the field's PolyOptimizers count; mmengine's `end` is one past
        # the last step.
        poly = {
            "type": "PolyLR",
            "power": params.get("power", 0.9),
            "eta_min": 0.0,
            "begin": 0,
            "end": total + 1,
            "by_epoch": False,
        }
        return [poly]
    if kind == "step":
        every = int(params["step_every"])
        steps = {
            "type": "MultiStepLR",
            "milestones": list(range(every, total, every)),
            "gamma": params["step_factor"],
            "by_epoch": False,
        }
        return [steps]
    return []


def loader(
    data: TrainingSet,
    batch: int,
    seed: int,
    workers: int,
) -> DataLoader[Any]:
    """Return a loader whose order and augmentation depend on the seed alone.

    Where processes share the training it gives this one's part of every `batch`.
    """
    return DataLoader(
        data,
        batch_size=batch // world(),
        sampler=ScheduleSampler(len(data), seed, batch, rank(), world()),
        num_workers=workers,
        # Where Python would start workers afresh, they import the caller's script, which may have no main guard:
        # it would begin the whole run again in every worker. A forked worker imports nothing.
        multiprocessing_context="fork" if workers else None,
        drop_last=True,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def seeded(
    build: Any,
    seed: int,
    name: str,
) -> Any:
    """Return ``build()``, called with torch's generator seeded from (seed, name).

    So new layers start the same in every process; torch's own random state stays as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, name, "init"))
        return build()


def train(
    config: Any,
    ctx: StageContext,
    name: str = "train",
) -> Path:
    """Run one training to the end and return the path of its final weights.

    A finished training is not run again, an interrupted one resumes from its last checkpoint.

    Args:
        config: what `training_config` gives, and ``model`` (a module), ``data`` (a `TrainingSet`), ``batch``, and
            optionally ``drop``: prefixes of tensors that are not kept, such as those of an objective.
        ctx: gives seed, device, folders and progress.
        name: tells the trainings of a stage apart.

    Raises:
        ArtifactError: fewer images than one batch holds.
        RecipeError: a finished training of that name was handed other settings (see `wsss_bench.engine.handed`).
    """
    register()
    now = handed(config)
    with ctx.training(name) as training:
        final = training.out / WEIGHTS
        # Other code may tell the same settings in other words; the run has said that it reuses its result.
        if training.same_code:
            check_handed(training.out, now, name)
        if not final.exists():
            write_json(training.out / HANDED, now)
            _fit(config, ctx, name, training)
            _save_weights(config["model"], final, tuple(config.get("drop", ())))
        for checkpoint in training.scratch.glob("iter_*.pth"):
            checkpoint.unlink()
    return final


def _fit(
    config: Any,
    ctx: StageContext,
    name: str,
    training: Training,
) -> None:
    data, batch = config["data"], int(config["batch"])
    if len(data) < batch:
        what = f"{len(data)} images do not fill one batch of {batch}."
        raise ArtifactError(f"{name}: {what} Lower batch=… or add images.")
    losses = _losses_of(training, ctx, name)
    checkpoint = newest_checkpoint(training.scratch)
    task = Fit(config, ctx, name, training.scratch, checkpoint)
    if ctx.ranks is None or ctx.ranks.world == 1:
        task.run(losses)
        return
    check_share(batch, ctx.ranks.world, name)
    # On a GPU it would be unpacked on that very GPU.
    config["model"].cpu()
    with ctx.ranks.training(task, ctx.device):
        task.run(losses)


@dataclass(frozen=True)
class Fit:
    """One training as all processes that share it do it; can be sent to another process.

    Attributes:
        config, ctx, name: what `train` was called with.
        scratch: the folder of the checkpoints, which every process can read.
        checkpoint: where to go on from, if anywhere.
    """

    config: Any
    ctx: StageContext
    name: str
    scratch: Path
    checkpoint: Path | None = None

    def run(self, losses: Path | None, work: Path | None = None) -> None:
        """Train to the end.

        Args:
            losses: the table of losses; None where another process keeps it.
            work: the folder of this process's own files; None: `scratch`.
        """
        config, ctx, name = self.config, self.ctx, self.name
        seed = derive(ctx.seed, name)
        batches = loader(
            config["data"], int(config["batch"]), seed, _loader_workers(ctx)
        )
        place = work or self.scratch
        with synced(config["model"], name), _threads(ctx.device):
            runner = runner_of(
                config, batches, ctx, name, place, losses, self.checkpoint
            )
            try:
                runner.train()
            finally:
                release(runner)

    def follow(self) -> None:
        """Take part in the training that another process leads: on this process's own GPU, leaving nothing behind."""
        register()
        device = self.ctx.device
        if device.startswith("cuda"):
            device = f"cuda:{torch.cuda.current_device()}"
        ctx = replace(self.ctx, device=device, visualizers=("local",), logs=None)
        work = self.scratch / f"rank{rank()}"
        try:
            replace(self, ctx=ctx).run(None, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _threads(device: str) -> Iterator[None]:
    """Give each of several processes on a CPU its part of the cores."""
    before = torch.get_num_threads()
    if device == "cpu" and world() > 1:
        torch.set_num_threads(max(1, before // world()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _losses_of(training: Training, ctx: StageContext, name: str) -> Path:
    """Return the table of losses: among what a kept training leaves, else among the stage's own results."""
    out = training.out
    # One folder for both is deleted with the checkpoints.
    if out == training.scratch:
        out = ctx.out_dir
    return inside(out / LOSSES, f"{name}.csv")


def _loader_workers(ctx: StageContext) -> int:
    if ctx.device == "cpu":
        return 0
    return max(1, ctx.workers // world()) if ctx.workers else 0


def _save_weights(
    model: nn.Module,
    path: Path,
    drop: tuple[str, ...] = (),
) -> None:
    kept = {}
    for key, value in model.state_dict().items():
        if key.startswith(drop):
            continue
        # In one memory layout, so that the file does not depend on what a device likes best.
        kept[key] = value.detach().cpu().contiguous()
    save_state(kept, path)


def save_state(state: dict[str, torch.Tensor], path: Path) -> None:
    """Write tensors by name as `torch.save` does, atomically and durably.

    Raises:
        ArtifactError: the disk is full.
    """
    # In memory first: on a file that cannot be written torch dies with errors of its own, which say nothing of the
    # disk.
    content = io.BytesIO()
    torch.save(state, content)
    write_atomic(path, lambda handle: handle.write(content.getbuffer()), durable=True)


def load_weights(
    model: nn.Module,
    path: Path,
    device: str = "cpu",
) -> nn.Module:
    """Load weights that `train` wrote and return the model on `device`, in eval mode. Nothing in the file is run.

    Raises:
        ArtifactError: the file is damaged, or of another network.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except Exception as error:  # torch meets damaged files with errors of a dozen kinds
        what = f"checkpoint {path} cannot be loaded ({error})."
        fix = "Delete its folder and run the command again."
        raise ArtifactError(f"{what} {fix}") from error
    return model.to(torch.device(device)).eval()
