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
    data = config["data"]
    model = config["model"]
    dropped = tuple(config.get("drop", ()))
    return {
        "optimizer": plain(config["optim_wrapper"]),
        "schedule": plain(config["param_scheduler"]),
        "length": plain(config["train_cfg"]),
        "batch": int(config["batch"]),
        "images": len(data),
        "data": _attributes(data),
        "model": _modules(model),
        START: _start(model, dropped),
    }


def check_handed(
    folder: Path,
    now: Mapping[str, Any],
    who: str,
) -> None:
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
    # The first ones: a setting that reaches every layer would fill the screen.
    told = "; ".join(changed[:3])
    what = f"it is in the store, but was handed other settings ({told})."
    why = "A training must not depend on a test setting."
    fix = (
        "Take them out of the method's test_settings, "
        "or give the training ctx.training_params only."
    )
    if all(place.startswith(START) for place in changed):
        fix = f"{fix} If none has to do with it, build the network with `seeded`."
    raise RecipeError(f"training {who!r}: {what} {why} {fix}")


def differences(
    old: Any,
    new: Any,
    where: str = "",
) -> list[str]:
    """Return every leaf in which two JSON values differ, as ``path: old -> new``."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return [] if _same(old, new, where) else [f"{where}: {old!r} -> {new!r}"]
    found = []
    for key in sorted({*old, *new}):
        place = f"{where}.{key}" if where else str(key)
        before = old.get(key)
        after = new.get(key)
        found += differences(before, after, place)
    return found


def _same(
    old: Any,
    new: Any,
    where: str,
) -> bool:
    # A part that one of the two models does not have at all is None here.
    if where.startswith(f"{START}.") and None not in (old, new):
        return math.isclose(old, new, rel_tol=CLOSE)
    return bool(old == new)


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
        content = np.ascontiguousarray(value)
        return hashlib.sha256(content.tobytes()).hexdigest()
    if is_dataclass(value) and not isinstance(value, type):
        found = {"class": _name(value)}
        for item in fields(value):
            found[item.name] = plain(getattr(value, item.name))
        return found
    if isinstance(value, partial):
        return {
            "function": _name(value.func),
            "given": plain([value.args, value.keywords]),
        }
    # Anything else may be as large as it likes, and hold a folder's name: its class has to do.
    return _name(value)


def _name(value: Any) -> str:
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _attributes(value: Any) -> dict[str, Any]:
    """Return the public attributes of an object; a view counts by its own place in the key."""
    return _told(value, "view")


def _told(value: Any, left_out: str) -> dict[str, Any]:
    """Return an object's class, and its public attributes without the one called `left_out`."""
    found = {"class": _name(value)}
    for name, item in sorted(vars(value).items()):
        private = name.startswith("_")
        if not private and name != left_out:
            found[name] = plain(item)
    return found


def _modules(model: nn.Module) -> dict[str, Any]:
    """Return the shapes of all tensors and the settings of all modules that no library brings."""
    shapes = {}
    for name, tensor in model.state_dict().items():
        shapes[name] = list(tensor.shape)
    # A frozen layer is another training, though its tensors are those of one that learns.
    learning = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            learning.append(name)
    tensors = repr([sorted(shapes.items()), learning])
    digest = hashlib.sha256(tensors.encode())
    found: dict[str, Any] = {"tensors": digest.hexdigest()}
    for name, module in model.named_modules():
        package = type(module).__module__.partition(".")[0]
        if package not in LIBRARIES:
            # The model itself has no name.
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
        # In double precision: a large network's sum would lose its last digits in single.
        magnitude = tensor.abs().double().sum()
        total[part] = total.get(part, 0.0) + float(magnitude)
        count[part] = count.get(part, 0) + tensor.numel()
    return {part: total[part] / max(1, count[part]) for part in total}


def _settings(module: nn.Module) -> dict[str, Any]:
    """Return a module's own plain attributes; tensors and submodules are told elsewhere."""
    return _told(module, "training")
