"""Profiles: named sets of parameter defaults, laid over the methods' own; and what methods declare for them."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_bench.contract.names import STAGES
from wsss_bench.errors import RecipeError, did_you_mean
from wsss_bench.io.configs import INHERIT, bases, inherited, read_config, stated
from wsss_bench.io.paths import configs_dir
from wsss_bench.methods.catalog import LoadedMethod
from wsss_bench.methods.declared import (
    PROFILES,
    RANGES,
    TEST_SETTINGS,
    problem_of,
    problem_of_pins,
)
from wsss_bench.methods.ranges import check_ranges
from wsss_bench.methods.values import Params, has, put

HARNESS: Mapping[str, Mapping[str, Any]] = {"segment": {"rounds": 1}}
"""Parameters every method has, because the harness itself reads them; a card may set another default."""

ANY = "*"
LENGTHS = ("epochs", "iterations")
"""Two parameters that say how long a training is. Zero in one of them leaves it to the other."""


@dataclass(frozen=True)
class Profile:
    """Overrides by stage and method, e.g. to make a recipe run on a CPU-sized budget.

    ``overrides[stage]["*"]`` applies where a method has the parameter; ``overrides[stage][method]`` must exist there.
    Zero ``epochs`` or ``iterations`` for all methods applies only where a method has both, so that no training is left
    without a length.

    Attributes:
        name: methods bring settings of their own under this name (``profiles`` in a card's defaults).
        overrides: what the profile's file holds.
        inherits: names of the profiles that the file inherits from, the most general first. What methods bring for
            those applies too.
    """

    name: str
    overrides: Mapping[str, Mapping[str, Params]] = field(default_factory=dict)
    inherits: tuple[str, ...] = ()


def load_profile(name: str) -> Profile:
    """Return a profile by name from ``configs/profiles``, or from the path of a Python config (which runs its code).

    ``paper`` is built in and overrides nothing.

    Raises:
        RecipeError: there is no such profile, or the file is malformed.
    """
    folder = configs_dir() / "profiles"
    path = folder / f"{name}.py"
    if name.endswith(".py"):
        path = Path(name)
    if path.is_file():
        overrides = _overrides(path)
        return Profile(path.stem, overrides, _ancestors(path))
    if name == "paper":
        return Profile(name)
    known = [file.stem for file in folder.glob("[!_]*.py")]
    hint = did_you_mean(name, ["paper", *known])
    what = f"there is no profile {name!r}.{hint}"
    raise RecipeError(f"{what} Or give the path of a .py file.")


def _overrides(path: Path) -> dict[str, Mapping[str, Params]]:
    found = {}
    for stage, entry in read_config(path).items():
        # What a file needs for itself begins with an underscore.
        if stage.startswith("_"):
            continue
        if stage not in STAGES:
            hint = did_you_mean(stage, STAGES)
            raise RecipeError(f"profile {path.name}: {stage!r} is no stage.{hint}")
        if not all(isinstance(values, Mapping) for values in entry.values()):
            what = f"{stage} must map method names or '*' to dicts of parameters."
            raise RecipeError(f"profile {path.name}: {what}")
        found[stage] = entry
    return found


def _ancestors(path: Path) -> tuple[str, ...]:
    """Return the names of the profiles that a file inherits from, the most general first, each once."""
    found: dict[str, None] = {}
    for base in bases(path):
        for name in (*_ancestors(base), base.stem):
            found.setdefault(name)
    return tuple(found)


def defaults(method: LoadedMethod, stage: str) -> Params:
    """Return the card's parameters for `stage`, with the harness's own added.

    Raises:
        RecipeError: the defaults cannot be read, or hold something that is neither a stage nor known beside the stages.
    """
    return _defaults(_declared(method), stage)


def _defaults(source: Mapping[str, Any], stage: str) -> Params:
    own = copy.deepcopy(dict(source.get(stage, {})))
    return {**HARNESS.get(stage, {}), **own}


def test_settings(method: LoadedMethod, stage: str) -> tuple[str, ...]:
    """Return the names of the parameters of `stage` that its trainings do not depend on.

    Raises:
        RecipeError: the defaults cannot be read, or a name in them is no parameter of the stage.
    """
    return tuple(_declared(method).get(TEST_SETTINGS, {}).get(stage, ()))


# The functions above are no tests, whatever their names begin with.
test_settings.__test__ = False  # type: ignore[attr-defined]


def _declared(method: LoadedMethod) -> Mapping[str, Any]:
    """Return all that a card's defaults hold, checked."""
    source = method.card.defaults
    if isinstance(source, Path):
        source = read_config(source)
    elif INHERIT in source:
        source = inherited(source, f"method {method.who}")
    if problem := problem_of(source) or problem_of_pins(method.card.pins, source):
        raise RecipeError(f"method {method.who}: {problem}")
    return source


def check_params(method: LoadedMethod, stage: str, params: Params) -> None:
    """Raise `RecipeError` where a number among a stage's parameters is out of its range."""
    source = _declared(method)
    own = _defaults(source, stage)
    declared = source.get(RANGES, {}).get(stage, {})
    check_ranges(method.name, stage, params, own, declared)


def stated_by(method: LoadedMethod, stage: str) -> Mapping[str, Any]:
    """Return the parameters of `stage` that the method's own defaults state, without what they inherit.

    Raises:
        RecipeError: the defaults cannot be read.
    """
    source = method.card.defaults
    own = stated(source) if isinstance(source, Path) else source
    found: Mapping[str, Any] = own.get(stage, {})
    return found


def replaced(
    method: LoadedMethod, stage: str, profile: Profile, params: Params
) -> dict[str, tuple[Any, Any]]:
    """Return what a profile's settings for all methods replaced of values that the method itself states.

    Args:
        method, stage: whose parameters.
        profile: the profile in force.
        params: the parameters under it, before the user's.

    Returns:
        The method's own value and the profile's, by parameter; what the method or the profile's file sets for the
        method by name is no replacement.
    """
    shared = profile.overrides.get(stage, {}).get(ANY, {})
    own = stated_by(method, stage)
    by_name = _by_name(method, stage, profile)
    before = defaults(method, stage)
    found = {}
    for key in own:
        touched = any(name.partition(".")[0] == key for name in shared)
        if touched and key not in by_name and params[key] != before[key]:
            found[key] = (before[key], params[key])
    return found


def _by_name(method: LoadedMethod, stage: str, profile: Profile) -> set[str]:
    """Return the parameters that a profile sets for this one method, in its file or in the method's config."""
    by_profile = _declared(method).get(PROFILES, {})
    entries = [profile.overrides.get(stage, {}).get(method.name, {})]
    for name in (*profile.inherits, profile.name):
        entries.append(by_profile.get(name, {}).get(stage, {}))
    return {key.partition(".")[0] for entry in entries for key in entry}


def with_profiles(
    method: LoadedMethod, stage: str, profiles: Iterable[Profile]
) -> Params:
    """Return the card's parameters for `stage` under profiles, the later ones over the earlier.

    Each profile changes first what all methods share, then what the method's own config says for it and for those that
    it inherits from, then what the profile's file says of the method.

    Raises:
        RecipeError: a value of the wrong type, or an entry for the method that names a parameter it does not have.
    """
    source = _declared(method)
    by_profile = source.get(PROFILES, {})
    params = _defaults(source, stage)
    whose = f"{method.name}: {stage}"
    pinned = method.card.pins.get(stage, ())
    for profile in profiles:
        entry = profile.overrides.get(stage, {})
        shared = without_pinned(entry.get(ANY, {}), pinned)
        _put_applicable(params, shared, f"profile {profile.name}: {stage}")
        # A method knows better than a profile what it needs there, and a user's own file better than both.
        for name in (*profile.inherits, profile.name):
            own = by_profile.get(name, {}).get(stage, {})
            _put_all(params, own, f"profile {name}: {whose}")
        own = entry.get(method.name, {})
        _put_all(params, own, f"profile {profile.name}: {whose}")
    return params


def without_pinned(values: Params, pinned: Collection[str]) -> Params:
    """Return what a profile says for all methods without the parameters that a method has pinned."""
    return {
        key: value
        for key, value in values.items()
        if key.partition(".")[0] not in pinned
    }


def _put_applicable(
    params: Params,
    values: Mapping[str, Any],
    where: str,
) -> None:
    """Set what a profile says for all methods, as far as it applies to one with these parameters."""
    for key, value in values.items():
        if has(params, key) and not _ends_all_training(params, key, value):
            _put_all(params, {key: value}, where)


def _put_all(
    params: Params,
    values: Mapping[str, Any],
    where: str,
) -> None:
    for key, value in values.items():
        # A copy, for lists and dicts of one profile go to several stages.
        put(params, key, copy.deepcopy(value), f"{where}.{key}")


def _ends_all_training(
    params: Params,
    key: str,
    value: Any,
) -> bool:
    """Return whether a profile's zero hands the length over to a parameter that this method does not have."""
    if key not in LENGTHS or value:
        return False
    return not all(name in params for name in LENGTHS)
