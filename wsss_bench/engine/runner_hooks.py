"""mmengine hooks and the optimiser constructor that our trainings share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmseg.registry import HOOKS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from torch import nn

from wsss_bench.rng import derive


@HOOKS.register_module()
class SeedEveryIteration(Hook):
    """Seeds torch before each iteration from (seed, name, iteration).

    So a resumed training draws what an undisturbed one would.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int, name: str) -> None:
        self.seed, self.name = seed, name

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Seed CPU and GPU generators."""
        torch.manual_seed(derive(self.seed, self.name, runner.iter) % 2**63)


@HOOKS.register_module()
class ReportProgress(Hook):
    """Passes iteration counts to the harness and stops at the first loss that is not finite."""

    priority = "LOW"

    def __init__(self, report: Callable[[str, int, int], None], name: str) -> None:
        self.report, self.name = report, name

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Report ``iteration/total`` and check the loss."""
        loss = float(torch.as_tensor((outputs or {}).get("loss", 0.0)).detach())
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"{self.name}: the loss is {loss} at iteration {runner.iter + 1}. "
                "Lower the learning rate (lr=…) or check the labels."
            )
        self.report(self.name, runner.iter + 1, runner.max_iters)


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
        options = self.paramwise_cfg
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            is_bias = name.endswith(".bias") and parameter.ndim == 1
            scale = (
                options.get("new_mult", 1.0)
                if name.startswith(tuple(options.get("new", ())))
                else 1.0
            )
            scale *= options.get("bias_mult", 1.0) if is_bias else 1.0
            for start, factor in options.get("fast", {}).items():
                scale *= factor if name.startswith(start) else 1.0
            decay = 0.0 if is_bias and not options.get("bias_decay", True) else 1.0
            groups.setdefault((scale, decay), []).append(parameter)
        for (scale, decay), members in groups.items():
            params.append(
                {
                    "params": members,
                    "lr": self.base_lr * scale,
                    "weight_decay": (self.base_wd or 0.0) * decay,
                }
            )


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(OptimWrapper):
    """bfloat16 autocast on a CPU; bfloat16 has float32's range, so no gradient scaling is needed."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass under autocast."""
        with super().optim_context(model), torch.autocast("cpu", torch.bfloat16):
            yield
