"""What the steps of a run will take, told from runs that were recorded on the same device.

A step's work is counted in pixels that go through a network: length x batch x crop² of a training, three times for the
way back, and images x size x scales² of what is inferred. Time is taken to grow with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from wsss_bench.runs.progress import duration
from wsss_bench.runs.store.folders import DONE

if TYPE_CHECKING:
    from wsss_bench.results.records import RunRecord
    from wsss_bench.runs.plan import Cell, Step
    from wsss_bench.runs.store.folders import Store

UNKNOWN = "unknown: no run on this device tells; --probe rehearses it"

_SAME = ("backbone", "network")
"""Parameters that must agree for one step to tell of another."""

_SIDE = 400
"""Pixels a side that stand for photographs seen at their own size: the same on both sides of a comparison."""


@dataclass(frozen=True)
class StepCost:
    """What one step is expected to take.

    Attributes:
        cell: the recipe and seed that compute it.
        step: its name in the cell.
        seconds: None where nothing tells.
        peak_mb: of memory, in MiB; None where nothing tells.
        source: where the figures come from, in words.
    """

    cell: str
    step: str
    seconds: float | None
    peak_mb: float | None
    source: str


@dataclass(frozen=True)
class Cost:
    """What a run is expected to take: the steps that are to be computed, each once.

    Attributes:
        device: what it is told for.
        steps: the steps, in the order of the plan.
    """

    device: str
    steps: tuple[StepCost, ...]

    @property
    def seconds(self) -> float:
        """The sum of what is known."""
        return sum(step.seconds or 0.0 for step in self.steps)

    @property
    def unknown(self) -> tuple[StepCost, ...]:
        """The steps of which nothing tells."""
        return tuple(step for step in self.steps if step.seconds is None)

    @property
    def peak_mb(self) -> float | None:
        """The largest peak of memory, None where none is known."""
        return max(
            (s.peak_mb for s in self.steps if s.peak_mb is not None), default=None
        )

    def lines(self) -> Iterator[str]:
        """Yield the total, then a line for each step."""
        if not self.steps:
            return
        total = f"about {duration(self.seconds)}"
        if self.unknown:
            total += f" and {len(self.unknown)} of {len(self.steps)} steps unknown"
        peak = self.peak_mb
        memory = "" if peak is None else f", {peak / 1024:.1f} GiB of memory at most"
        yield f"Cost on {self.device}: {total}{memory}"
        for step in self.steps:
            told = "?" if step.seconds is None else duration(step.seconds)
            yield f"  {step.cell}: {step.step}: {told} ({step.source})"


def cost_of(
    cells: Sequence[Cell],
    sizes: Mapping[str, int],
    store: Store,
    records: Sequence[RunRecord],
    device: str,
) -> Cost:
    """Return what the steps will take that are not finished.

    Args:
        cells: the plan.
        sizes: images by role (``train``, ``seeds``, ``val``).
        store: where finished steps are.
        records: earlier runs; those of other devices tell nothing.
        device: the device as records name it.
    """
    same = [record for record in records if record.device == device]
    found, seen = [], set()
    for cell in cells:
        for step in cell.steps:
            key = step.spec.key
            if key not in seen and store.folder(step.spec).state() != DONE:
                found.append(_estimate(cell, step, sizes, same))
            seen.add(key)
    return Cost(device, tuple(found))


@dataclass(frozen=True)
class _Seen:
    """A step of a record, as far as it tells of another one."""

    seconds: float
    peak_mb: float
    work: float
    exact: bool
    who: str


def _estimate(
    cell: Cell, step: Step, sizes: Mapping[str, int], records: Sequence[RunRecord]
) -> StepCost:
    told = list(filter(None, (_seen(cell, step, record) for record in records)))
    work = _work(step.stage, _params(cell, step), sizes)
    best = [one for one in told if one.exact] or told
    # Of the same method rather than of another one on the same network.
    own = [one for one in best if one.who == _who(cell, step)] or best
    if not own:
        return StepCost(cell.label, step.name, None, None, UNKNOWN)
    seconds = median(one.seconds * work / one.work for one in own)
    peak = max(one.peak_mb for one in own)
    return StepCost(cell.label, step.name, seconds, peak, _source(own, work))


def _source(told: Sequence[_Seen], work: float) -> str:
    runs = "1 run" if len(told) == 1 else f"{len(told)} runs"
    if all(one.exact and abs(one.work - work) < 1e-6 * work for one in told):
        return f"as in {runs} on this device"
    names = ", ".join(sorted({one.who for one in told}))
    return f"scaled from {runs} of {names} on this device"


def _who(cell: Cell, step: Step) -> str:
    if step.method is not None:
        return step.method.name
    last = cell.resolved.methods.get("segment")
    return last.name if step.stage == "predict" and last else "the harness"


def _params(cell: Cell, step: Step) -> Mapping[str, Any]:
    if step.params is not None:
        return step.params.resolved
    segment = cell.resolved.params.get("segment")
    return segment.resolved if step.stage == "predict" and segment else {}


def _seen(cell: Cell, step: Step, record: RunRecord) -> _Seen | None:
    """Return what a record tells of a step, None where it is of another kind."""
    cost = record.cost.get(step.name)
    if not cost or "seconds" not in cost:
        return None
    stage = "segment" if step.stage == "predict" else step.stage
    then: Mapping[str, Any] = record.params.get(stage, {})
    now = _params(cell, step)
    if any(then.get(name) != now.get(name) for name in _SAME):
        return None
    who = str(record.cards.get(stage, {}).get("name", "the harness"))
    # Without a network, methods have nothing in common.
    if not any(map(now.get, _SAME)) and who != _who(cell, step):
        return None
    work = _work(step.stage, then, record.dataset["sizes"])
    exact = who == _who(cell, step) and _plain(then) == _plain(now)
    return _Seen(cost["seconds"], cost.get("peak_mb", 0.0), work, exact, who)


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as JSON would give them back."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in params.items()}


def _work(stage: str, params: Mapping[str, Any], sizes: Mapping[str, int]) -> float:
    """Return the pixels that go through a network; of a step without one, the images."""
    images = _images(stage, sizes)
    if stage.startswith("score") or not params:
        return float(max(1, images))
    learnt = 0.0 if stage == "predict" else _learnt(params, images)
    # A segmentor is not asked for anything when it is trained.
    asked = 0.0 if stage == "segment" else _asked(stage, params, images)
    return max(1.0, 3 * learnt + asked)


def _images(stage: str, sizes: Mapping[str, int]) -> int:
    if stage in ("predict", "score_val"):
        return int(sizes["val"])
    return int(sizes["seeds" if stage.startswith("score") else "train"])


def _learnt(params: Mapping[str, Any], images: int) -> float:
    batch, crop = int(params.get("batch") or 0), int(params.get("crop") or 0)
    if not batch or not crop:
        return 0.0
    length = int(params.get("iterations") or 0)
    if not length:
        length = int(params.get("epochs") or 1) * max(1, images // batch)
    return float(length * batch * crop**2)


def _asked(stage: str, params: Mapping[str, Any], images: int) -> float:
    prefix = "test_" if stage == "predict" else ""
    side = int(params.get(f"{prefix}warp") or _SIDE)
    scales = params.get(f"{prefix}scales") or (1.0,)
    seen = sum(float(scale) ** 2 for scale in scales)
    twice = 2 if params.get(f"{prefix}flip") else 1
    return images * side**2 * seen * twice
