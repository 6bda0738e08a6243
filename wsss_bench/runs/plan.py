"""From resolved recipes to cells and steps: every stage key is known before anything is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from wsss_bench.contract.names import CONTRACT, TEST_NAMES
from wsss_bench.evaluate import PROTOCOL
from wsss_bench.io.files import canonical
from wsss_bench.methods.catalog import LoadedMethod
from wsss_bench.methods.modules import Closure
from wsss_bench.methods.params import Resolved, StageParams
from wsss_bench.methods.profiles import HARNESS, test_settings
from wsss_bench.runs.provenance.code import (
    check_loaded,
    code_parts,
    method_closure,
    step_closure,
)
from wsss_bench.runs.provenance.places import key_params
from wsss_bench.runs.source import Source
from wsss_bench.runs.store.folders import StageSpec, Store
from wsss_bench.runs.store.imports import LateImports

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
        closure: the code that it rests on, as far as that can be told before it runs.
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
    closure: Closure = field(default_factory=Closure)

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
    late: LateImports | None = None,
) -> Cell:
    """Return one cell: all its steps with their keys, in the order in which they run.

    `late` holds what earlier runs of the stages turned out to import; None where there were none.

    Raises:
        RecipeError: this process runs other code of the harness than its files hold by now.
        DataError, ArtifactError: a file of the dataset, or one that a parameter names, cannot be read.
    """
    planner = _Planner(resolved, source, seed, late)
    planner.add_methods()
    planner.add_scores()
    steps = tuple(planner.steps.values())
    for step in steps:
        check_loaded(step.closure)
    return Cell(resolved, source.dataset.name, seed, profile, steps)


@dataclass
class _Planner:
    resolved: Resolved
    source: Source
    seed: int
    late: LateImports | None
    steps: dict[str, Step] = field(default_factory=dict)

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
        truth = dict(self.source.scored_parts)
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
            parts = {"truth": dict(self.source.val_parts)}
            self._own("score_val", inputs, parts)

    def _predict_parts(self) -> Parts:
        parts: Parts = {"data": dict(self.source.predicted_parts)}
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
        closure = method_closure(method, stage)
        parts = self._method_parts(method, number, inputs)
        parts["code"] = code_parts(closure, method)
        whole = {**parts, "params": key_params(handed)}
        late = self._late(stage, whole, method)
        training = None
        if len(trained) < len(handed):
            training = {**parts, **late, "params": key_params(trained), "of": stage}
        self.steps[name] = Step(
            name,
            StageSpec(stage, {**whole, **late}),
            inputs,
            method,
            params,
            number,
            handed,
            names,
            training,
            closure,
        )
        return name

    def _late(self, stage: str, parts: Parts, method: LoadedMethod | None) -> Parts:
        """Return what belongs into a key besides `parts`, after what earlier runs of the stage have imported."""
        if self.late is None:
            return {}
        code = method.code if method else None
        return self.late.parts(StageSpec(stage, parts), code)

    def _method_parts(
        self,
        method: LoadedMethod,
        number: int,
        inputs: dict[str, str],
    ) -> Parts:
        identity = {"name": method.name, "version": method.card.version}
        parts = {
            "method": identity,
            "seed": self.seed,
            "round": number,
            "data": dict(self.source.train.parts),
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
        closure = step_closure(name)
        parts = {**parts, **self._common(inputs), "code": code_parts(closure)}
        # Predictions do not depend on how they are scored.
        if name.startswith("score"):
            parts["protocol"] = PROTOCOL
        parts |= self._late(name, parts, None)
        spec = StageSpec(name, parts)
        self.steps[name] = Step(name, spec, inputs, closure=closure)

    def _common(self, inputs: dict[str, str]) -> Parts:
        keys = {}
        for role, name in inputs.items():
            keys[role] = self.steps[name].spec.key
        return {"inputs": keys}


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
