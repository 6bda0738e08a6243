"""Parameters in force: card defaults, then the profile, then what the user passed, checked name by name and type by type."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wsss_bench.contract.names import STAGES
from wsss_bench.errors import RecipeError, did_you_mean
from wsss_bench.methods.catalog import Catalog, LoadedMethod
from wsss_bench.methods.profiles import Profile, with_profiles
from wsss_bench.methods.recipe import Picks, Recipe, expand, parse_assignment
from wsss_bench.methods.values import Params, has, put


@dataclass(frozen=True)
class StageParams:
    """Parameters of one stage: `resolved` is in force, `passed` is what the user gave on the command line."""

    resolved: Params
    passed: Params


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
        return (
            int(self.params["segment"].resolved["rounds"])
            if "segment" in self.params
            else 1
        )


def parse_options(pairs: Sequence[str]) -> list[Option]:
    """Parse the values of ``--cfg-options``; raises `RecipeError` for anything but ``stage.key=value``."""
    options = []
    for pair in pairs:
        key, value = parse_assignment(pair, "--cfg-options")
        stage, dot, rest = key.partition(".")
        if not dot or stage not in STAGES:
            hint = (
                did_you_mean(stage, STAGES)
                if dot
                else f" For example: {STAGES[-1]}.{key}={value}"
            )
            raise RecipeError(
                f"--cfg-options: {key!r} must begin with a stage ({', '.join(STAGES)}).{hint}"
            )
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
        RecipeError: an unknown method, an unknown parameter, or a value of the wrong type.
        PluginError: a picked plugin is broken.
    """
    picks = expand(
        recipe,
        lambda name: catalog.load(name).card.stages,
        lambda name: catalog.load(name).card.recipe,
    )
    methods = {stage: catalog.load(name) for stage, name in picks.names.items()}
    base = {
        stage: with_profiles(method, stage, [profile])
        for stage, method in methods.items()
    }
    for stage, own in picks.defaults.items():
        for key, value in own.items():
            put(base[stage], key, value, f"method card {picks.owner!r}: {stage}.{key}")
    passed = _bind(picks, base)
    options = list(options)
    params = {
        stage: _override(
            base[stage], passed[stage], options, weights, stage, methods[stage]
        )
        for stage in methods
    }
    retrain = None
    if "segment" in methods:
        rounds = params["segment"].resolved["rounds"]
        if rounds < 1:
            raise RecipeError(
                f"recipe {str(recipe)!r}: segment.rounds must be at least 1, not {rounds}."
            )
        owner = methods["segment"]
        retrain = (methods["refine"], params["refine"])
        if "refine" in owner.card.stages and owner is not methods["refine"]:
            retrain = (
                owner,
                _override(
                    with_profiles(owner, "refine", [profile]),
                    {},
                    options,
                    weights,
                    "refine",
                    owner,
                ),
            )
    return Resolved(recipe, picks.owner, methods, params, retrain)


def _bind(picks: Picks, base: Mapping[str, Params]) -> dict[str, Params]:
    """Bracket parameters by stage; those of a bare name go to the one stage that has them, the method's own first."""
    bound = {stage: dict(picks.params[stage]) for stage in base}
    for key, value in picks.free.items():
        having = [stage for stage in base if has(base[stage], key)]
        own = [stage for stage in having if picks.names[stage] == picks.owner]
        stages = own or having
        if not stages:
            known = {name for params in base.values() for name in params}
            raise RecipeError(
                f"recipe {str(picks.recipe)!r}: no stage has a parameter {key!r}.{did_you_mean(key, known)}"
            )
        if len(stages) > 1:
            choice = " or ".join(f"{stage}.{key}" for stage in stages)
            raise RecipeError(
                f"recipe {str(picks.recipe)!r}: several stages have a parameter {key!r}. Write {choice}."
            )
        bound[stages[0]].setdefault(key, value)
    return bound


def _override(
    base: Params,
    bracket: Params,
    options: Iterable[Option],
    weights: str | None,
    stage: str,
    method: LoadedMethod,
) -> StageParams:
    passed = dict(bracket)
    passed.update(
        {
            option.key: option.value
            for option in options
            if option.stage == stage and has(base, option.key)
        }
    )
    if weights is not None and "weights" in base:
        passed.setdefault("weights", weights)
    resolved = copy.deepcopy(base)
    for key, value in passed.items():
        put(resolved, key, value, f"method {method.name!r}: parameter {stage}.{key}")
    return StageParams(resolved, passed)


def check_options(
    options: Iterable[Option], resolved: Iterable[Resolved], weights: str | None = None
) -> None:
    """Raise `RecipeError` for an option, or for ``--weights``, that no stage of any recipe has."""
    recipes = list(resolved)
    for option in options:
        stages = [
            r.params[option.stage].resolved for r in recipes if option.stage in r.params
        ]
        if not any(has(params, option.key) for params in stages):
            known = {name for params in stages for name in params}
            raise RecipeError(
                f"--cfg-options: no picked method has {option}.{did_you_mean(option.key, known)}"
            )
    if weights is not None and not any(
        "weights" in p.resolved for r in recipes for p in r.params.values()
    ):
        raise RecipeError("--weights: no picked method has a parameter 'weights'.")
