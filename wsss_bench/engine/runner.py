"""mmengine's `Runner`, set up for our trainings: checkpoints, resume, per-iteration seeding, progress."""

from __future__ import annotations

import logging
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from wsss_bench.engine.logged import LossTable, interval
from wsss_bench.engine.precision import check_device
from wsss_bench.engine.ranks import world
from wsss_bench.engine.runner_hooks import (
    AcrossRanks,
    KeepLosses,
    ReportProgress,
    SeedEveryIteration,
)
from wsss_bench.errors import RecipeError
from wsss_bench.rng import derive

if TYPE_CHECKING:
    from wsss_bench.contract.context import StageContext


def runner_of(
    config: Any,
    batches: DataLoader[Any],
    ctx: StageContext,
    name: str,
    work: Path,
    losses: Path | None,
    checkpoint: Path | None = None,
) -> Runner:
    """Return the runner of a training, set to resume where there is a `checkpoint`.

    Args:
        config: as in `engine.training.train`.
        batches: an endless loader.
        ctx: gives seed, device, progress, visualizers and their folder.
        name: tells the trainings of a stage apart.
        work: takes the checkpoints and logs.
        losses: the table that losses and learning rates are kept in, None for none.
        checkpoint: what `newest_checkpoint` gave.
    """
    model: nn.Module = config["model"]
    device = torch.device(ctx.device)
    every = interval(config["train_cfg"]["max_iters"])
    hooks = [
        SeedEveryIteration(ctx.seed, name),
        ReportProgress(ctx.progress, name),
    ]
    if losses is not None:
        hooks.append(KeepLosses(LossTable(losses), every))
    if world() > 1:
        hooks.append(AcrossRanks(model, name))
    # mmengine finds its process-wide instances by name, so the name must not repeat in a process.
    unique = f"{name}-{derive(str(work)) % 10**10}"
    runner = Runner(
        model=shared(model, device),
        work_dir=str(work),
        train_dataloader=batches,
        train_cfg=dict(config["train_cfg"]),
        optim_wrapper=_optim_wrapper(config, ctx.device),
        param_scheduler=[dict(s) for s in config["param_scheduler"]] or None,
        default_hooks=_hooks(config),
        custom_hooks=hooks,
        visualizer=_visualizer(ctx, unique, name),
        log_level="ERROR",
        load_from=None if checkpoint is None else str(checkpoint),
        resume=checkpoint is not None,
        randomness={"seed": derive(ctx.seed, name, "global") % 2**31},
        experiment_name=unique,
        default_scope="mmseg",
    )
    # Runner moves the model to the best device it finds; the user's --device has the last word.
    model.to(device)
    return runner


def _hooks(config: Any) -> dict[str, Any]:
    """Return the default hooks, with at least four checkpoints in a short training."""
    hooks = dict(config["default_hooks"])
    checkpoint = dict(hooks["checkpoint"])
    total = config["train_cfg"]["max_iters"]
    quarter = math.ceil(total / 4)
    apart = min(int(checkpoint["interval"]), quarter)
    checkpoint["interval"] = max(1, apart)
    hooks["checkpoint"] = checkpoint
    # As often as the table of losses has rows: the curves of a short training are more than a point too.
    hooks["logger"] = {**hooks["logger"], "interval": interval(total)}
    return hooks


def _optim_wrapper(config: Any, device: str) -> dict[str, Any]:
    """Return the configured wrapper; on a CPU, which mmengine's AMP refuses, bfloat16 runs through our own."""
    wrapper = dict(config["optim_wrapper"])
    if wrapper["type"] == "AmpOptimWrapper" and device == "cpu":
        check_device(wrapper.pop("dtype"), "amp", device)
        wrapper["type"] = "CpuAmpOptimWrapper"
    return wrapper


def _visualizer(ctx: StageContext, unique: str, name: str) -> dict[str, Any]:
    kinds = {
        "local": "LocalVisBackend",
        "tensorboard": "TensorboardVisBackend",
        "wandb": "WandbVisBackend",
        "mlflow": "MLflowVisBackend",
    }
    backends = [{"type": kinds[wanted]} for wanted in ctx.visualizers]
    config = {"type": "Visualizer", "name": unique, "vis_backends": backends}
    # The table of losses has all that ``local`` writes; that alone may go with the checkpoints.
    if ctx.logs is not None and set(ctx.visualizers) - {"local"}:
        config["save_dir"] = str(ctx.logs / name)
    return config


def shared(model: nn.Module, device: torch.device) -> nn.Module:
    """Return `model` on `device`, such that its gradients are means over all processes that share the training.

    Raises:
        RecipeError: the model has a training step of its own, of which nothing is known.
    """
    model.to(device)
    if world() == 1:
        return model
    if getattr(type(model), "train_step", None) is not BaseModel.train_step:
        kind = type(model).__name__
        what = f"{kind} has a train_step of its own, which processes cannot share."
        raise RecipeError(f"{what} Put it into forward, or train on one GPU.")
    places = [device] if device.type == "cuda" else None
    with warnings.catch_warnings():
        # torch 2.14 has a new name for an old argument, which older ones do not know.
        warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
        return MMDistributedDataParallel(
            model,
            device_ids=places,
            # A buffer that moves apart is refused, not overwritten.
            broadcast_buffers=False,
            # Any part may be left out of a loss, in some iterations only.
            find_unused_parameters=True,
        )


def newest_checkpoint(work: Path) -> Path | None:
    """Return the newest checkpoint in a folder that can be read, None where there is none.

    Unreadable ones (a kill in the middle of a write) are deleted.
    """
    newest_first = sorted(work.glob("iter_*.pth"), key=_step, reverse=True)
    for checkpoint in newest_first:
        try:
            # mmengine's checkpoints hold more than tensors, and this run wrote them itself.
            torch.load(checkpoint, map_location="cpu", weights_only=False)
        except Exception:  # torch meets damaged files with errors of a dozen kinds
            checkpoint.unlink()
            continue
        return checkpoint
    return None


def _step(checkpoint: Path) -> int:
    digits = checkpoint.stem.rpartition("_")[2]
    return int(digits) if digits.isdigit() else -1


def release(runner: Runner) -> None:
    """Close log handlers and forget mmengine's process-wide instances of this run.

    So the next training in this process starts clean.
    """
    runner.visualizer.close()
    for kind in (MMLogger, MessageHub):
        kind._instance_dict.pop(runner.experiment_name, None)
    # mmengine adds a time stamp to the experiment's name, not to the visualizer's.
    Visualizer._instance_dict.pop(runner.visualizer.instance_name, None)
    for handler in list(runner.logger.handlers):
        if isinstance(handler, logging.FileHandler):
            handler.close()
            runner.logger.removeHandler(handler)
