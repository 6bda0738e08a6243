"""The whole contract between the harness and a method, on one screen.

A plugin is an object (usually an instance of a class) whose methods carry `hookimpl`. It implements `method_card` and
one to three stages. An implementation may take fewer arguments than listed here: ``def refine(view, seeds, out)`` is
fine, and a plugin written today keeps working when arguments are added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from wsss_bench.contract.artifacts import (
        LabelSet,
        LabelWriter,
        SeedSet,
        SeedWriter,
        Segmentor,
    )
    from wsss_bench.contract.card import MethodCard
    from wsss_bench.contract.context import StageContext
    from wsss_bench.contract.view import WeakView


hookspec = pluggy.HookspecMarker("wsss_bench")
hookimpl = pluggy.HookimplMarker("wsss_bench")


@hookspec(firstresult=True)
def method_card() -> MethodCard | None:
    """Describe the method: name, version, paper, supervision, defaults. Must be cheap: no torch, no file is read."""


@hookspec(firstresult=True)
def localize(view: WeakView, out: SeedWriter, ctx: StageContext) -> SeedSet | None:
    """Write one `Seed` (class scores) per image of `view` to `out` and return ``out.close()``."""


@hookspec(firstresult=True)
def refine(
    view: WeakView,
    seeds: SeedSet,
    previous: Segmentor | None,
    previous_labels: LabelSet | None,
    out: LabelWriter,
    ctx: StageContext,
) -> LabelSet | None:
    """Write one pseudo-label per image of `view` to `out` and return ``out.close()``.

    `previous` and `previous_labels` are last round's segmentor and the labels it was trained on; None in the first
    round. `seeds` is None where localization is left out of the recipe.
    """


@hookspec(firstresult=True)
def segment(
    view: WeakView,
    labels: LabelSet,
    seeds: SeedSet,
    previous: Segmentor | None,
    previous_labels: LabelSet | None,
    ctx: StageContext,
) -> Segmentor | None:
    """Train a segmentor on `labels` and return it as ``ctx.segmentor(...)`` or ``Segmentor(config, checkpoint)``.

    `previous` and `previous_labels` are last round's segmentor and the labels it was trained on; None in the first
    round. `seeds` is None where localization is left out of the recipe. ``ctx.params`` lack the test settings that the
    method declares: they are laid over `Segmentor.test` when the harness predicts.
    """
