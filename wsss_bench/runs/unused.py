"""Options of a request that change nothing, each with a sentence: whoever typed one expects something of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.runs.store.folders import DONE

if TYPE_CHECKING:
    from wsss_bench.data.base import Dataset
    from wsss_bench.methods.catalog import LoadedMethod
    from wsss_bench.methods.params import Resolved
    from wsss_bench.runs.plan import Cell, Step
    from wsss_bench.runs.store.folders import Store

_TRAINING = ("epochs", "iterations", "max_iters", "lr")
"""Names of parameters that only a stage which trains something has."""


def unused_data(
    dataset: Dataset, root: Path | None, skip: Path | None
) -> Iterator[str]:
    """Yield a sentence where an opened dataset makes nothing of the root or of the skip list that were given."""
    if root is not None and not _below(dataset.root, root):
        what = f"{dataset.name} lies in {dataset.root}"
        yield f"--data-root {root} has no effect: {what}."
    if skip is not None and not dataset.skipped:
        yield f"--skip {skip} has no effect: it lists no image."


def _below(place: Path, root: Path) -> bool:
    return place.resolve().is_relative_to(root.expanduser().resolve())


def unused_flags(
    plugins: Sequence[Path],
    log: Sequence[str],
    cells: Sequence[Cell],
    store: Store,
) -> Iterator[str]:
    """Yield a sentence for each plugin and logger that no recipe and no stage makes anything of."""
    used = {method.distribution for cell in cells for method in _local(cell.resolved)}
    for path in plugins:
        if path.name not in used:
            yield f"--plugin {path} has no effect: no recipe uses it."
    loggers = [name for name in log if name != "local"]
    if loggers and not _trains(cells, store):
        why = "nothing that is to be computed trains"
        yield f"--log {','.join(loggers)} has no effect: {why}."


def _local(resolved: Resolved) -> Iterator[LoadedMethod]:
    """Yield the methods of a recipe that come from a file."""
    methods = list(resolved.methods.values())
    if resolved.retrain is not None:
        methods.append(resolved.retrain[0])
    for method in methods:
        if method.version == "local":
            yield method


def _trains(cells: Sequence[Cell], store: Store) -> bool:
    for cell in cells:
        for step in cell.steps:
            to_do = store.folder(step.spec).state() != DONE
            if to_do and _step_trains(step):
                return True
    return False


def _step_trains(step: Step) -> bool:
    if step.stage == "segment":
        return True
    params = step.params.resolved if step.params else {}
    return any(name in params for name in _TRAINING)
