"""From resolved recipes to cells and steps: every stage key is known before anything is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from wsss_bench import __version__
from wsss_bench.contract.names import CONTRACT
from wsss_bench.evaluate import PROTOCOL
from wsss_bench.io.files import canonical, file_digest
from wsss_bench.methods.catalog import LoadedMethod
from wsss_bench.methods.params import Resolved, StageParams
from wsss_bench.methods.profiles import HARNESS
from wsss_bench.runs.source import Source
from wsss_bench.runs.store.folders import StageSpec, Store

HARNESS_STAGES = ("score_seeds", "score_labels", "predict", "score_val")
"""What the harness does itself, after the plugins."""


@dataclass(frozen=True)
class Step:
    """One stage of one cell.

    Attributes:
        name: unique in the cell: ``localize``, ``refine.2`` (second round), ``score_val``.
        spec: its key and the stage's name in the store.
        inputs: the name of the step that gives each input, by role (``seeds``, ``labels``, ``previous``, …).
        method, params: who computes it; None for the harness itself.
        round: 1, or the retrain round.
    """

    name: str
    spec: StageSpec
    inputs: Mapping[str, str] = field(default_factory=dict)
    method: LoadedMethod | None = None
    params: StageParams | None = None
    round: int = 1

    @property
    def stage(self) -> str:
        """The stage's name in the store."""
        return self.spec.stage


@dataclass(frozen=True)
class Cell:
    """One recipe on one dataset with one seed."""

    resolved: Resolved
    dataset: str
    seed: int
    profile: str
    steps: tuple[Step, ...]

    @cached_property
    def label(self) -> str:
        """What displays call it: the recipe and the seed."""
        return f"{self.resolved.recipe} seed {self.seed}"

    @cached_property
    def id(self) -> str:
        """Names the cell over repetitions of the same command, whatever the code is by now."""
        passed = {
            stage: key_params(params.passed)
            for stage, params in self.resolved.params.items()
        }
        identity = canonical(
            [str(self.resolved.recipe), self.dataset, self.seed, self.profile, passed]
        )
        return f"{self.dataset}-{self.resolved.recipe.slug}-s{self.seed}-{hashlib.sha256(identity.encode()).hexdigest()[:6]}"

    @cached_property
    def run_id(self) -> str:
        """Names the result: equal only for equal stage keys."""
        keys = canonical([step.spec.key for step in self.steps])
        return f"{self.resolved.recipe.slug}-s{self.seed}-{hashlib.sha256(keys.encode()).hexdigest()[:8]}"

    def step(self, name: str) -> Step | None:
        """The step of that name, or None where the cell has none."""
        return next((step for step in self.steps if step.name == name), None)

    def last(self, stage: str) -> Step | None:
        """The last step of a stage (its last round), or None where the cell has none."""
        return next(
            (step for step in reversed(self.steps) if step.stage == stage), None
        )


def key_params(value: Any) -> Any:
    """Parameters as they enter a key: a path of an existing file counts by content and name, not by where it lies."""
    if isinstance(value, Mapping):
        return {str(key): key_params(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [key_params(item) for item in value]
    if isinstance(value, Path) or (
        isinstance(value, str) and ("/" in value or "." in value)
    ):
        path = Path(value)
        return (
            {"file": path.name, "sha256": _digest(path, path.stat().st_mtime_ns)}
            if path.is_file()
            else str(value)
        )
    return value


@lru_cache
def _digest(path: Path, changed: int) -> str:
    """A file's digest, read once for all cells; `changed` (its time stamp) makes an edited file a new one."""
    return file_digest(path)


def plugin_params(params: StageParams) -> dict[str, Any]:
    """What a plugin is handed: all but the harness's own, so that a first round is shared by runs of one and two rounds."""
    return {
        key: value
        for key, value in params.resolved.items()
        if key not in HARNESS["segment"]
    }


def plan_cell(resolved: Resolved, source: Source, seed: int, profile: str) -> Cell:
    """All steps of one cell with their keys, in the order in which they run."""
    planner = _Planner(resolved, source, seed)
    planner.add_methods()
    planner.add_scores()
    return Cell(
        resolved, source.dataset.name, seed, profile, tuple(planner.steps.values())
    )


class _Planner:
    def __init__(self, resolved: Resolved, source: Source, seed: int) -> None:
        self.resolved, self.source, self.seed = resolved, source, seed
        self.steps: dict[str, Step] = {}

    def add_methods(self) -> None:
        """The plugins' stages, as far as they are not left out: localize, then refine and segment once per round."""
        resolved = self.resolved
        seeds = {}
        if "localize" in resolved.methods:
            self._method(
                "localize",
                "localize",
                {},
                resolved.methods["localize"],
                resolved.params["localize"],
                1,
            )
            seeds = {"seeds": "localize"}
        if "refine" not in resolved.methods:
            return
        refiner: tuple[LoadedMethod, StageParams] = (
            resolved.methods["refine"],
            resolved.params["refine"],
        )
        previous: dict[str, str] = {}
        for number in range(1, resolved.rounds + 1):
            suffix = "" if number == 1 else f".{number}"
            self._method(
                "refine", f"refine{suffix}", {**seeds, **previous}, *refiner, number
            )
            if resolved.retrain is None:
                return
            refiner = resolved.retrain
            inputs = {"labels": f"refine{suffix}", **seeds, **previous}
            self._method(
                "segment",
                f"segment{suffix}",
                inputs,
                resolved.methods["segment"],
                resolved.params["segment"],
                number,
            )
            previous = {"previous": f"segment{suffix}"}

    def add_scores(self) -> None:
        """What the harness does itself: score every stage, predict."""
        labels, segmentor = self._last("refine"), self._last("segment")
        if "localize" in self.steps:
            fixed = fixed_threshold(self.resolved)
            self._own(
                "score_seeds",
                {"seeds": "localize"},
                {"truth": self.source.scored_fingerprint, "threshold": fixed},
            )
        if labels:
            self._own(
                "score_labels",
                {"labels": labels},
                {"truth": self.source.scored_fingerprint},
            )
        if segmentor:
            self._own(
                "predict",
                {"segmentor": segmentor},
                {"data": self.source.val.fingerprint},
            )
            self._own(
                "score_val",
                {"predictions": "predict"},
                {"truth": self.source.val_fingerprint},
            )

    def _last(self, stage: str) -> str | None:
        return next(
            (
                name
                for name, step in reversed(self.steps.items())
                if step.stage == stage
            ),
            None,
        )

    def _method(
        self,
        stage: str,
        name: str,
        inputs: dict[str, str],
        method: LoadedMethod,
        params: StageParams,
        number: int,
    ) -> None:
        parts = {
            "method": {
                "name": method.name,
                "version": method.card.version,
                "code": method.code_digest,
            },
            "params": key_params(plugin_params(params)),
            "seed": self.seed,
            "round": number,
            "data": self.source.train.fingerprint,
            "contract": CONTRACT,
            **self._common(inputs),
        }
        if "masks" in method.card.supervision:
            parts["masks"] = self.source.train_masks_fingerprint
        self.steps[name] = Step(
            name, StageSpec(stage, parts), inputs, method, params, number
        )

    def _own(self, name: str, inputs: dict[str, str], parts: dict[str, Any]) -> None:
        protocol = {"protocol": PROTOCOL} if name.startswith("score") else {}
        spec = StageSpec(name, {**protocol, **parts, **self._common(inputs)})
        self.steps[name] = Step(name, spec, inputs)

    def _common(self, inputs: dict[str, str]) -> dict[str, Any]:
        return {
            "inputs": {
                role: self.steps[name].spec.key for role, name in inputs.items()
            },
            "harness": __version__,
        }


def fixed_threshold(resolved: Resolved) -> float | None:
    """The background threshold that the localizer declares in its parameters, or None."""
    localize = resolved.params.get("localize")
    value = localize.resolved.get("threshold") if localize else None
    return (
        float(value)
        if isinstance(value, int | float) and not isinstance(value, bool)
        else None
    )


def states(cell: Cell, store: Store) -> dict[str, str]:
    """The state of every step of a cell in the store."""
    return {step.name: store.folder(step.spec).state() for step in cell.steps}
