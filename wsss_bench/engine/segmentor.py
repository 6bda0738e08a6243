"""Segmentor configs by short name, and the folder a trained one is kept in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wsss_bench.contract.artifacts import Segmentor, write_segmentor
from wsss_bench.engine.backbones.names import CHANNELS, backbone_config
from wsss_bench.engine.folding import folded
from wsss_bench.engine.models import WeakSegmentor
from wsss_bench.engine.registry import register
from wsss_bench.engine.training import load_weights
from wsss_bench.errors import RecipeError, did_you_mean
from wsss_bench.io.files import write_atomic
from wsss_bench.io.paths import configs_dir


def segmentor_config(params: Mapping[str, Any], num_classes: int) -> Config:
    """The mmengine config of a segmentor.

    Args:
        params: ``network``: the name of a file in ``configs/models/`` or the path of any mmseg config;
            ``backbone``, ``weights`` and ``backbone_options`` replace the backbone of our own configs, ``rates`` and
            ``dropout`` the dilations and the dropout of their head; ``normalize``.
        num_classes: mask ids, background included.

    Returns:
        A config with ``model`` (an mmseg segmentor), ``normalize`` and ``facts`` for the board.
    """
    register()
    name = str(params["network"])
    path = (
        Path(name) if name.endswith(".py") else configs_dir() / "models" / f"{name}.py"
    )
    if not path.is_file():
        known = [p.stem for p in (configs_dir() / "models").glob("[!_]*.py")]
        raise RecipeError(
            f"segmentor network {name!r} is neither one of ours nor an mmseg config file.{did_you_mean(name, known)}"
        )
    source = Config.fromfile(path)
    model = source.model
    backbone = params.get("backbone")
    if backbone:
        options = (
            {"output_stride": 8, "dilated": True}
            if backbone in ("resnet50", "resnet101", "mobilenet_v2")
            else {}
        )
        options.update(params.get("backbone_options") or {})
        model.backbone = backbone_config(backbone, params.get("weights"), **options)
        model.decode_head.in_channels = CHANNELS[backbone]
        model.decode_head.in_index = -1
    if params.get("rates"):
        model.decode_head.rates = tuple(params["rates"])
    if params.get("dropout") is not None:
        model.decode_head.dropout_ratio = float(params["dropout"])
    _set_classes(model, num_classes)
    model.pop("data_preprocessor", None)
    normalize = params.get("normalize", "imagenet")
    return Config({"model": model, "normalize": normalize})


def _set_classes(node: Any, num_classes: int) -> None:
    """Set ``num_classes`` of every head below `node` (decode, auxiliary, lists of heads)."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "num_classes":
                node[key] = num_classes  # type: ignore[index]
            elif (
                key == "norm_cfg"
                and isinstance(value, Mapping)
                and value.get("type") == "SyncBN"
            ):
                value["type"] = "BN"  # type: ignore[index]  # SyncBN needs a process group
            else:
                _set_classes(value, num_classes)
    elif isinstance(node, list | tuple):
        for value in node:
            _set_classes(value, num_classes)


def keep_segmentor(
    config: Any, checkpoint: Path, folder: Path, facts: Mapping[str, Any]
) -> Segmentor:
    """Copy weights and config into `folder` and describe them in ``segmentor.json``.

    `facts` may hold ``test`` (prediction settings); the rest becomes columns of the board.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "weights.pth"
    if checkpoint != target:
        # A copy: the training in scratch stays finished until the stage is committed, whatever happens in between.
        write_atomic(
            target, lambda handle: handle.write(checkpoint.read_bytes()), durable=True
        )
    kept = Config(
        {"model": _without_downloads(config["model"]), "normalize": config["normalize"]}
    )
    kept.dump(folder / "config.py")
    facts = dict(facts)
    test = facts.pop("test", {})
    segmentor = Segmentor(folder / "config.py", target, test, facts)
    write_segmentor(segmentor, folder)
    return segmentor


def _without_downloads(model: Any) -> Any:
    """The model config with initial weights taken out: the checkpoint replaces them, and nothing is fetched to predict."""
    import copy

    model = copy.deepcopy(model)
    if "weights" in model.get("backbone", {}):
        model["backbone"]["weights"] = None
    model.pop("pretrained", None)
    return model


def load_segmentor(segmentor: Segmentor, device: str = "cpu") -> WeakSegmentor:
    """Build the network of a `Segmentor` and load its weights, in eval mode on `device`; batch norms are folded."""
    register()
    config = Config.fromfile(segmentor.config)
    model = WeakSegmentor(config.model, None, config.normalize)
    load_weights(model, segmentor.checkpoint, device)
    return folded(model)
