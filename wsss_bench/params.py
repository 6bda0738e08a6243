"""Parameters in force: card defaults, then the profile, then what the user passed, checked name by name and type by type."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_bench.catalog import Catalog, LoadedMethod
from wsss_bench.errors import RecipeError, did_you_mean
from wsss_bench.hookspecs import STAGES
from wsss_bench.paths import configs_dir
from wsss_bench.recipe import Picks, Recipe, expand, parse_assignment

HARNESS: Mapping[str, Mapping[str, Any]] = {"segment": {"rounds": 1}}
"""Parameters every method has, because the harness itself reads them; a card may set another default."""

ANY = "*"
LENGTHS = ("epochs", "iterations")
"""Two parameters that say how long a training is. Zero in one of them leaves it to the other."""
Params = dict[str, Any]


@dataclass(frozen=True)
class Profile:
    """Overrides by stage and method, e.g. to make a recipe run on a CPU-sized budget.

    ``overrides[stage]["*"]`` applies where a method has the parameter; ``overrides[stage][method]`` must exist there. Zero
    ``epochs`` or ``iterations`` for all methods applies only where a method has both, so that no training is left without a
    length.
    """

    name: str
    overrides: Mapping[str, Mapping[str, Params]] = field(default_factory=dict)


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
        recipe, owner: as in `wsss_bench.recipe.Picks`.
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
        return int(self.params["segment"].resolved["rounds"]) if "segment" in self.params else 1


def parse_options(pairs: Sequence[str]) -> list[Option]:
    """Parse the values of ``--cfg-options``; raises `RecipeError` for anything but ``stage.key=value``."""
    options = []
    for pair in pairs:
        key, value = parse_assignment(pair, "--cfg-options")
        stage, dot, rest = key.partition(".")
        if not dot or stage not in STAGES:
            hint = did_you_mean(stage, STAGES) if dot else f" For example: {STAGES[-1]}.{key}={value}"
            raise RecipeError(f"--cfg-options: {key!r} must begin with a stage ({', '.join(STAGES)}).{hint}")
        options.append(Option(stage, rest, value))
    return options


def load_profile(name: str) -> Profile:
    """Load a profile by name from ``configs/profiles``, or from the path of a Python config file (which runs its code).

    ``paper`` is built in: no overrides. Raises `RecipeError` for an unknown name or a malformed file.
    """
    folder = configs_dir() / "profiles"
    path = Path(name) if name.endswith(".py") else folder / f"{name}.py"
    if not path.is_file():
        if name == "paper":
            return Profile(name)
        known = {"paper", *(p.stem for p in folder.glob("[!_]*.py"))}
        raise RecipeError(f"there is no profile {name!r}.{did_you_mean(name, known)} Or give the path of a .py file.")
    overrides = {stage: entry for stage, entry in read_config(path).items() if not stage.startswith("_")}
    for stage, entry in overrides.items():
        if stage not in STAGES:
            raise RecipeError(f"profile {path.name}: {stage!r} is no stage.{did_you_mean(stage, STAGES)}")
        if not isinstance(entry, Mapping) or not all(isinstance(value, Mapping) for value in entry.values()):
            raise RecipeError(f"profile {path.name}: {stage} must map method names or '*' to dicts of parameters.")
    return Profile(path.stem, overrides)


def read_config(path: Path) -> Params:
    """The variables of an mmengine Python config as plain dicts, inheritance resolved; this runs the file's code.

    Raises:
        RecipeError: the file is missing or cannot be read.
    """
    from mmengine.config import Config, ConfigDict

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list) else value

    try:
        content = Config.fromfile(path)
        return {key: plain(value) for key, value in content.items() if isinstance(value, dict | ConfigDict)}
    except Exception as error:
        raise RecipeError(f"config {path} cannot be read ({type(error).__name__}: {error}).") from error


def defaults(method: LoadedMethod, stage: str) -> Params:
    """The card's parameters for `stage`, with the harness's own added."""
    source = method.card.defaults
    if isinstance(source, Path):
        source = read_config(source)
    for key in source:
        if key not in STAGES:
            raise RecipeError(f"method {method.who}: the card's defaults name {key!r}.{did_you_mean(key, STAGES)}")
    return {**HARNESS.get(stage, {}), **copy.deepcopy(dict(source.get(stage, {})))}


def resolve(
    recipe: Recipe, catalog: Catalog, profile: Profile, options: Iterable[Option] = (), weights: str | None = None
) -> Resolved:
    """Load the methods of a recipe and decide every parameter.

    `options` that no stage of this recipe has are left out here; `check_options` tells those that no recipe has.

    Raises:
        RecipeError: an unknown method, an unknown parameter, or a value of the wrong type.
        PluginError: a picked plugin is broken.
    """
    picks = expand(recipe, lambda name: catalog.load(name).card.stages, lambda name: catalog.load(name).card.recipe)
    methods = {stage: catalog.load(name) for stage, name in picks.names.items()}
    base = {stage: with_profiles(method, stage, [profile]) for stage, method in methods.items()}
    for stage, own in picks.defaults.items():
        for key, value in own.items():
            put(base[stage], key, value, f"method card {picks.owner!r}: {stage}.{key}")
    passed = _bind(picks, base)
    options = list(options)
    params = {stage: _override(base[stage], passed[stage], options, weights, stage, methods[stage]) for stage in methods}
    retrain = None
    if "segment" in methods:
        rounds = params["segment"].resolved["rounds"]
        if rounds < 1:
            raise RecipeError(f"recipe {str(recipe)!r}: segment.rounds must be at least 1, not {rounds}.")
        owner = methods["segment"]
        retrain = (methods["refine"], params["refine"])
        if "refine" in owner.card.stages and owner is not methods["refine"]:
            retrain = (owner, _override(with_profiles(owner, "refine", [profile]), {}, options, weights, "refine", owner))
    return Resolved(recipe, picks.owner, methods, params, retrain)


def with_profiles(method: LoadedMethod, stage: str, profiles: Iterable[Profile]) -> Params:
    """The card's parameters for `stage` under profiles, the later ones over the earlier.

    Raises:
        RecipeError: a value of the wrong type, or a method's own entry that names a parameter it does not have.
    """
    params = defaults(method, stage)
    for profile in profiles:
        entry = profile.overrides.get(stage, {})
        for key, value in entry.get(ANY, {}).items():
            if has(params, key) and not _ends_all_training(params, key, value):
                put(params, key, copy.deepcopy(value), f"profile {profile.name}: {stage}.{key}")
        for key, value in entry.get(method.name, {}).items():
            put(params, key, copy.deepcopy(value), f"profile {profile.name}: {method.name}: {stage}.{key}")
    return params


def _ends_all_training(params: Params, key: str, value: Any) -> bool:
    """Whether a profile's zero hands the length over to a parameter that this method does not have."""
    return key in LENGTHS and not value and not all(name in params for name in LENGTHS)


def _bind(picks: Picks, base: Mapping[str, Params]) -> dict[str, Params]:
    """Bracket parameters by stage; those of a bare name go to the one stage that has them, the method's own first."""
    bound = {stage: dict(picks.params[stage]) for stage in base}
    for key, value in picks.free.items():
        having = [stage for stage in base if has(base[stage], key)]
        own = [stage for stage in having if picks.names[stage] == picks.owner]
        stages = own or having
        if not stages:
            known = {name for params in base.values() for name in params}
            raise RecipeError(f"recipe {str(picks.recipe)!r}: no stage has a parameter {key!r}.{did_you_mean(key, known)}")
        if len(stages) > 1:
            choice = " or ".join(f"{stage}.{key}" for stage in stages)
            raise RecipeError(f"recipe {str(picks.recipe)!r}: several stages have a parameter {key!r}. Write {choice}.")
        bound[stages[0]].setdefault(key, value)
    return bound


def _override(
    base: Params, bracket: Params, options: Iterable[Option], weights: str | None, stage: str, method: LoadedMethod
) -> StageParams:
    passed = dict(bracket)
    passed.update({option.key: option.value for option in options if option.stage == stage and has(base, option.key)})
    if weights is not None and "weights" in base:
        passed.setdefault("weights", weights)
    resolved = copy.deepcopy(base)
    for key, value in passed.items():
        put(resolved, key, value, f"method {method.name!r}: parameter {stage}.{key}")
    return StageParams(resolved, passed)


def check_options(options: Iterable[Option], resolved: Iterable[Resolved], weights: str | None = None) -> None:
    """Raise `RecipeError` for an option, or for ``--weights``, that no stage of any recipe has."""
    recipes = list(resolved)
    for option in options:
        stages = [r.params[option.stage].resolved for r in recipes if option.stage in r.params]
        if not any(has(params, option.key) for params in stages):
            known = {name for params in stages for name in params}
            raise RecipeError(f"--cfg-options: no picked method has {option}.{did_you_mean(option.key, known)}")
    if weights is not None and not any("weights" in p.resolved for r in recipes for p in r.params.values()):
        raise RecipeError("--weights: no picked method has a parameter 'weights'.")


def has(params: Mapping[str, Any], key: str) -> bool:
    """Whether a dotted key exists."""
    node: Any = params
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True


def put(params: Params, key: str, value: Any, where: str) -> None:
    """Set a dotted key that exists to a value of the type it has; dicts merge.

    Raises:
        RecipeError: beginning with `where`; the key does not exist, or the type is wrong.
    """
    node, *rest = key.split(".")
    if node not in params:
        raise RecipeError(f"{where}: there is no such parameter.{did_you_mean(node, params)}")
    if rest:
        if not isinstance(params[node], dict):
            raise RecipeError(f"{where}: {node!r} is {params[node]!r}, it has no parts.")
        put(params[node], ".".join(rest), value, where)
        return
    old = params[node]
    if (
        isinstance(old, dict) and isinstance(value, Mapping) and "_delete_" in value
    ):  # mmengine's word for "replace, do not merge"
        params[node] = {key: item for key, item in value.items() if key != "_delete_"}
        return
    if isinstance(old, dict) and isinstance(value, Mapping) and old:
        for inner, item in value.items():
            put(old, str(inner), item, f"{where}.{inner}")
        return
    params[node] = _typed(old, value, where)


def _typed(old: Any, value: Any, where: str) -> Any:
    """`value` in the type of the default; an int may stand for a float, a tuple for a list, None for nothing."""
    if old is None or (value is None and not isinstance(old, bool | int | float | list | tuple)):
        return value
    if isinstance(old, bool) or isinstance(value, bool):
        fits = isinstance(old, bool) and isinstance(value, bool)
    elif isinstance(old, float):
        fits = isinstance(value, int | float)
    elif isinstance(old, list | tuple):
        fits = isinstance(value, list | tuple)
    else:
        fits = isinstance(value, type(old))
    if not fits:
        raise RecipeError(f"{where}: {value!r} is {_kind(value)}, {_kind(old)} like {old!r} is expected.")
    if isinstance(old, list | tuple):
        kinds = {_kind(item) for item in old}
        items = [_typed(old[0], item, where) for item in value] if len(kinds) == 1 else list(value)
        return type(old)(items)
    return float(value) if isinstance(old, float) else value


def _kind(value: Any) -> str:
    kinds = ((bool, "True or False"), (int, "an integer"), (float, "a number"), (str, "a text"), (dict, "a dict"))
    if isinstance(value, list | tuple):
        return "a list"
    return next((name for kind, name in kinds if isinstance(value, kind)), type(value).__name__)
