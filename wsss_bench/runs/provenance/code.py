"""The code that each step of a run rests on: part of its key, by module."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench import BORN
from wsss_bench.errors import RecipeError
from wsss_bench.io.files import canonical
from wsss_bench.io.paths import configs_dir
from wsss_bench.methods.bytecode import is_stale
from wsss_bench.methods.modules import Closure, Walk, harness_module
from wsss_bench.methods.sources import file_syntax
from wsss_bench.runs.provenance.places import content

if TYPE_CHECKING:
    from wsss_bench.methods.catalog import LoadedMethod

_RUNNERS = ("runs.stage", "runs.pipeline")
"""What hands a step its inputs. These count themselves; what they import runs around a step, not in it."""

_HANDED = ("contract.context", "contract.writers", "contract.sets", "rng")
"""What a plugin is handed, whether it imports it or not."""

_STEPS = {
    "predict": ("toolbox.prediction",),
    "score_seeds": ("runs.scoring", "data.masks"),
    "score_labels": ("runs.scoring", "data.masks"),
    "score_val": ("runs.scoring", "data.masks"),
}
"""What does the harness's own steps."""


_TRAINING, _BASE = "wsss_bench.engine.training", "_base_/training.py"
"""What trains, and the config that every training is laid over."""

_loaded: dict[str, str] = {}
"""Digests of the harness's modules as this process has imported them."""


def method_closure(method: LoadedMethod, stage: str) -> Closure:
    """Return what a stage of a method rests on."""
    if method.code is None:
        return Closure(own={method.name: method.code_digest})
    roots = map(harness_module, _HANDED)
    alone = map(harness_module, _RUNNERS)
    return method.code.of(stage, tuple(roots), tuple(alone))


def step_closure(name: str) -> Closure:
    """Return what one of the harness's own steps rests on."""
    roots = map(harness_module, _STEPS[name])
    alone = map(harness_module, _RUNNERS)
    return Walk().closure(tuple(roots), alone=tuple(alone))


def check_loaded(closure: Closure) -> None:
    """Raise `RecipeError` where this process runs other code of the harness than the files hold by now.

    Plugins are imported anew where they have changed. The harness cannot be: results would bear the name of code that
    did not compute them.
    """
    for name in closure.harness:
        if name in sys.modules and not _as_loaded(name, closure.files[name]):
            what = f"{name} is not what this process has imported."
            fix = "Start Python again (in a notebook: restart the kernel); if that does not help, delete __pycache__."
            raise RecipeError(f"{what} {fix}")


def _as_loaded(name: str, file: Path) -> bool:
    now = file_syntax(file)
    if name in _loaded:
        return _loaded[name] == now
    stat = file.stat()
    # Looked at for the first time: what lay there since before the process began is what was imported.
    if max(stat.st_mtime_ns, stat.st_ctime_ns) > BORN or is_stale(file):
        return False
    _loaded[name] = now
    return True


def harness_digest(closure: Closure) -> str:
    """Return one hex digest over the modules of the harness in a closure."""
    text = canonical(dict(closure.harness))
    return hashlib.sha256(text.encode()).hexdigest()


def code_parts(
    closure: Closure, method: LoadedMethod | None = None
) -> Mapping[str, Any]:
    """Return the code as a key holds it: digests by module, and the versions that the plugin's own metadata names."""
    parts: dict[str, Any] = {"harness": dict(closure.harness)}
    if closure.own:
        parts["own"] = dict(closure.own)
    if _TRAINING in closure.harness:
        parts["configs"] = {_BASE: content(configs_dir() / _BASE)}
    versions = {}
    if method is not None and method.code is not None:
        versions = method.code.keyed_versions(closure)
    if versions:
        parts["requires"] = versions
    return parts
