"""Any network of timm as a backbone: ``timm/NAME``, a convolutional one or a vision transformer.

timm is an optional extra. Its own configuration says how images are normalised; a transformer gets images at a multiple
of its patch size, so that its grid of tokens covers the photograph exactly.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.engine.backbones.staged import Colour, read_weights
from wsss_bench.errors import ArtifactError, RecipeError, did_you_mean

PREFIX = "timm/"
"""How names of timm's networks begin in recipes."""

INSTALL = "Install it: pip install 'wsss-bench[timm]'"

OWN_WEIGHTS = ("imagenet", "timm")
"""Values of ``weights`` that leave the loading to timm."""

LAST_BLOCKS = 4
"""Of how many blocks, the last ones, a transformer's tokens are returned."""


def library() -> Any:
    """Return the module; raises `RecipeError` with the line that installs it."""
    try:
        import timm
    except ImportError:
        raise RecipeError(f"a backbone {PREFIX}… needs timm. {INSTALL}") from None
    return timm


@cache
def pretrained_config(name: str) -> Any:
    """Return timm's own configuration of a network, by the name after ``timm/``.

    Raises:
        RecipeError: timm is not installed, or knows no such network.
    """
    timm = library()
    # A tag after a dot names one of several sets of weights; all belong to the network before it.
    plain = name.partition(".")[0]
    if not timm.is_model(plain):
        hint = did_you_mean(plain, timm.list_models())
        raise RecipeError(f"timm knows no network {name!r}.{hint}")
    return timm.get_pretrained_cfg(name)


def normalization(name: str) -> tuple[Colour, Colour]:
    """Return mean and standard deviation per channel on the 0..255 scale, as timm's configuration gives them."""
    config = pretrained_config(name)
    return _in_bytes(config.mean), _in_bytes(config.std)


def _in_bytes(colour: Colour) -> Colour:
    """Return a colour on the 0..255 scale; timm counts from 0 to 1."""
    red, green, blue = colour
    return 255 * red, 255 * green, 255 * blue


@MODELS.register_module()
class TimmBackbone(nn.Module):
    """A network of timm whose stages' outputs are returned, finest first.

    Args:
        model: the name after ``timm/``.
        weights: None (random), ``"imagenet"`` or ``"timm"`` (timm's own loader, which fetches them on first use), or
            the path of a state dict with timm's keys (``.pth``, read with ``weights_only=True``, or ``.safetensors``).
        output_stride: of a convolutional network that offers a choice: 8, 16 or 32; None leaves it as it is.
        frozen_stages: how many leading stages do not learn.
        bn_eval: keep batch norms on their running statistics.

    Attributes:
        channels: of the outputs.
        strides: pixels per cell of the outputs.
        patch: pixels per side of a transformer's patch, 0 for a convolutional network.
        depth: 1: the network runs as a whole.
    """

    depth = 1

    def __init__(
        self,
        model: str,
        weights: str | None = None,
        output_stride: int | None = None,
        frozen_stages: int = 0,
        bn_eval: bool = False,
    ) -> None:
        super().__init__()
        pretrained_config(model)
        net, self.patch = _create(model, weights in OWN_WEIGHTS, output_stride)
        if weights is not None and weights not in OWN_WEIGHTS:
            _load(net, Path(weights), f"{PREFIX}{model}")
        self.net: Any = _with_stages(net, model, bool(self.patch))
        self._stages = self.net.feature_info
        self.channels = tuple(self._stages.channels())
        self.strides = tuple(self._stages.reduction())
        self.frozen_stages, self.bn_eval = frozen_stages, bn_eval
        self._freeze()

    def _freeze(self) -> None:
        """Stop the parameters of the leading stages from learning.

        Parameters are registered in the order in which they run, so the leading ones go up to the last of that stage.
        """
        if not self.frozen_stages:
            return
        modules = list(self._stages.module_name())
        last = modules[min(self.frozen_stages, len(modules)) - 1]
        names = [name for name, _ in self.net.named_parameters()]
        place = f".{last}."
        inside = [index for index, name in enumerate(names) if place in f".{name}"]
        if self.frozen_stages >= len(modules):
            inside = [len(names) - 1]
        for parameter in list(self.net.parameters())[: max(inside, default=-1) + 1]:
            parameter.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the stages' outputs ``[B, k, h, w]`` for normalised images ``float [B, 3, H, W]`` of any size."""
        if self.patch:
            x = self._fitted(x)
        return tuple(self.net(x))

    def _fitted(self, x: Tensor) -> Tensor:
        """Return the images at the nearest size that whole patches cover."""
        height, width = x.shape[2:]
        rows = max(1, round(height / self.patch))
        columns = max(1, round(width / self.patch))
        size = (rows * self.patch, columns * self.patch)
        if size == (height, width):
            return x
        return F.interpolate(x, size, mode="bilinear", align_corners=False)

    def run(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Return `x`, or the last feature map; raises `RecipeError` for anything between."""
        if start == stop:
            return x
        if (start, stop) != (0, self.depth):
            what = "features can be looked at and mixed before the network or after it"
            raise RecipeError(f"{PREFIX}…: {what}; use layers 0 or {self.depth}.")
        return self.forward(x)[-1]

    def train(self, mode: bool = True) -> TimmBackbone:
        """Like `nn.Module.train`, but with ``bn_eval`` batch norms stay in eval mode."""
        super().train(mode)
        if mode and self.bn_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


def _create(model: str, pretrained: bool, stride: int | None) -> tuple[nn.Module, int]:
    """Return the network without its classifier, and its patch size (0 where it has no patches)."""
    timm = library()
    options = {} if stride is None else {"output_stride": stride}
    try:
        # Only transformers take it: position embeddings are then interpolated to the grid at hand.
        net = timm.create_model(
            model, pretrained=pretrained, num_classes=0, dynamic_img_size=True
        )
        return net, int(net.patch_embed.patch_size[0])
    except TypeError:
        pass
    try:
        return timm.create_model(
            model, pretrained=pretrained, num_classes=0, **options
        ), 0
    except (TypeError, NotImplementedError) as error:
        what = f"output_stride={stride} is not offered ({error})"
        raise RecipeError(f"{PREFIX}{model}: {what}; leave it out.") from error


def _with_stages(net: Any, model: str, transformer: bool) -> nn.Module:
    """Wrap a network so that it returns the outputs of its stages, or of a transformer's last blocks."""
    from timm.models._features import FeatureGetterNet

    if not hasattr(net, "forward_intermediates"):
        what = "it does not return the outputs of its stages"
        raise RecipeError(f"{PREFIX}{model}: {what}. Choose another network of timm.")
    if transformer:
        count = min(LAST_BLOCKS, len(net.blocks))
        # The classifier sees tokens after the last norm, so the maps are made of those.
        return FeatureGetterNet(net, out_indices=count, norm=True)
    return FeatureGetterNet(net, out_indices=len(net.feature_info))


def _load(net: nn.Module, path: Path, who: str) -> None:
    """Load a state dict with timm's keys; a classifier's tensors may be there and are left out.

    Raises:
        ArtifactError: the file is missing, no state dict, or of another architecture.
    """
    state = (
        _read_safetensors(path, who)
        if path.suffix == ".safetensors"
        else read_weights(path, who)
    )
    # Released checkpoints wrap the state dict under either name.
    for wrapper in ("state_dict", "model"):
        state = state.get(wrapper, state)
    wanted = net.state_dict()
    matching, missing = {}, []
    for name, tensor in wanted.items():
        given = state.get(name)
        if isinstance(given, Tensor) and given.shape == tensor.shape:
            matching[name] = given
        elif not name.endswith("num_batches_tracked"):
            missing.append(name)
    if missing:
        what = f"{path} lacks {len(missing)} of {len(wanted)} tensors (first: {missing[0]})."
        fix = "It must be a state dict with timm's keys of the same network."
        raise ArtifactError(f"{who}: {what} {fix}")
    net.load_state_dict(matching, strict=False)


def _read_safetensors(path: Path, who: str) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{who}: {path} cannot be loaded ({error}).") from error
