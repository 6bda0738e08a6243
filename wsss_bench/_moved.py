"""Import paths of version 0.1, kept for one release: the old module's names are found where they live now, with a warning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
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
    "boards.page": ("boards.page.page",),
    "boards.records": ("results.records",),
    "boards.table": ("boards.render.columns",),
    "card": ("contract.card",),
    "catalog": ("methods.catalog",),
    "cells": ("runs.ledger",),
    "cli._predict_run": ("runs.predicting",),
    "context": ("contract.context",),
    "data.coco": ("data.coco.dataset",),
    "data.coco_index": ("data.coco.index",),
    "data.coco_masks": ("data.coco.masks",),
    "data.sbd": ("data.voc.sbd",),
    "data.shapes": ("data.shapes.dataset",),
    "data.shapes_classes": ("data.shapes.classes",),
    "data.shapes_draw": ("data.shapes.draw",),
    "data.verify": (
        "data.voc.verify",
        "data.findings",
    ),
    "data.verify_coco": ("data.coco.verify",),
    "data.voc": (
        "data.voc.dataset",
        "data.voc.lists",
    ),
    "docs_cards": ("boards.methods_page",),
    "doctor": (
        "doctor.examine",
        "doctor.findings",
        "doctor.packages",
        "doctor.machine",
    ),
    "engine.backbones": (
        "engine.backbones.names",
        "engine.backbones.staged",
        "engine.backbones.torchvision",
        "engine.backbones.tiny",
    ),
    "engine.data": ("engine.loading",),
    "engine.hooks": ("engine.runner_hooks",),
    "evaluate.export": ("exchange.archives",),
    "evaluate.folders": ("exchange.folders",),
    "evaluate.legacy": ("exchange.legacy",),
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
    "pipeline": ("runs.pipeline",),
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
    "reproduce": ("runs.reproduce",),
    "scoring": ("runs.scoring",),
    "sealing": ("io.sealing",),
    "store": (
        "runs.store.folders",
        "io.files",
    ),
    "testing._template_files": ("testing.template.files",),
    "testing._template_methods": ("testing.template.methods",),
    "testing.guard": ("io.landlock", "io.sealing"),
    "testing.stages": ("testing.observed",),
    "testing.template": ("testing.template.project",),
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


class _Finder(MetaPathFinder, Loader):
    """Makes a module of an old name that holds nothing but a look-up."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """A spec for the names in `MOVED`; the real finders come first, so nothing that exists is hidden."""
        parent, _, rest = fullname.partition(".")
        if parent != "wsss_bench" or rest not in MOVED:
            return None
        return ModuleSpec(
            fullname, self, is_package=any(old.startswith(f"{rest}.") for old in MOVED)
        )

    def exec_module(self, module: ModuleType) -> None:
        """Give the module the look-up of `forward`."""
        old = module.__name__.removeprefix("wsss_bench.")
        module.__dict__["__getattr__"] = forward(module.__name__, MOVED[old])


def forward(old: str, homes: Sequence[str]) -> Any:
    """A module's ``__getattr__`` that finds its old names in `homes`, with a `DeprecationWarning` that names the new place."""

    def look_up(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        for home in homes:
            module = import_module(f"wsss_bench.{home}")
            if hasattr(module, name):
                what = f"{old}.{name} has moved: import it from {module.__name__}. The old path works until version 0.3."
                warnings.warn(what, DeprecationWarning, stacklevel=2)
                return getattr(module, name)
        raise AttributeError(f"module {old!r} has no attribute {name!r}")

    return look_up


def install() -> None:
    """Let old import paths work in this process. Idempotent."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
