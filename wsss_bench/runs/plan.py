"""From resolved recipes to cells and steps: every stage key is known before anything is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from wsss_bench import __version__
from wsss_bench.contract.names import CONTRACT, TEST_NAMES
from wsss_bench.evaluate import PROTOCOL
from wsss_bench.io.files import canonical, file_digest
from wsss_bench.methods.catalog import LoadedMethod
from wsss_bench.methods.params import Resolved, StageParams
from wsss_bench.methods.profiles import HARNESS, test_settings
from wsss_bench.runs.source import Source
from wsss_bench.runs.store.folders import StageSpec, Store

Parts = dict[str, Any]
"""What goes into a key, by name."""

HARNESS_STAGES = ("score_seeds", "score_labels", "predict", "score_val")
"""What the harness does itself, after the plugins."""


@dataclass(frozen=True)
class Step:
    """One stage of one cell.

    Attributes:
        name: unique in the cell: ``localize``, ``refine.2`` (second round), ``score_val``.
        spec: its key and the stage's name in the store.
        inputs: the name of the step that gives each input, by role (``seeds``, ``labels``, ``previous``, …).
        method, params: who computes it, and the parameters in force; None for the harness itself.
        round: 1, or the retrain round.
        handed: the parameters that the plugin gets: all in force, without those that belong to the harness.
        test_settings: names of parameters that the stage's trainings do not depend on.
        training: what the trainings depend on that the store keeps apart from the stage; None where it keeps none.
    """

    name: str
    spec: StageSpec
    inputs: Mapping[str, str] = field(default_factory=dict)
    method: LoadedMethod | None = None
    params: StageParams | None = None
    round: int = 1
    handed: Mapping[str, Any] = field(default_factory=dict)
    test_settings: tuple[str, ...] = ()
    training: Mapping[str, Any] | None = None

    @property
    def stage(self) -> str:
        """The stage's name in the store."""
        return self.spec.stage

    @property
    def test(self) -> Parts:
        """Settings that a ``predict`` step lays over those of its segmentor; none for other steps."""
        return dict(self.spec.parts.get("test", {}))


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
        recipe = self.resolved.recipe
        passed = {}
        for stage, params in self.resolved.params.items():
            passed[stage] = key_params(params.passed)
        identity = [
            str(recipe),
            self.dataset,
            self.seed,
            self.profile,
            passed,
        ]
        short = _short_digest(identity, 6)
        return f"{self.dataset}-{recipe.slug}-s{self.seed}-{short}"

    @cached_property
    def run_id(self) -> str:
        """Names the result: equal only for equal stage keys."""
        keys = [step.spec.key for step in self.steps]
        short = _short_digest(keys, 8)
        return f"{self.resolved.recipe.slug}-s{self.seed}-{short}"

    def step(self, name: str) -> Step | None:
        """Return the step of that name, or None where the cell has none."""
        for step in self.steps:
            if step.name == name:
                return step
        return None

    def last(self, stage: str) -> Step | None:
        """Return the last step of a stage (its last round), or None where the cell has none."""
        for step in reversed(self.steps):
            if step.stage == stage:
                return step
        return None


def _short_digest(payload: object, length: int) -> str:
    text = canonical(payload)
    digest = hashlib.sha256(text.encode())
    return digest.hexdigest()[:length]


def key_params(value: Any) -> Any:
    """Return parameters as they enter a key: an existing file counts by content and name, not by where it lies."""
    if isinstance(value, Mapping):
        items = value.items()
        return {str(key): key_params(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [key_params(item) for item in value]
    if isinstance(value, Path):
        return _key_path(value, str(value))
    # A text that can be no path of ours is not looked up on the disk.
    if isinstance(value, str) and ("/" in value or "." in value):
        return _key_path(Path(value), value)
    return value


def _key_path(path: Path, text: str) -> Any:
    if not path.is_file():
        return text
    changed = path.stat().st_mtime_ns
    return {"file": path.name, "sha256": _digest(path, changed)}


@lru_cache
def _digest(path: Path, changed: int) -> str:
    """Return a file's digest, read once for all cells; `changed` (its time stamp) makes an edited file a new one."""
    return file_digest(path)


def plugin_params(stage: str, params: StageParams) -> Parts:
    """Return all parameters but the harness's own, so that a first round is shared by runs of one and two rounds."""
    return without(params.resolved, HARNESS.get(stage, {}))


def without(params: Mapping[str, Any], names: Collection[str]) -> Parts:
    """Return `params` without those called `names`."""
    kept = dict(params)
    for name in names:
        kept.pop(name, None)
    return kept


def mapped_test(params: Mapping[str, Any], names: Collection[str]) -> Parts:
    """Return the test settings of a segmentor, as `Segmentor.test` calls them, that its parameters `names` hold."""
    found = {}
    for name in names:
        if name in TEST_NAMES and name in params:
            found[TEST_NAMES[name]] = params[name]
    return found


def plan_cell(
    resolved: Resolved,
    source: Source,
    seed: int,
    profile: str,
) -> Cell:
    """Return one cell: all its steps with their keys, in the order in which they run."""
    planner = _Planner(resolved, source, seed)
    planner.add_methods()
    planner.add_scores()
    steps = tuple(planner.steps.values())
    return Cell(resolved, source.dataset.name, seed, profile, steps)


class _Planner:
    def __init__(self, resolved: Resolved, source: Source, seed: int) -> None:
        self.resolved, self.source, self.seed = resolved, source, seed
        self.steps: dict[str, Step] = {}

    def add_methods(self) -> None:
        """Add the plugins' stages that are not left out: localize, then refine and segment once per round."""
        resolved = self.resolved
        seeds = {}
        if "localize" in resolved.methods:
            localizer = self._picked("localize")
            seeds["seeds"] = self._method("localize", {}, 1, *localizer)
        if "refine" not in resolved.methods:
            return
        refiner = self._picked("refine")
        previous: dict[str, str] = {}
        for number in range(1, resolved.rounds + 1):
            inputs = {**seeds, **previous}
            labels = self._method("refine", inputs, number, *refiner)
            if resolved.retrain is None:
                return
            # From the second round on a method that owns the segmentor refines its own predictions.
            refiner = resolved.retrain
            inputs = {**inputs, "labels": labels}
            owner = self._picked("segment")
            segmentor = self._method("segment", inputs, number, *owner)
            previous = {"previous": segmentor, "previous_labels": labels}

    def _picked(self, stage: str) -> tuple[LoadedMethod, StageParams]:
        return self.resolved.methods[stage], self.resolved.params[stage]

    def add_scores(self) -> None:
        """Add what the harness does itself: score every stage, predict."""
        labels = self._last("refine")
        segmentor = self._last("segment")
        truth = self.source.scored_fingerprint
        if "localize" in self.steps:
            threshold = fixed_threshold(self.resolved)
            parts = {"truth": truth, "threshold": threshold}
            self._own("score_seeds", {"seeds": "localize"}, parts)
        if labels:
            self._own("score_labels", {"labels": labels}, {"truth": truth})
        if segmentor:
            inputs = {"segmentor": segmentor}
            self._own("predict", inputs, self._predict_parts())
            inputs = {"predictions": "predict"}
            parts = {"truth": self.source.val_fingerprint}
            self._own("score_val", inputs, parts)

    def _predict_parts(self) -> Parts:
        parts: Parts = {"data": self.source.val.fingerprint}
        method, params = self._picked("segment")
        test = mapped_test(params.resolved, test_settings(method, "segment"))
        if test:
            parts["test"] = key_params(test)
        return parts

    def _last(self, stage: str) -> str | None:
        for name, step in reversed(self.steps.items()):
            if step.stage == stage:
                return name
        return None

    def _method(
        self,
        stage: str,
        inputs: dict[str, str],
        number: int,
        method: LoadedMethod,
        params: StageParams,
    ) -> str:
        """Add one stage of a plugin; returns the step's name."""
        name = stage if number == 1 else f"{stage}.{number}"
        names = test_settings(method, stage)
        handed = plugin_params(stage, params)
        trained = without(handed, names)
        # A segmentor is trained here and predicts in a step of its own, so its test settings are not this step's
        # affair.
        if stage == "segment":
            handed = trained
        parts = self._method_parts(method, number, inputs)
        spec = StageSpec(stage, {**parts, "params": key_params(handed)})
        training = None
        if len(trained) < len(handed):
            training = {**parts, "params": key_params(trained), "of": stage}
        self.steps[name] = Step(
            name,
            spec,
            inputs,
            method,
            params,
            number,
            handed,
            names,
            training,
        )
        return name

    def _method_parts(
        self,
        method: LoadedMethod,
        number: int,
        inputs: dict[str, str],
    ) -> Parts:
        identity = {
            "name": method.name,
            "version": method.card.version,
            "code": method.code_digest,
        }
        parts = {
            "method": identity,
            "seed": self.seed,
            "round": number,
            "data": self.source.train.fingerprint,
            "contract": CONTRACT,
            **self._common(inputs),
        }
        if "masks" in method.card.supervision:
            parts["masks"] = self.source.train_masks_fingerprint
        return parts

    def _own(
        self,
        name: str,
        inputs: dict[str, str],
        parts: Parts,
    ) -> None:
        parts = {**parts, **self._common(inputs)}
        # Predictions do not depend on how they are scored.
        if name.startswith("score"):
            parts["protocol"] = PROTOCOL
        spec = StageSpec(name, parts)
        self.steps[name] = Step(name, spec, inputs)

    def _common(self, inputs: dict[str, str]) -> Parts:
        keys = {}
        for role, name in inputs.items():
            keys[role] = self.steps[name].spec.key
        return {"inputs": keys, "harness": __version__}


def fixed_threshold(resolved: Resolved) -> float | None:
    """Return the background threshold that the localizer declares in its parameters, or None."""
    localize = resolved.params.get("localize")
    value = localize.resolved.get("threshold") if localize else None
    # True and False are ints to Python, and no thresholds.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def states(cell: Cell, store: Store) -> dict[str, str]:
    """Return the state of every step of a cell in the store."""
    found = {}
    for step in cell.steps:
        found[step.name] = store.folder(step.spec).state()
    return found
