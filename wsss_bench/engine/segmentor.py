"""Segmentor configs by short name, and the folder a trained one is kept in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wsss_bench.contract.artifacts import Segmentor, write_segmentor
from wsss_bench.engine.backbones.names import (
    backbone_config,
    backbone_of,
    normalize_of,
)
from wsss_bench.engine.folding import folded
from wsss_bench.engine.models import WeakSegmentor
from wsss_bench.engine.parts import (
    bring_back,
    import_all,
    modules_of,
    named_in_full,
    our_own,
    registering,
    without_downloads,
)
from wsss_bench.engine.registry import register
from wsss_bench.engine.training import load_weights
from wsss_bench.errors import RecipeError, did_you_mean
from wsss_bench.io.files import write_atomic
from wsss_bench.io.paths import configs_dir


def segmentor_config(
    params: Mapping[str, Any],
    num_classes: int,
    network: Mapping[str, Any] | None = None,
) -> Config:
    """Return the mmengine config of a segmentor: ``model`` (an mmseg segmentor), ``normalize``, ``custom_imports``.

    Args:
        params: ``network``: the name of a file in ``configs/models/`` or the path of any mmseg config;
            ``backbone``, ``weights`` and ``backbone_options`` replace the backbone of our own configs, ``rates`` and
            ``dropout`` the dilations and the dropout of their head; ``normalize``.
        num_classes: mask ids, background included.
        network: a config of the caller's own in place of ``params["network"]``: ``model``, and ``custom_imports``, the
            names of the modules that register what it is made of.

    Raises:
        RecipeError: there is no such network, or a module of ``custom_imports`` is missing.
    """
    register()
    source = _bundled(params) if network is None else Config(dict(network))
    modules = modules_of(source)
    import_all(modules)
    model = named_in_full(source.model, modules)
    if network is None:
        _fill_in(model, params)
    _set_classes(model, num_classes)
    # Images are normalised by `WeakSegmentor`, whatever the config would do to them.
    model.pop("data_preprocessor", None)
    found = {"model": model, "normalize": normalize_of(params)}
    if modules:
        found["custom_imports"] = modules
    return Config(found)


def _bundled(params: Mapping[str, Any]) -> Config:
    """Return the config that ``network`` names: one of ours, or the path of any mmseg config."""
    name = str(params["network"])
    folder = configs_dir() / "models"
    path = folder / f"{name}.py"
    if name.endswith(".py"):
        path = Path(name)
    if path.is_file():
        # Its own imports are done by whoever asks, with a message that says which one is missing.
        config = Config.fromfile(path, import_custom_modules=False)
        if path.parent == folder:
            config.model = our_own(config.model)
        return config
    known = [path.stem for path in folder.glob("[!_]*.py")]
    hint = did_you_mean(name, known)
    what = "is neither one of ours nor an mmseg config file."
    raise RecipeError(f"segmentor network {name!r} {what}{hint}")


def _fill_in(model: Any, params: Mapping[str, Any]) -> None:
    """Put the backbone, the dilations and the dropout that the parameters name into one of our own configs."""
    name = params.get("backbone")
    if name:
        known = backbone_of(name)
        asked = params.get("backbone_options") or {}
        options = {**known.segment, **asked}
        model.backbone = backbone_config(name, params.get("weights"), **options)
        model.decode_head.in_channels = known.channels[-1]
        model.decode_head.in_index = -1
    if params.get("rates"):
        model.decode_head.rates = tuple(params["rates"])
    if params.get("dropout") is not None:
        model.decode_head.dropout_ratio = float(params["dropout"])


def _set_classes(node: Any, num_classes: int) -> None:
    """Set ``num_classes`` of every head below `node` (decode, auxiliary, lists of heads)."""
    if isinstance(node, list | tuple):
        for value in node:
            _set_classes(value, num_classes)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key == "num_classes":
            node[key] = num_classes
        elif key == "norm_cfg" and _is_synchronised(value):
            # It needs a process group, which a training on one device does not have.
            value["type"] = "BN"
        else:
            _set_classes(value, num_classes)


def _is_synchronised(norm: Any) -> bool:
    return isinstance(norm, Mapping) and norm.get("type") == "SyncBN"


def keep_segmentor(
    config: Any,
    checkpoint: Path,
    folder: Path,
    facts: Mapping[str, Any],
) -> Segmentor:
    """Copy weights and config into `folder` and describe them in ``segmentor.json``.

    `facts` may hold ``test`` (prediction settings); the rest becomes columns of the board.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "weights.pth"
    if checkpoint != target:
        # A copy: the training in scratch stays finished until the stage is committed, whatever happens in between.
        content = checkpoint.read_bytes()
        write_atomic(target, lambda handle: handle.write(content), durable=True)
    path = folder / "config.py"
    Config(_kept(config)).dump(path)
    columns = dict(facts)
    test = columns.pop("test", {})
    segmentor = Segmentor(path, target, test, columns)
    write_segmentor(segmentor, folder)
    return segmentor


def _kept(config: Any) -> dict[str, Any]:
    """Return what any process needs to build the network again."""
    register()
    given = modules_of(config)
    model = named_in_full(config["model"], given)
    kept = {
        "model": without_downloads(model),
        "normalize": config["normalize"],
    }
    # What the caller names, and where the parts that it was built of come from: a plugin need not say.
    modules = list(dict.fromkeys([*given, *registering(model)]))
    if modules:
        kept["custom_imports"] = modules
    return kept


def load_segmentor(segmentor: Segmentor, device: str = "cpu") -> WeakSegmentor:
    """Build the network of a `Segmentor` and load its weights, in eval mode on `device`; batch norms are folded.

    Raises:
        RecipeError: the network is made of parts that nothing here brings; the message says whose they are.
        ArtifactError: the weights are damaged, or of another network.
    """
    register()
    # mmengine would do these imports by itself, but fails without saying which package is missing.
    config = Config.fromfile(segmentor.config, import_custom_modules=False)
    build = partial(WeakSegmentor, config.model, None, config.normalize)
    model = bring_back(build, modules_of(config), segmentor.plugin)
    load_weights(model, segmentor.checkpoint, device)
    return folded(model)
