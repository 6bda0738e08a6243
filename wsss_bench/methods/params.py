"""Parameters in force: card defaults, then the profile, then what the user passed; checked by name and by type."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wsss_bench.contract.names import STAGES
from wsss_bench.errors import RecipeError, did_you_mean
from wsss_bench.methods.catalog import Catalog, LoadedMethod
from wsss_bench.methods.profiles import (
    Profile,
    check_params,
    replaced,
    with_profiles,
)
from wsss_bench.methods.recipe import Picks, Recipe, expand, parse_assignment
from wsss_bench.methods.values import Params, has, put


@dataclass(frozen=True)
class StageParams:
    """Parameters of one stage.

    Attributes:
        resolved: all that are in force.
        passed: what the user gave on the command line.
        overridden: what a profile replaced of values that the method itself states: its own, and the profile's, by
            parameter.
    """

    resolved: Params
    passed: Params
    overridden: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Option:
    """One ``--cfg-options stage.key=value``."""

    stage: str
    key: str
    value: Any

    def __str__(self) -> str:
        return f"{self.stage}.{self.key}"


@dataclass(frozen=True)
class Resolved:
    """A recipe with everything decided.

    Attributes:
        recipe, owner: as in `wsss_bench.methods.recipe.Picks`.
        methods: the loaded method of each stage that is not left out.
        params: its parameters.
        retrain: method and parameters of the refine stage of rounds 2 and later; None where no segmentor is trained.
    """

    recipe: Recipe
    owner: str
    methods: dict[str, LoadedMethod]
    params: dict[str, StageParams]
    retrain: tuple[LoadedMethod, StageParams] | None

    @property
    def rounds(self) -> int:
        """How often ``refine``, and ``segment`` where it is not left out, run."""
        if "segment" not in self.params:
            return 1
        return int(self.params["segment"].resolved["rounds"])


def parse_options(pairs: Sequence[str]) -> list[Option]:
    """Parse the values of ``--cfg-options``; raises `RecipeError` for anything but ``stage.key=value``."""
    options = []
    for pair in pairs:
        key, value = parse_assignment(pair, "--cfg-options")
        stage, dot, rest = key.partition(".")
        if not dot or stage not in STAGES:
            hint = f" For example: {STAGES[-1]}.{key}={value}"
            if dot:
                hint = did_you_mean(stage, STAGES)
            what = f"{key!r} must begin with a stage ({', '.join(STAGES)})."
            raise RecipeError(f"--cfg-options: {what}{hint}")
        options.append(Option(stage, rest, value))
    return options


def resolve(
    recipe: Recipe,
    catalog: Catalog,
    profile: Profile,
    options: Iterable[Option] = (),
    weights: str | None = None,
) -> Resolved:
    """Load the methods of a recipe and decide every parameter.

    `options` that no stage of this recipe has are left out here; `check_options` tells those that no recipe has.

    Raises:
        RecipeError: an unknown method, an unknown parameter, a value of the wrong type, or a number out of range.
        PluginError: a picked plugin is broken.
    """
    picks = expand(
        recipe,
        lambda name: catalog.load(name).card.stages,
        lambda name: catalog.load(name).card.recipe,
    )
    methods = {stage: catalog.load(name) for stage, name in picks.names.items()}
    base = _base(picks, methods, profile)
    passed = _bind(picks, base)
    given = _Given(tuple(options), weights)
    params = {}
    for stage, method in methods.items():
        theirs = replaced(method, stage, profile, base[stage])
        found = _override(base[stage], passed[stage], given, stage, method)
        params[stage] = StageParams(found.resolved, found.passed, theirs)
    retrain = None
    if "segment" in methods:
        rounds = params["segment"].resolved["rounds"]
        if rounds < 1:
            what = f"segment.rounds must be at least 1, not {rounds}."
            raise RecipeError(f"recipe {str(recipe)!r}: {what}")
        retrain = _retrain(methods, params, profile, given)
    return Resolved(recipe, picks.owner, methods, params, retrain)


@dataclass(frozen=True)
class _Given:
    """What the user passed for all recipes: the options, and ``--weights``."""

    options: tuple[Option, ...]
    weights: str | None


def _base(
    picks: Picks,
    methods: Mapping[str, LoadedMethod],
    profile: Profile,
) -> dict[str, Params]:
    """Return the parameters by stage before the user's: the methods', the profile's, the card's own recipe's."""
    base = {}
    for stage, method in methods.items():
        base[stage] = with_profiles(method, stage, [profile])
    # After the profile: a card's recipe says what makes the method, not how large it is.
    for stage, own in picks.defaults.items():
        for key, value in own.items():
            where = f"method card {picks.owner!r}: {stage}.{key}"
            put(base[stage], key, value, where)
    return base


def _retrain(
    methods: Mapping[str, LoadedMethod],
    params: Mapping[str, StageParams],
    profile: Profile,
    given: _Given,
) -> tuple[LoadedMethod, StageParams]:
    """Return method and parameters of the refine stage of later rounds."""
    refiner, owner = methods["refine"], methods["segment"]
    if owner is refiner or "refine" not in owner.card.stages:
        return refiner, params["refine"]
    # Whoever trains in rounds knows how to relabel for the next one. Brackets of the recipe's refine slot
    # were written for another method.
    base = with_profiles(owner, "refine", [profile])
    return owner, _override(base, {}, given, "refine", owner)


def _bind(
    picks: Picks,
    base: Mapping[str, Params],
) -> dict[str, Params]:
    """Return bracket parameters by stage; those of a bare name go to the one stage that has them, its own first."""
    bound = {stage: dict(picks.params[stage]) for stage in base}
    for key, value in picks.free.items():
        # What is written with its stage is meant for that stage, so it wins over the same name written without.
        bound[_stage_of(key, picks, base)].setdefault(key, value)
    return bound


def _stage_of(
    key: str,
    picks: Picks,
    base: Mapping[str, Params],
) -> str:
    having = [stage for stage in base if has(base[stage], key)]
    own = [stage for stage in having if picks.names[stage] == picks.owner]
    stages = own or having
    where = f"recipe {str(picks.recipe)!r}"
    if not stages:
        known = set().union(*base.values())
        what = f"no stage has a parameter {key!r}.{did_you_mean(key, known)}"
        raise RecipeError(f"{where}: {what}")
    if len(stages) > 1:
        choice = " or ".join(f"{stage}.{key}" for stage in stages)
        what = f"several stages have a parameter {key!r}. Write {choice}."
        raise RecipeError(f"{where}: {what}")
    return stages[0]


def _override(
    base: Params,
    bracket: Params,
    given: _Given,
    stage: str,
    method: LoadedMethod,
) -> StageParams:
    passed = dict(bracket)
    for option in given.options:
        # An option goes to every recipe that has it; `check_options` tells those that none has.
        if option.stage == stage and has(base, option.key):
            passed[option.key] = option.value
    if given.weights is not None and "weights" in base:
        passed.setdefault("weights", given.weights)
    resolved = copy.deepcopy(base)
    for key, value in passed.items():
        put(resolved, key, value, f"method {method.name!r}: parameter {stage}.{key}")
    check_params(method, stage, resolved)
    return StageParams(resolved, passed)


def check_options(
    options: Iterable[Option],
    resolved: Iterable[Resolved],
    weights: str | None = None,
) -> None:
    """Raise `RecipeError` for an option, or for ``--weights``, that no stage of any recipe has."""
    found: dict[str, list[Params]] = {stage: [] for stage in STAGES}
    for recipe in resolved:
        for stage, params in recipe.params.items():
            found[stage].append(params.resolved)
    for option in options:
        stages = found[option.stage]
        if not any(has(params, option.key) for params in stages):
            hint = did_you_mean(option.key, set().union(*stages))
            what = f"no picked method has {option}.{hint}"
            raise RecipeError(f"--cfg-options: {what}")
    everywhere = itertools.chain(*found.values())
    if weights is not None and not any("weights" in params for params in everywhere):
        raise RecipeError("--weights: no picked method has a parameter 'weights'.")
