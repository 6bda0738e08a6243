"""Import paths of version 0.1, kept for one release: names are found where they live now, with a warning.

Modules that are gone (`MOVED`) are made up on import; modules that are still there (`LEFT`) get a look-up for the names
that left them.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

MOVED: dict[str, tuple[str, ...]] = {
    "artifacts": (
        "contract.artifacts",
        "io.files",
        "io.images",
    ),
    "boards.imported": ("exchange.imported",),
    "boards.jsons": ("boards.render.as_json",),
    "boards.latex": ("boards.render.latex",),
    "boards.markdown": ("boards.render.markdown",),
    "boards.records": ("results.records",),
    "boards.table": ("boards.render.columns",),
    "card": ("contract.card",),
    "catalog": ("methods.catalog",),
    "cells": ("runs.ledger",),
    "cli._boards": ("cli._flags",),
    "cli._cells": ("runs.request",),
    "cli._dataset": ("cli._flags",),
    "cli._predict_run": ("runs.predicting",),
    "context": ("contract.context",),
    "data.coco_index": ("data.coco.index",),
    "data.coco_masks": ("data.coco.masks",),
    "data.sbd": ("data.voc.sbd",),
    "data.shapes_classes": ("data.shapes.classes",),
    "data.shapes_draw": ("data.shapes.draw",),
    "data.verify": (
        "data.verifying",
        "data.voc.verify",
        "data.findings",
        "data.verifying",
    ),
    "data.verify_coco": ("data.coco.verify",),
    "docs_cards": (
        "boards.methods_page",
        "boards.render.markdown",
    ),
    "engine.data": ("engine.loading",),
    "engine.hooks": ("engine.runner_hooks",),
    "evaluate.export": ("exchange.archives",),
    "evaluate.folders": ("exchange.folders",),
    "evaluate.legacy": ("exchange.legacy",),
    "executors": ("runs.executors",),
    "executors.local": ("runs.executors.local",),
    "explain": ("runs.store.explain",),
    "hooks": (
        "methods.checks",
        "methods.hooks",
    ),
    "hookspecs": (
        "contract.hookspecs",
        "contract.names",
    ),
    "locking": ("io.locking",),
    "opened": ("io.opened",),
    "params": (
        "methods.params",
        "io.configs",
        "methods.profiles",
        "methods.values",
    ),
    "paths": ("io.paths",),
    "pipeline": (
        "runs.pipeline",
        "runs.stage",
    ),
    "plan": (
        "runs.plan",
        "runs.source",
    ),
    "progress": ("runs.progress",),
    "provenance": (
        "runs.provenance.facts",
        "runs.provenance.meter",
    ),
    "recipe": ("methods.recipe",),
    "recording": (
        "runs.recording",
        "runs.gallery",
    ),
    "reproduce": (
        "runs.reproduce",
        "runs.comparing",
    ),
    "scoring": (
        "runs.scoring",
        "contract.context",
    ),
    "sealing": ("io.sealing",),
    "store": (
        "runs.store.folders",
        "io.files",
    ),
    "testing.guard": ("io.landlock", "io.sealing"),
    "testing.stages": ("testing.observed",),
    "toolbox._affinity_numba": ("toolbox.kernels.affinity",),
    "toolbox._growing_numba": ("toolbox.kernels.growing",),
    "toolbox._jit": ("toolbox.kernels.jit",),
    "toolbox._meanfield": ("toolbox.kernels.meanfield",),
    "toolbox._permutohedral": ("toolbox.kernels.permutohedral",),
    "toolbox._walk_numba": ("toolbox.kernels.walk",),
    "view": (
        "contract.view",
        "io.images",
    ),
}
"""Old module (below ``wsss_bench``) to the modules that hold its names now, searched in this order."""


LEFT: dict[str, dict[str, tuple[str, ...]]] = {
    "boards.page": {"boards.page.payload": ("GALLERY",)},
    "boards.published": {"results.published": ("FILE", "published_csv")},
    "boards.rows": {
        "boards.grouping": ("groups",),
        "boards.ranking": ("make_board",),
        "contract.names": ("STAGES",),
    },
    "cli.run": {
        "cli._flags": ("leaderboard_dir",),
        "runs.request": ("LOG", "check_log"),
    },
    "cli.status": {"runs.ledger": ("FAILED",)},
    "data.base": {"data.options": ("check_options", "choose_splits", "integer_option")},
    "data.opening": {"data.places": ("find_folder",)},
    "doctor": {
        "doctor.compiled": (
            "APT",
            "COMPILER",
            "HEAVY",
            "check_crf",
            "check_imports",
        ),
        "doctor.examine": ("check_data", "check_plugins"),
        "doctor.findings": (
            "DISTRIBUTION",
            "FAIL",
            "OK",
            "PIP",
            "WARN",
            "Check",
            "nearest",
        ),
        "doctor.machine": (
            "LITTLE_SPACE",
            "LOW_SPACE",
            "check_gpu",
            "check_work_dir",
            "driver",
            "torch_cuda",
        ),
        "doctor.packages": (
            "CLASHES",
            "check_install",
            "check_packages",
            "check_python",
        ),
        "doctor.requirements": ("project", "version"),
    },
    "engine.inference": {"toolbox.prediction": ("predict",)},
    "testing.template": {
        "testing.template.project": ("KINDS", "filled", "write_project")
    },
    "toolbox.affinity": {
        "toolbox.pairs": ("BORDERS", "Slices", "Window", "count_pairs", "pair_kinds"),
        "toolbox.sweeps": ("BALANCE", "FLOOR", "pair_terms"),
    },
    "toolbox.pyramid": {"toolbox.training": ("fit",)},
}
"""Module that is still there, to the modules that hold names of its now, and those names.

By name, and not by a search as in `MOVED`: a module that exists is asked for all kinds of names, of its submodules for
one, and must not import half the package to say no.
"""


class _Finder(MetaPathFinder, Loader):
    """Makes a module of an old name that holds nothing but a look-up."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return a spec for a module in `MOVED`, None for others."""
        parent, _, rest = fullname.partition(".")
        if parent != "wsss_bench" or rest not in MOVED:
            return None
        # An old package must be one again, or its modules could not be imported from it.
        package = any(old.startswith(f"{rest}.") for old in MOVED)
        return ModuleSpec(fullname, self, is_package=package)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module the look-up of `forward`."""
        old = module.__name__.removeprefix("wsss_bench.")
        module.__dict__["__getattr__"] = forward(module.__name__, MOVED[old])


class _Watcher(MetaPathFinder):
    """Lets the usual finder load the modules in `LEFT`, and adds a look-up to each."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return the usual spec of a module in `LEFT`, whose loader adds the look-up; None for others."""
        parent, _, rest = fullname.partition(".")
        if parent != "wsss_bench" or rest not in LEFT:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module
            # The loader stays what it is: others ask it for the source, or for files of the package.
            spec.loader.exec_module = partial(_load_and_watch, load)  # type: ignore[method-assign]
        return spec


def _load_and_watch(load: Callable[[ModuleType], None], module: ModuleType) -> None:
    load(module)
    old = module.__name__
    own = module.__dict__.get("__getattr__")
    homes: dict[str, Callable[[str], Any]] = {}
    for home, names in LEFT[old.partition(".")[2]].items():
        homes |= dict.fromkeys(names, forward(old, (home,), depth=3))

    def look_up(name: str) -> Any:
        if name in homes:
            return homes[name](name)
        if own is not None:
            return own(name)
        raise AttributeError(f"module {old!r} has no attribute {name!r}")

    module.__dict__["__getattr__"] = look_up


def forward(old: str, homes: Sequence[str], depth: int = 2) -> Any:
    """Return a module's ``__getattr__`` that finds old names in `homes`, with a `DeprecationWarning`.

    Args:
        old: the module's name.
        homes: modules below ``wsss_bench``, searched in this order.
        depth: how many frames above the look-up the caller is who should read the warning.
    """

    def look_up(name: str) -> Any:
        # The import system asks every module for such names; they are nobody's that moved.
        if name.startswith("__"):
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        for home in homes:
            module = import_module(f"wsss_bench.{home}")
            if hasattr(module, name):
                what = f"{old}.{name} has moved: import it from {module.__name__}."
                until = "The old path works until version 0.3."
                warnings.warn(f"{what} {until}", DeprecationWarning, stacklevel=depth)
                return getattr(module, name)
        raise AttributeError(f"module {old!r} has no attribute {name!r}")

    return look_up


def install() -> None:
    """Let old import paths work in this process. Idempotent."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        # The first looks at modules that exist, the last hides none of them.
        sys.meta_path.insert(0, _Watcher())
        sys.meta_path.append(_Finder())
