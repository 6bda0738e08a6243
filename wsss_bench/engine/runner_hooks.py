"""mmengine hooks and the optimiser constructor that our trainings share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmseg.registry import HOOKS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from torch import nn

from wsss_bench.engine.logged import LossTable
from wsss_bench.engine.ranks import over_ranks, rank
from wsss_bench.errors import RecipeError
from wsss_bench.rng import derive

CLOSE = 1e-4
"""By which share of its largest value a tensor may differ between processes."""


@HOOKS.register_module()
class SeedEveryIteration(Hook):
    """Seeds torch before each iteration from (seed, name, iteration).

    So a resumed training draws what an undisturbed one would. Of several processes that share it, each has draws of
    its own; the first one has those of a process alone.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int, name: str) -> None:
        self.seed, self.name = seed, name

    def before_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
    ) -> None:
        """Seed CPU and GPU generators."""
        # The same dropout on every share of a batch would be half as random.
        share = ("rank", rank()) if rank() else ()
        seed = derive(self.seed, self.name, runner.iter, *share)
        torch.manual_seed(seed % 2**63)


@HOOKS.register_module()
class AcrossRanks(Hook):
    """Makes losses those of the whole batch, and looks once whether all processes still have the same network."""

    # Before mmengine notes the losses.
    priority = "HIGHEST"

    def __init__(self, model: nn.Module, name: str) -> None:
        self.model, self.name = model, name
        self._looked = False

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Replace every loss by its mean over all processes.

        Raises:
            RecipeError: a statistic of the network has moved apart: what is kept would depend on who keeps it.
        """
        if not self._looked:
            self._looked = True
            for name in moved_apart(self.model):
                what = f"{name} has other values in each process after a step."
                fix = "Take its mean with `over_ranks`, or train on one GPU."
                raise RecipeError(f"{self.name}: {what} {fix}")
        if not outputs:
            return
        values = [torch.as_tensor(value).float().mean() for value in outputs.values()]
        # One message for all of them, whose bytes are few.
        together = over_ranks(torch.stack(values))
        outputs.update(zip(outputs, together, strict=True))


def moved_apart(model: nn.Module) -> list[str]:
    """Return the names of the tensors, of those no gradient moves, that processes do not agree on but for rounding."""
    fixed = [
        (name, one) for name, one in model.named_parameters() if not one.requires_grad
    ]
    found = []
    for name, tensor in [*model.named_buffers(), *fixed]:
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        own = tensor.detach().float().flatten()
        # The largest and, turned round, the smallest value of each element.
        ends = torch.stack([own, -own])
        dist.all_reduce(ends, op=dist.ReduceOp.MAX)
        apart = float((ends[0] + ends[1]).max())
        if apart > CLOSE * float(ends.abs().max()):
            found.append(name)
    return found


@HOOKS.register_module()
class ReportProgress(Hook):
    """Passes iteration counts to the harness and stops at the first loss that is not finite."""

    priority = "LOW"

    def __init__(self, report: Callable[[str, int, int], None], name: str) -> None:
        self.report, self.name = report, name

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Report ``iteration/total`` and check the loss."""
        # mmengine counts from 0, and up only after its hooks.
        done = runner.iter + 1
        found = (outputs or {}).get("loss", 0.0)
        loss = float(torch.as_tensor(found).detach())
        # At once: later checkpoints would hold nothing but NaN, and a resumed training would go on from them.
        if not math.isfinite(loss):
            what = f"the loss is {loss} at iteration {done}."
            fix = "Lower the learning rate (lr=…) or check the labels."
            raise FloatingPointError(f"{self.name}: {what} {fix}")
        self.report(self.name, done, runner.max_iters)


@HOOKS.register_module()
class KeepLosses(Hook):
    """Keeps learning rate and losses in a table, as means over the iterations since the row before.

    The learning rate is that of the first group of parameters, usually the backbone's.
    """

    # After the losses are known to mmengine, and before the checkpoint: a resumed training has all rows up to there.
    priority = "LOW"

    def __init__(self, table: LossTable, every: int) -> None:
        self.table, self.every = table, every

    def before_train(self, runner: Any) -> None:
        """Drop what was written after the checkpoint that the training goes on from."""
        self.table.resume(runner.iter)

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Write a row where it is due; the last iteration always has one."""
        done = runner.iter + 1
        since = done % self.every or self.every
        if since != self.every and done != runner.max_iters:
            return
        known = runner.message_hub.log_scalars
        values = {}
        if "train/lr" in known:
            values["lr"] = known["train/lr"].current()
        for name in outputs or {}:
            # mmengine's own history: a checkpoint holds it, so that a mean reaches back beyond an interruption.
            values[name] = known[f"train/{name}"].mean(since)
        self.table.add(done, {name: float(value) for name, value in values.items()})


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimizer(DefaultOptimWrapperConstructor):
    """Parameter groups by ``paramwise_cfg``: new layers learn faster, biases faster and without decay.

    Keys: ``new`` (prefixes of freshly initialised modules), ``new_mult``, ``bias_mult``, ``bias_decay`` (bool),
    ``fast`` (prefix → extra multiplier). Caffe's 1/2/10/20 scheme is ``new_mult=10, bias_mult=2,
    bias_decay=False``.
    """

    def add_params(
        self,
        params: list[dict[str, Any]],
        module: nn.Module,
        prefix: str = "",
        **kwargs: Any,
    ) -> None:
        """Group all learnable parameters of `module` by (multiplier, decay)."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                key = self._factors(name, parameter)
                groups.setdefault(key, []).append(parameter)
        # A group for each pair, not for each parameter: the optimiser's step is faster so.
        for (scale, decay), members in groups.items():
            group = {
                "params": members,
                "lr": self.base_lr * scale,
                "weight_decay": (self.base_wd or 0.0) * decay,
            }
            params.append(group)

    def _factors(self, name: str, parameter: nn.Parameter) -> tuple[float, float]:
        """Return by what a parameter's learning rate and weight decay are multiplied."""
        options = self.paramwise_cfg
        scale, decay = 1.0, 1.0
        if name.startswith(tuple(options.get("new", ()))):
            scale = options.get("new_mult", 1.0)
        # A head may call a whole matrix its bias; Caffe's factors are for vectors.
        if name.endswith(".bias") and parameter.ndim == 1:
            scale *= options.get("bias_mult", 1.0)
            decay = 1.0 if options.get("bias_decay", True) else 0.0
        for start, factor in options.get("fast", {}).items():
            if name.startswith(start):
                scale *= factor
        return scale, decay


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(OptimWrapper):
    """bfloat16 autocast on a CPU; bfloat16 has float32's range, so no gradient scaling is needed."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass under autocast."""
        with super().optim_context(model), torch.autocast("cpu", torch.bfloat16):
            yield
