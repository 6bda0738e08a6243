"""``--limit N``: the real recipe from end to end on N images of every split, its trainings shortened in proportion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wsss_bench.data.limiting import limit

if TYPE_CHECKING:
    from wsss_bench.data.base import Dataset
    from wsss_bench.methods.params import Resolved, StageParams
    from wsss_bench.runs.progress import Say

LEAST = 10
"""Iterations that a shortened training has at least: a few steps must be seen to run, save and be read again."""

_ITERATIONS = "iterations"
_PACE = ("step_every", "warmup")
"""Parameters that count iterations besides the length itself."""


def rehearsed(
    dataset: Dataset, resolved: Sequence[Resolved], count: int, say: Say
) -> list[Resolved]:
    """Limit the dataset to `count` images of every split, and shorten the trainings of the recipes by as much.

    Lengths counted in epochs stay: an epoch is shorter now. Those counted in iterations, and what paces them (steps of
    the schedule, warm-up), shrink with the training split. Fewer images than a batch holds would not train, so there
    are as many as the largest batch, which `say` hears of.
    """
    largest = max(map(_largest_batch, resolved), default=1)
    if count < largest:
        say(f"note: --limit {count} would not fill a batch; it is {largest} images.")
        count = largest
    whole = len(dataset.ids(dataset.splits.train))
    limit(dataset, count)
    share = min(1.0, count / max(1, whole))
    return [_shortened(one, share) for one in resolved]


def _largest_batch(resolved: Resolved) -> int:
    sizes = [1]
    for params in _all(resolved):
        for name, value in params.resolved.items():
            if name == "batch" or name.endswith("_batch"):
                # A number of another kind bears the name too: how many images share a pass of inference.
                sizes.append(0 if name.startswith("test") else int(value))
    return max(sizes)


def _all(resolved: Resolved) -> Iterator[StageParams]:
    yield from resolved.params.values()
    if resolved.retrain is not None:
        yield resolved.retrain[1]


def _shortened(resolved: Resolved, share: float) -> Resolved:
    params = {stage: _less(one, share) for stage, one in resolved.params.items()}
    retrain = resolved.retrain
    if retrain is not None:
        method, theirs = retrain
        # Where the recipe's own refiner relabels, it is the same parameters.
        own = resolved.params.get("refine")
        found = params["refine"] if theirs is own else _less(theirs, share)
        retrain = method, found
    return replace(resolved, params=params, retrain=retrain)


def _less(params: StageParams, share: float) -> StageParams:
    return replace(params, resolved=shorter(params.resolved, share))


def shorter(params: Mapping[str, Any], share: float) -> dict[str, Any]:
    """Return parameters whose training is `share` as long; values that are 0 mean "not counted so" and stay."""
    found = dict(params)
    for name, value in params.items():
        if not isinstance(value, int) or isinstance(value, bool) or not value:
            continue
        if name == _ITERATIONS or name.endswith(f"_{_ITERATIONS}"):
            found[name] = max(min(LEAST, value), round(value * share))
        elif name in _PACE:
            found[name] = max(1, round(value * share))
    return found
