"""mmengine's `Runner`, set up for our trainings: checkpoints, resume, per-iteration seeding, progress."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from wsss_bench.engine.logged import LossTable, interval
from wsss_bench.engine.precision import check_device
from wsss_bench.engine.runner_hooks import (
    KeepLosses,
    ReportProgress,
    SeedEveryIteration,
)
from wsss_bench.rng import derive

if TYPE_CHECKING:
    from wsss_bench.contract.context import StageContext


def runner_of(
    config: Any,
    batches: DataLoader[Any],
    ctx: StageContext,
    name: str,
    work: Path,
    losses: Path,
) -> Runner:
    """Return the runner of a training, set to resume where the folder `work` holds a checkpoint.

    Args:
        config: as in `engine.training.train`.
        batches: an endless loader.
        ctx: gives seed, device, progress, visualizers and their folder.
        name: tells the trainings of a stage apart.
        work: takes the checkpoints and logs.
        losses: the table that losses and learning rates are kept in.
    """
    model: nn.Module = config["model"]
    device = torch.device(ctx.device)
    every = interval(config["train_cfg"]["max_iters"])
    hooks = [
        SeedEveryIteration(ctx.seed, name),
        ReportProgress(ctx.progress, name),
        KeepLosses(LossTable(losses), every),
    ]
    # mmengine finds its process-wide instances by name, so the name must not repeat in a process.
    unique = f"{name}-{derive(str(work)) % 10**10}"
    model.to(device)
    runner = Runner(
        model=model,
        work_dir=str(work),
        train_dataloader=batches,
        train_cfg=dict(config["train_cfg"]),
        optim_wrapper=_optim_wrapper(config, ctx.device),
        param_scheduler=[dict(s) for s in config["param_scheduler"]] or None,
        default_hooks=_hooks(config),
        custom_hooks=hooks,
        visualizer=_visualizer(ctx, unique, name),
        log_level="ERROR",
        resume=_resumable(work),
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


def _resumable(work: Path) -> bool:
    """Return whether a checkpoint is there that can be read; mmengine's pointer then leads to the newest such one.

    Unreadable ones (a kill in the middle of a write) are deleted. The pointer is written anew: it may name a
    checkpoint that is gone, an older one than there is, or a place the folder has moved from since.
    """
    pointer = work / "last_checkpoint"
    newest_first = sorted(work.glob("iter_*.pth"), key=_step, reverse=True)
    for checkpoint in newest_first:
        try:
            # mmengine's checkpoints hold more than tensors, and this run wrote them itself.
            torch.load(checkpoint, map_location="cpu", weights_only=False)
        except Exception:  # torch meets damaged files with errors of a dozen kinds
            checkpoint.unlink()
            continue
        pointer.write_text(str(checkpoint))
        return True
    pointer.unlink(missing_ok=True)
    return False


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
