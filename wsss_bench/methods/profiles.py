"""Profiles: named sets of parameter defaults, laid over the methods' own."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_bench.contract.names import STAGES
from wsss_bench.errors import RecipeError, did_you_mean
from wsss_bench.io.configs import read_config
from wsss_bench.io.paths import configs_dir
from wsss_bench.methods.catalog import LoadedMethod
from wsss_bench.methods.values import Params, has, put

HARNESS: Mapping[str, Mapping[str, Any]] = {"segment": {"rounds": 1}}
"""Parameters every method has, because the harness itself reads them; a card may set another default."""

TEST_SETTINGS = "test_settings"
"""What a card's defaults hold beside the stages: names of parameters, by stage, that trainings do not depend on."""

ANY = "*"
LENGTHS = ("epochs", "iterations")
"""Two parameters that say how long a training is. Zero in one of them leaves it to the other."""


@dataclass(frozen=True)
class Profile:
    """Overrides by stage and method, e.g. to make a recipe run on a CPU-sized budget.

    ``overrides[stage]["*"]`` applies where a method has the parameter; ``overrides[stage][method]`` must exist there. Zero
    ``epochs`` or ``iterations`` for all methods applies only where a method has both, so that no training is left without a
    length.
    """

    name: str
    overrides: Mapping[str, Mapping[str, Params]] = field(default_factory=dict)


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
        raise RecipeError(
            f"there is no profile {name!r}.{did_you_mean(name, known)} Or give the path of a .py file."
        )
    overrides = {
        stage: entry
        for stage, entry in read_config(path).items()
        if not stage.startswith("_")
    }
    for stage, entry in overrides.items():
        if stage not in STAGES:
            raise RecipeError(
                f"profile {path.name}: {stage!r} is no stage.{did_you_mean(stage, STAGES)}"
            )
        if not isinstance(entry, Mapping) or not all(
            isinstance(value, Mapping) for value in entry.values()
        ):
            raise RecipeError(
                f"profile {path.name}: {stage} must map method names or '*' to dicts of parameters."
            )
    return Profile(path.stem, overrides)


def defaults(method: LoadedMethod, stage: str) -> Params:
    """The card's parameters for `stage`, with the harness's own added."""
    source = method.card.defaults
    if isinstance(source, Path):
        source = read_config(source)
    for key in source:
        if key not in (*STAGES, TEST_SETTINGS, "profiles"):
            raise RecipeError(
                f"method {method.who}: the card's defaults name {key!r}.{did_you_mean(key, STAGES)}"
            )
    return {**HARNESS.get(stage, {}), **copy.deepcopy(dict(source.get(stage, {})))}


def test_settings(method: LoadedMethod, stage: str) -> tuple[str, ...]:
    """Return the names of the parameters of `stage` that its trainings do not depend on."""
    source = method.card.defaults
    if isinstance(source, Path):
        source = read_config(source)
    return tuple(source.get(TEST_SETTINGS, {}).get(stage, ()))


def with_profiles(
    method: LoadedMethod, stage: str, profiles: Iterable[Profile]
) -> Params:
    """The card's parameters for `stage` under profiles, the later ones over the earlier.

    Raises:
        RecipeError: a value of the wrong type, or a method's own entry that names a parameter it does not have.
    """
    params = defaults(method, stage)
    for profile in profiles:
        entry = profile.overrides.get(stage, {})
        for key, value in entry.get(ANY, {}).items():
            if has(params, key) and not _ends_all_training(params, key, value):
                put(
                    params,
                    key,
                    copy.deepcopy(value),
                    f"profile {profile.name}: {stage}.{key}",
                )
        for key, value in entry.get(method.name, {}).items():
            put(
                params,
                key,
                copy.deepcopy(value),
                f"profile {profile.name}: {method.name}: {stage}.{key}",
            )
    return params


def _ends_all_training(params: Params, key: str, value: Any) -> bool:
    """Whether a profile's zero hands the length over to a parameter that this method does not have."""
    return key in LENGTHS and not value and not all(name in params for name in LENGTHS)
