"""Profiles: named sets of parameter defaults, laid over the methods' own; and what a method's own config says of them.

A method's defaults (a config, or a mapping in its card) hold its parameters by stage and may hold two things more:
``profiles``, by profile and stage, and ``test_settings``, by stage.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from wsss_bench.contract.names import STAGES
from wsss_bench.errors import RecipeError, did_you_mean
from wsss_bench.io.configs import INHERIT, config_variable, inherited, read_config
from wsss_bench.io.paths import configs_dir
from wsss_bench.methods.catalog import LoadedMethod
from wsss_bench.methods.declared import PROFILES, TEST_SETTINGS, problem_of
from wsss_bench.methods.values import Params, has, put

HARNESS: Mapping[str, Mapping[str, Any]] = {"segment": {"rounds": 1}}
"""Parameters every method has, because the harness itself reads them; a card may set another default."""

ANY = "*"
LENGTHS = ("epochs", "iterations")
"""Two parameters that say how long a training is. Zero in one of them leaves it to the other."""


@dataclass(frozen=True)
class Profile:
    """Overrides by stage and method, e.g. to make a recipe run on a CPU-sized budget.

    ``overrides[stage]["*"]`` applies where a method has the parameter; ``overrides[stage][method]`` must exist there. Zero
    ``epochs`` or ``iterations`` for all methods applies only where a method has both, so that no training is left without
    a length.

    Attributes:
        name: what the methods' own entries are found by.
        overrides: what this profile changes.
        base: the profile that it is laid over, with the methods' entries for that one.
    """

    name: str
    overrides: Mapping[str, Mapping[str, Params]] = field(default_factory=dict)
    base: Profile | None = None

    def chain(self) -> Iterator[Profile]:
        """Yield the profiles in the order in which they apply, this one last."""
        if self.base is not None:
            yield from self.base.chain()
        yield self


def load_profile(name: str) -> Profile:
    """Load a profile by name from ``configs/profiles``, or from the path of a Python config file (which runs its code).

    ``paper`` is built in: no overrides. A file whose ``_base_`` is another profile is laid over that one.

    Raises:
        RecipeError: there is no such profile, or the file is malformed.
    """
    folder = configs_dir() / "profiles"
    path = Path(name) if name.endswith(".py") else folder / f"{name}.py"
    if not path.is_file():
        if name == "paper":
            return Profile(name)
        known = {"paper", *(file.stem for file in folder.glob("[!_]*.py"))}
        hint = did_you_mean(name, known)
        what = f"there is no profile {name!r}.{hint}"
        raise RecipeError(f"{what} Or give the path of a .py file.")
    overrides = _overrides(path)
    # A bundled profile names itself, and a file that inherits it inherits the name.
    parent = str(config_variable(path, "name", path.stem))
    if parent == path.stem:
        return Profile(path.stem, overrides)
    base = load_profile(parent)
    return Profile(path.stem, _changed(overrides, base.overrides), base)


def _overrides(path: Path) -> dict[str, dict[str, Params]]:
    found = {}
    for stage, entry in read_config(path).items():
        if stage.startswith("_"):
            continue
        if stage not in STAGES:
            hint = did_you_mean(stage, STAGES)
            raise RecipeError(f"profile {path.name}: {stage!r} is no stage.{hint}")
        by_method = isinstance(entry, Mapping) and entry.values()
        if not by_method or not all(isinstance(value, Mapping) for value in by_method):
            what = f"{stage} must map method names or '*' to dicts of parameters."
            raise RecipeError(f"profile {path.name}: {what}")
        found[stage] = entry
    return found


def _changed(
    overrides: Mapping[str, Mapping[str, Params]],
    base: Mapping[str, Mapping[str, Params]],
) -> dict[str, dict[str, Params]]:
    """Return what differs from an inherited profile: mmengine hands on both together.

    What only repeats the base must not come after the methods' own entries for the base.
    """
    found: dict[str, dict[str, Params]] = {}
    for stage, entry in overrides.items():
        found[stage] = {}
        for method, params in entry.items():
            old = base.get(stage, {}).get(method, {})
            new = {
                key: value
                for key, value in params.items()
                if key not in old or old[key] != value
            }
            found[stage][method] = new
    return found


def defaults(method: LoadedMethod, stage: str) -> Params:
    """Return the card's parameters for `stage`, with the harness's own added.

    Raises:
        RecipeError: the defaults cannot be read, or hold something that is neither a stage nor known beside the stages.
    """
    own = _declared(method).get(stage, {})
    return {**HARNESS.get(stage, {}), **copy.deepcopy(dict(own))}


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
        source = (
            _read(source, source.stat().st_mtime_ns)
            if source.is_file()
            else read_config(source)
        )
    elif INHERIT in source:
        source = inherited(source, f"method {method.who}")
    if problem := problem_of(source):
        raise RecipeError(f"method {method.who}: {problem}")
    return source


@lru_cache
def _read(path: Path, changed: int) -> Params:
    """Read a config once for all stages; `changed` (its time stamp) makes an edited file a new one."""
    return read_config(path)


def with_profiles(
    method: LoadedMethod, stage: str, profiles: Iterable[Profile]
) -> Params:
    """Return the card's parameters for `stage` under profiles, the later ones over the earlier.

    Each profile changes first what all methods share, then what the method's own config says for it, then what the
    profile's file says of the method.

    Raises:
        RecipeError: a value of the wrong type, or an entry for the method that names a parameter it does not have.
    """
    params = defaults(method, stage)
    own = _declared(method).get(PROFILES, {})
    for last in profiles:
        for profile in last.chain():
            entry = profile.overrides.get(stage, {})
            where = f"profile {profile.name}"
            for key, value in entry.get(ANY, {}).items():
                if has(params, key) and not _ends_all_training(params, key, value):
                    put(params, key, copy.deepcopy(value), f"{where}: {stage}.{key}")
            for source in (
                own.get(profile.name, {}).get(stage, {}),
                entry.get(method.name, {}),
            ):
                for key, value in source.items():
                    place = f"{where}: {method.name}: {stage}.{key}"
                    put(params, key, copy.deepcopy(value), place)
    return params


def _ends_all_training(params: Params, key: str, value: Any) -> bool:
    """Return whether a profile's zero hands the length over to a parameter that this method does not have."""
    if key not in LENGTHS or value:
        return False
    return not all(name in params for name in LENGTHS)
