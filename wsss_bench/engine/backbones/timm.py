"""Any network of timm as a backbone: ``timm/NAME``, a convolutional one or a vision transformer.

timm is an optional extra. Its own configuration says how images are normalised; a transformer gets images at a
multiple of its patch size, so that its grid of tokens covers the photograph exactly.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.engine.backbones.staged import (
    COUNTER,
    Colour,
    matching,
    read_weights,
    still,
)
from wsss_bench.errors import ArtifactError, RecipeError, did_you_mean
from wsss_bench.io.installed import installed_file, is_package, package_of

PREFIX = "timm/"
"""How names of timm's networks begin in recipes."""

INSTALL = "Install it: pip install 'wsss-bench[timm]'"

OWN_WEIGHTS = ("imagenet", "timm")
"""Values of ``weights`` that leave the loading to timm."""

LAST_BLOCKS = 4
"""Of how many blocks, the last ones, a transformer's tokens are returned."""

PROBE = (193, 161)
"""An image size that few networks were made for: neither square nor a multiple of a stride."""


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
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise RecipeError(f"timm knows no weights {name!r} ({error}).") from error


def normalization(name: str) -> tuple[Colour, Colour]:
    """Return mean and standard deviation per channel on the 0..255 scale, as timm's configuration gives them."""
    config = pretrained_config(name)
    return _in_bytes(config.mean), _in_bytes(config.std)


def _in_bytes(colour: Colour) -> Colour:
    """Return a colour on the 0..255 scale; timm counts from 0 to 1."""
    red, green, blue = colour
    return 255 * red, 255 * green, 255 * blue


@cache
def described(name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return channels and strides of the outputs of a network, which is built and tried for the purpose.

    Raises:
        RecipeError: it cannot be a backbone here: its images must have a size of its own, say.
    """
    # Building draws weights. A first call must not leave the random state otherwise than a later, remembered one.
    with torch.random.fork_rng(devices=[]):
        net = TimmBackbone(name).eval()
    try:
        with torch.no_grad():
            outputs = net(torch.zeros(1, 3, *PROBE))
    except (AssertionError, RuntimeError, ValueError) as error:
        what = f"it does not take images of any size ({error})"
        raise RecipeError(f"{PREFIX}{name}: {what}. Choose another network.") from error
    found = tuple(output.shape[1] for output in outputs)
    if found != net.channels:
        what = f"its outputs have {found} channels, where timm says {net.channels}"
        raise RecipeError(f"{PREFIX}{name}: {what}. Choose another network.")
    return net.channels, net.strides


@MODELS.register_module()
class TimmBackbone(nn.Module):
    """A network of timm whose stages' outputs are returned, finest first.

    Args:
        model: the name after ``timm/``.
        weights: None (random), ``"imagenet"`` or ``"timm"`` (timm's own loader, which fetches them on first use),
            ``"pip:NAME"`` (the file in an installed package, see `wsss_bench.io.installed`), or the path of a state
            dict with timm's keys or, of an EfficientNet, with those of its PyTorch port (``.pth``, read with
            ``weights_only=True``, or ``.safetensors``).
        output_stride: of a convolutional network that offers a choice: 8, 16 or 32; None leaves it as it is.
        frozen_stages: how many leading stages do not learn. A transformer's stages are its last four blocks; the
            first of them counts with all that comes before it.
        bn_eval: keep batch norms on their running statistics.

    Attributes:
        channels: of the outputs.
        strides: pixels per cell of the outputs.
        patch: pixels per side of a transformer's patch, 0 for a convolutional network.
        depth: 1: the network runs as a whole.

    Raises:
        RecipeError: there is no such network, or it does not offer what is asked of it.
        ArtifactError: the weights cannot be loaded.
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
        net = _create(model, weights in OWN_WEIGHTS, output_stride)
        if weights is not None and weights not in OWN_WEIGHTS:
            _load(net, _file(weights, model), f"{PREFIX}{model}")
        self.net = _with_stages(net, model)
        self.channels = tuple(self.net.feature_info.channels())
        self.strides = tuple(self.net.feature_info.reduction())
        self.patch = _patch_of(net, self.strides[0])
        self.frozen_stages, self.bn_eval = frozen_stages, bn_eval
        self._frozen = self._leading(frozen_stages)
        for module in self._frozen:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)

    def _leading(self, count: int) -> list[nn.Module]:
        """Return all modules up to the end of stage number `count`, in the order in which they are registered."""
        if not count:
            return []
        names = [name for name, _ in self.net.named_modules()]
        modules = list(self.net.modules())
        stages = list(self.net.feature_info.module_name())
        if count >= len(stages):
            return modules
        # The wrapper calls the network ``model``.
        place = f"model.{stages[count - 1]}"
        last = 0
        for index, name in enumerate(names):
            if f"{name}.".startswith(f"{place}."):
                last = index
        return modules[: last + 1]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the stages' outputs ``[B, k, h, w]`` for normalised images ``float [B, 3, H, W]`` of any size."""
        if self.patch:
            x = self._fitted(x)
        return tuple(self.net(x))

    def _fitted(self, x: Tensor) -> Tensor:
        """Return the images at the nearest size that whole patches cover."""
        height, width = x.shape[2:]
        # Resized, not padded: padding would move the grid of tokens against the photograph.
        rows = max(1, round(height / self.patch))
        columns = max(1, round(width / self.patch))
        size = (rows * self.patch, columns * self.patch)
        if size == (height, width):
            return x
        return F.interpolate(x, size, mode="bilinear", align_corners=False)

    def run(
        self,
        x: Tensor,
        start: int,
        stop: int,
    ) -> Tensor:
        """Return `x`, or the last feature map; raises `RecipeError` for anything between."""
        if start == stop:
            return x
        if (start, stop) != (0, self.depth):
            what = "features can be looked at and mixed before the network or after it"
            raise RecipeError(f"{PREFIX}…: {what}; use layers 0 or {self.depth}.")
        return self.forward(x)[-1]

    def train(self, mode: bool = True) -> TimmBackbone:
        """Like `nn.Module.train`, but batch norms of frozen stages, or with ``bn_eval`` all, stay in eval mode."""
        super().train(mode)
        if not mode:
            return self
        still(self.modules() if self.bn_eval else self._frozen)
        return self


def _create(
    model: str,
    pretrained: bool,
    stride: int | None,
) -> Any:
    """Return the network without its classifier."""
    timm = library()
    options: dict[str, Any] = {"num_classes": 0, "dynamic_img_size": True}
    try:
        # Only transformers take it: position embeddings are then interpolated to the grid at hand.
        net = timm.create_model(model, **options)
    except TypeError:
        del options["dynamic_img_size"]
        if stride is not None:
            options["output_stride"] = stride
        net = _convolutional(model, options)
    if stride is not None and "output_stride" not in options:
        what = f"output_stride={stride} is not offered, its patches decide"
        raise RecipeError(f"{PREFIX}{model}: {what}; leave it out.")
    if pretrained:
        net = _pretrained(model, options)
    return net


def _patch_of(net: Any, stride: int) -> int:
    side = getattr(getattr(net, "patch_embed", None), "patch_size", 0)
    # Square ones are told as a pair by most networks, and as one number by some.
    side = int(side[0] if isinstance(side, tuple) else side)
    # Patches that overlap are a convolution like any other: they fit every size.
    return side if side and stride % side == 0 else 0


def _convolutional(model: str, options: dict[str, Any]) -> Any:
    try:
        return library().create_model(model, **options)
    except (AssertionError, TypeError, NotImplementedError) as error:
        stride = options.get("output_stride")
        what = f"output_stride={stride} is not offered ({error})"
        raise RecipeError(f"{PREFIX}{model}: {what}; leave it out.") from error


def _pretrained(model: str, options: dict[str, Any]) -> Any:
    try:
        return library().create_model(model, pretrained=True, **options)
    except (
        Exception
    ) as error:  # the loader's hub fails in a dozen ways where there is no network
        what = f"timm could not load its weights ({error})."
        fix = "Give a file, weights=PATH, or weights=None."
        raise ArtifactError(f"{PREFIX}{model}: {what} {fix}") from error


def _with_stages(net: Any, model: str) -> Any:
    """Wrap a network so that it returns the outputs of its stages, or of a transformer's last blocks."""
    from timm.models._features import FeatureGetterNet

    if not hasattr(net, "forward_intermediates"):
        what = "it does not return the outputs of its stages"
        raise RecipeError(f"{PREFIX}{model}: {what}. Choose another network of timm.")
    if hasattr(net, "patch_embed") and hasattr(net, "blocks"):
        count = min(LAST_BLOCKS, len(net.blocks))
        # The classifier sees tokens after the last norm, so the maps are made of those.
        return FeatureGetterNet(net, out_indices=count, norm=True)
    return FeatureGetterNet(net, out_indices=len(net.feature_info))


def _file(weights: str, model: str) -> Path:
    """Return the file that ``weights`` names; raises `RecipeError` for a package of another network's weights."""
    if not is_package(weights):
        return Path(weights)
    package = package_of(weights)
    if package.network != f"{PREFIX}{model.partition('.')[0]}":
        what = f"{weights} holds the weights of {package.network}"
        raise RecipeError(f"{PREFIX}{model}: {what}. Use backbone={package.network}.")
    return installed_file(weights)


def _load(
    net: nn.Module,
    path: Path,
    who: str,
) -> None:
    """Load a state dict with timm's keys, or the port's; a classifier's tensors may be there and are left out.

    Raises:
        ArtifactError: the file is missing, no state dict, or of another architecture.
    """
    read = _read_safetensors if path.suffix == ".safetensors" else read_weights
    state = read(path, who)
    # Released checkpoints wrap the state dict under either name.
    for wrapper in ("state_dict", "model"):
        state = state.get(wrapper, state)
    if "_conv_stem.weight" in state:
        state = _renamed(net, state, f"{who}: {path}")
    fix = "It must be a state dict with timm's keys of the same network."
    found = matching(net, state, f"{who}: {path}", fix)
    net.load_state_dict(found, strict=False)


def _renamed(net: nn.Module, state: dict[str, Any], who: str) -> dict[str, Any]:
    """Return the tensors of EfficientNet's PyTorch port under timm's names.

    Both list the same tensors in the same order, without the counters of batches; every shape is compared.

    Raises:
        ArtifactError: they are of another network.
    """
    names = [name for name in net.state_dict() if not name.endswith(COUNTER)]
    tensors = [
        (name, value) for name, value in state.items() if not name.endswith(COUNTER)
    ]
    # The classifier comes last in both, and has been left out of the network.
    found: dict[str, Any] = {}
    wanted = net.state_dict()
    for name, (old, value) in zip(names, tensors, strict=False):
        if value.shape != wanted[name].shape:
            shapes = f"{list(value.shape)}, where {name} has {list(wanted[name].shape)}"
            what = f"is of another network: {old} has shape {shapes}."
            raise ArtifactError(f"{who} {what}")
        found[name] = value
    return found


def _read_safetensors(path: Path, who: str) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{who}: {path} cannot be loaded ({error}).") from error
