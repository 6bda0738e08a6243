"""A recorded run beside its repetition: what differs around them, and every count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.results.records import COUNTS, RECORD, RUNS, RunRecord, load_record
from wsss_bench.runs.store.explain import differences, module_changes

if TYPE_CHECKING:
    from wsss_bench.evaluate import Counts
    from wsss_bench.runs.plan import Cell
    from wsss_bench.runs.source import Source


def environment(
    record: RunRecord, cell: Cell, source: Source, device: str
) -> list[str]:
    """Return what is not as it was, a line ``what: then -> now`` each: versions, plugins, data, hardware, keys."""
    from wsss_bench.runs.gathered import foreign_versions
    from wsss_bench.runs.provenance.facts import device_name, versions

    # Versions and digests only: what a card says besides may be reworded without changing a number.
    plugins_now = {
        stage: method.card.version for stage, method in cell.resolved.methods.items()
    }
    now: dict[str, Any] = {
        "versions": {**foreign_versions(cell), **versions()},
        "plugins": plugins_now,
        "device": device_name(device),
    }
    plugins_then = {stage: card.get("version") for stage, card in record.cards.items()}
    then: dict[str, Any] = {
        "versions": dict(record.versions),
        "plugins": plugins_then,
        "device": record.device,
    }
    found = differences(then, now)
    found += _changed_inputs(record, cell, source) + _changed_code(record, cell)
    return found + _changed_keys(record, cell)


def _changed_inputs(record: RunRecord, cell: Cell, source: Source) -> list[str]:
    """Name what the run read and is not as it was: ids, labels, images, masks, files given as parameters."""
    from wsss_bench.runs.gathered import inputs_of

    # Records of an older version hold one digest for all data, and none for parameters.
    if not record.inputs:
        then = {"data": record.dataset["fingerprint"]}
        return differences(then, {"data": source.fingerprint})
    now = inputs_of(cell, source)
    found = []
    for name in sorted({*record.inputs, *now}):
        before, after = record.inputs.get(name), now.get(name)
        if before != after:
            found += differences({name: before}, {name: after})
    return found


def _changed_code(record: RunRecord, cell: Cell) -> list[str]:
    """Name the modules whose code is not as it was."""
    from wsss_bench.runs.gathered import modules_of

    if record.modules:
        lines = module_changes(record.modules, modules_of(cell))
        return [f"code: {line}" for line in lines]
    # A record of an older version: one digest for each method, of another kind.
    return ["code: the record is of a version that kept no digests by module"]


def _changed_keys(record: RunRecord, cell: Cell) -> list[str]:
    changed = []
    for step in cell.steps:
        if record.keys.get(step.name) != step.spec.key:
            changed.append(step.name)
    if not changed:
        return []
    why = "see above; a key holds method, code, parameters, seed and data"
    return [f"stage keys: {', '.join(changed)} ({why})"]


@dataclass(frozen=True)
class Compared:
    """One scored stage, then and now: mIoU in percent, images whose counts differ, and whether none does."""

    what: str
    then: float | None
    now: float | None
    images: int

    @property
    def delta(self) -> float | None:
        """Now minus then in mIoU points; None where one of them was not scored."""
        if self.then is None or self.now is None:
            return None
        return self.now - self.then

    def within(self, tolerance: float) -> bool:
        """Return whether the mIoU moved by no more than `tolerance` points (both undefined counts as no move)."""
        if self.delta is None:
            return False
        return self.images == 0 or abs(self.delta) <= tolerance


def repetition(boards: Path, cell: Cell) -> RunRecord:
    """Return the record of a cell that has just run; raises `ArtifactError` where there is none."""
    return load_record(boards / RUNS / cell.dataset / cell.run_id / RECORD)


def compare(then: RunRecord, now: RunRecord) -> list[Compared]:
    """Return every scored stage of both records; per-image counts decide, not rounded means."""
    found = []
    for what in COUNTS:
        old, new = then.load_counts(what), now.load_counts(what)
        if old is None and new is None:
            continue
        if old is None or new is None:
            images = max(len(old or ()), len(new or ()))
        else:
            images = _differing(old, new)
        found.append(Compared(what, _percent(old), _percent(new), images))
    return found


def _percent(counts: Counts | None) -> float | None:
    return None if counts is None else 100 * counts.miou()


def _differing(old: Counts, new: Counts) -> int:
    """Return how many images have other counts, those in one set alone included; all where the classes differ."""
    import numpy as np

    if old.classes != new.classes:
        return max(len(old), len(new))
    here = set(new.ids)
    both = [image_id for image_id in old.ids if image_id in here]
    alone = len(here.symmetric_difference(old.ids))
    wrong = 0
    if both:
        unequal = old.rows(both) != new.rows(both)
        wrong = int(unequal.any((1, 2)).sum())
    # Equal per image, and yet another confusion: classes were exchanged within the misses of some image.
    confused = not np.array_equal(old.confusion, new.confusion)
    return alone + max(wrong, int(confused))


def as_json(
    record: RunRecord,
    command: Sequence[str],
    differs: Sequence[str],
    found: Sequence[Compared] | None = None,
) -> Mapping[str, Any]:
    """Return what ``--json`` prints; without scores where nothing was compared (yet)."""
    facts = {
        "schema": 1,
        "run": record.run_id,
        "command": ["wsss-bench", *command],
        "differs": list(differs),
    }
    if found is None:
        return facts
    return {**facts, "scores": [_score(one) for one in found]}


def _score(one: Compared) -> dict[str, Any]:
    return {
        "what": one.what,
        "then": one.then,
        "now": one.now,
        "delta": one.delta,
        "images_that_differ": one.images,
    }
