"""A backbone of five stages, and the strides, dilations and weights that WSSS papers give it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wsss_bench.errors import ArtifactError, RecipeError

Colour = tuple[float, float, float]
"""One number per channel, red first."""

#: How pixel values are normalised (mean, std on the 0..255 scale); a property of the pre-trained weights.
NORMALIZATION: dict[str, tuple[Colour, Colour]] = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "tf": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
}


COUNTER = "num_batches_tracked"
"""How the names of batch norms' counters end."""


class StagedBackbone(nn.Module):
    """Five stages run one after another.

    Args:
        stages: the stages, finest first.
        channels: their output channels.
        frozen_stages: how many leading stages neither learn nor pass gradients (IRN: stem and layer2's output
            detached).
        bn_eval: keep every batch norm on its running statistics, as IRN and DeepLab do (affine parameters still learn).
    """

    def __init__(
        self,
        stages: list[nn.Module],
        channels: tuple[int, ...],
        frozen_stages: int,
        bn_eval: bool,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels
        self.frozen_stages = frozen_stages
        self.bn_eval = bn_eval
        for parameter in self.stages[:frozen_stages].parameters():
            parameter.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of all five stages."""
        outputs = []
        for index in range(len(self.stages)):
            x = self.run(x, index, index + 1)
            outputs.append(x)
        return tuple(outputs)

    @property
    def depth(self) -> int:
        """How many stages there are."""
        return len(self.stages)

    def run(
        self,
        x: Tensor,
        start: int,
        stop: int,
    ) -> Tensor:
        """Return what the stages from number `start` up to, but without, `stop` make of `x`."""
        wanted = torch.is_grad_enabled()
        for index in range(start, stop):
            # Frozen stages keep nothing for a backward pass, which saves memory.
            learning = wanted and index >= self.frozen_stages
            with torch.set_grad_enabled(learning):
                x = self.stages[index](x)
        return x

    def train(self, mode: bool = True) -> StagedBackbone:
        """Like `nn.Module.train`, but frozen stages and (with ``bn_eval``) batch norms stay in eval mode."""
        super().train(mode)
        if not mode:
            return self
        self.stages[: self.frozen_stages].eval()
        if self.bn_eval:
            still(self.modules())
        return self


def still(modules: Iterable[nn.Module]) -> None:
    """Keep the batch norms among `modules` on their running statistics; their scale and shift learn all the same."""
    for module in modules:
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def load_weights(
    model: nn.Module,
    weights: str | None,
    enum: Any,
    who: str,
) -> None:
    """Load ImageNet weights into a torchvision model.

    Args:
        model: takes the tensors; a classifier's own may be missing.
        weights: None (random), ``"imagenet"`` (fetched through torchvision on first use), or the path of a state dict
            in torchvision's key layout, loaded with ``weights_only=True``.
        enum: torchvision's entry for the weights.
        who: how messages begin.

    Raises:
        ArtifactError: the file is missing, no state dict, or of another architecture.
    """
    if weights is None:
        return
    if weights == "imagenet":
        state = enum.get_state_dict(progress=True, check_hash=True)
    else:
        state = read_weights(Path(weights), who)
        state = state.get("state_dict", state)
    fix = (
        "It must be a state dict in torchvision's key layout of the same architecture."
    )
    found = matching(model, state, f"{who}: {weights}", fix, ("classifier", "fc."))
    model.load_state_dict(found, strict=False)


def matching(
    model: nn.Module,
    state: Mapping[str, Any],
    who: str,
    fix: str,
    replaced: tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """Return the tensors of `state` that `model` has, by name.

    Args:
        model: what is to be loaded.
        state: a state dict; it may hold more.
        who: how the message begins: the network and the file.
        fix: what the message ends in.
        replaced: prefixes of tensors that may be missing or of another shape: a classifier's own.

    Raises:
        ArtifactError: one of the model's tensors is missing, or of another shape.
    """
    wanted = model.state_dict()
    found, missing = {}, []
    for name, tensor in wanted.items():
        given = state.get(name)
        if isinstance(given, Tensor) and given.shape == tensor.shape:
            found[name] = given
            continue
        # A counter of batches is no weight, and older files lack it.
        counter = name.endswith(COUNTER)
        if not counter and not name.startswith(replaced):
            missing.append(name)
    if missing:
        what = f"lacks {len(missing)} of {len(wanted)} tensors (first: {missing[0]})."
        raise ArtifactError(f"{who} {what} {fix}")
    return found


def read_weights(path: Path, who: str) -> dict[str, Any]:
    """Return the content of a file of weights; nothing in it is run. Raises `ArtifactError` beginning with `who`."""
    if not path.is_file():
        fix = "Use weights=imagenet, weights=None or an existing path."
        raise ArtifactError(f"{who}: weights {str(path)!r} is no file. {fix}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        what = f"{path} cannot be loaded as plain weights ({error})."
        raise ArtifactError(f"{who}: {what}") from error
    return state if isinstance(state, dict) else {}


def _convs(module: nn.Module) -> Iterator[nn.Conv2d]:
    return (m for m in module.modules() if isinstance(m, nn.Conv2d))


def dilate(
    stage: nn.Module,
    factor: int,
    *,
    first: int = 1,
) -> None:
    """Take a stage's stride away; its 3×3 convolutions after the strided one see `factor` times farther.

    With ``factor=1`` the stride is dropped and nothing is dilated, as IRN's ResNet-50 does.
    """
    rate = first
    for conv in _convs(stage):
        strided = conv.stride[0] == 2
        if strided:
            conv.stride = (1, 1)
        # A 1×1 convolution beside it, of a shortcut, reads one cell at any rate.
        if conv.kernel_size[0] != 3:
            continue
        conv.dilation = (rate, rate)
        conv.padding = (rate, rate)
        if strided:
            # From here on cells lie closer than they did in pre-training.
            rate = factor


def _set_stride(
    fourth: nn.Module,
    fifth: nn.Module,
    output_stride: int,
    dilated: bool,
    who: str,
) -> None:
    """Bring the last two stages to `output_stride` 32, 16 or 8.

    Each stage is touched once, while it still has its stride.
    """
    if output_stride not in (8, 16, 32):
        what = f"output_stride={output_stride} is not offered"
        raise RecipeError(f"{who}: {what}; use 8, 16 or 32.")
    once, twice = (2, 4) if dilated else (1, 1)
    if output_stride == 16:
        dilate(fifth, once)
    elif output_stride == 8:
        dilate(fourth, once)
        # Before the first convolution of the fifth stage one stride is gone, after it two.
        dilate(fifth, twice, first=once)
