"""What a training was handed, as plain values: a guard against trainings that depend on test settings after all.

A training is kept in the store under a key that leaves test settings out. If one of them reaches the training by
another way (a head that was given all parameters, say), two runs would share a training that they must not share. So
what is handed over is written beside the weights, and compared before the weights are handed on.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from wsss_bench.errors import RecipeError
from wsss_bench.io.files import read_json

HANDED = "training.json"
"""The file's name, beside the weights."""

LIBRARIES = ("torch", "torchvision", "mmengine", "mmcv", "mmseg", "timm")
"""Packages whose modules' attributes are left out: they change with the package's version, not with a setting."""

SIMPLE = (str, int, float, bool, type(None))


START = "start"
"""Where in the file the initial weights are told."""

CLOSE = 1e-4
"""How far, relatively, two sizes of initial weights may lie apart."""


def handed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides a training's result, as JSON-ready values; `config` is what `engine.training.train` takes."""
    data, model = config["data"], config["model"]
    return {
        "optimizer": plain(config["optim_wrapper"]),
        "schedule": plain(config["param_scheduler"]),
        "length": plain(config["train_cfg"]),
        "batch": int(config["batch"]),
        "images": len(data),
        "data": _attributes(data),
        "model": _modules(model),
        START: _start(model, tuple(config.get("drop", ()))),
    }


def check_handed(folder: Path, now: Mapping[str, Any], who: str) -> None:
    """Compare with what the training in `folder` was handed, if that is known.

    Raises:
        RecipeError: they differ, so the weights there are not those that this training would give.
    """
    file = folder / HANDED
    if not file.is_file():
        return
    # A round trip through JSON makes tuples lists here too.
    changed = differences(read_json(file), plain(now))
    if not changed:
        return
    what = (
        f"it is in the store, but was handed other settings ({'; '.join(changed[:3])})."
    )
    fix = "Take them out of the method's test_settings, or give the training ctx.training_params only."
    if all(place.startswith(START) for place in changed):
        fix = f"{fix} If none has to do with it, build the network with `seeded`."
    raise RecipeError(
        f"training {who!r}: {what} A training must not depend on a test setting. {fix}"
    )


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Return every leaf in which two JSON values differ, as ``path: old -> new``."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found = []
        for key in sorted({*old, *new}):
            place = f"{where}.{key}" if where else str(key)
            found += differences(old.get(key), new.get(key), place)
        return found
    same = old == new
    if where.startswith(f"{START}.") and None not in (old, new):
        same = math.isclose(old, new, rel_tol=CLOSE)
    return [] if same else [f"{where}: {old!r} -> {new!r}"]


def plain(value: Any) -> Any:
    """Return `value` in JSON's types; objects count by their class, and dataclasses by their fields too."""
    if isinstance(value, SIMPLE):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    if is_dataclass(value) and not isinstance(value, type):
        own = {item.name: plain(getattr(value, item.name)) for item in fields(value)}
        return {"class": _name(value), **own}
    if isinstance(value, partial):
        return {
            "function": _name(value.func),
            "given": plain([value.args, value.keywords]),
        }
    return _name(value)


def _name(value: Any) -> str:
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _attributes(value: Any) -> dict[str, Any]:
    """Return the public attributes of an object; a view counts by its own place in the key."""
    found = {"class": _name(value)}
    for name, item in sorted(vars(value).items()):
        if not name.startswith("_") and name != "view":
            found[name] = plain(item)
    return found


def _modules(model: nn.Module) -> dict[str, Any]:
    """Return the shapes of all tensors and the settings of all modules that no library brings."""
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    learning = [name for name, item in model.named_parameters() if item.requires_grad]
    digest = hashlib.sha256(repr([sorted(shapes.items()), learning]).encode())
    found: dict[str, Any] = {"tensors": digest.hexdigest()}
    for name, module in model.named_modules():
        if type(module).__module__.partition(".")[0] not in LIBRARIES:
            found[name or "."] = _settings(module)
    return found


def _start(model: nn.Module, drop: tuple[str, ...]) -> dict[str, float]:
    """Return the mean magnitude of the initial weights of every part of the model, except for what is not kept."""
    # No digest: another processor draws the same weights but for their last bits, and a store may be moved there.
    total: dict[str, float] = {}
    count: dict[str, int] = {}
    for name, tensor in model.state_dict().items():
        if name.startswith(drop) or not tensor.is_floating_point():
            continue
        part = name.partition(".")[0]
        total[part] = total.get(part, 0.0) + float(tensor.abs().double().sum())
        count[part] = count.get(part, 0) + tensor.numel()
    return {part: total[part] / max(1, count[part]) for part in total}


def _settings(module: nn.Module) -> dict[str, Any]:
    """Return a module's own plain attributes; tensors and submodules are told elsewhere."""
    found = {"class": _name(module)}
    for name, item in sorted(vars(module).items()):
        if not name.startswith("_") and name != "training":
            found[name] = plain(item)
    return found
