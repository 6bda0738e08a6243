"""What a method declares beside its parameters: settings for profiles, and names that trainings do not depend on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wsss_bench.contract.names import STAGES, TEST_NAMES
from wsss_bench.errors import did_you_mean
from wsss_bench.methods.ranges import problem_of_value

TEST_SETTINGS = "test_settings"
"""In a card's defaults: by stage, the names of parameters that trainings do not depend on."""

PROFILES = "profiles"
"""In a card's defaults: by profile, then by stage, the method's own values there."""

RANGES = "ranges"
"""In a card's defaults: by stage, then by parameter, the interval that a number must lie in, such as ``[0, 1)``."""

KEYS = (*STAGES, TEST_SETTINGS, PROFILES, RANGES)


def problem_of(source: object) -> str | None:
    """Return what is wrong with a card's defaults, as a sentence with a hint, or None."""
    if not isinstance(source, Mapping):
        return f"the card's defaults are {type(source).__name__}, not a mapping."
    for key in source:
        if key not in KEYS:
            return f"the card's defaults name {key!r}.{did_you_mean(str(key), KEYS)}"
        if not isinstance(source[key], Mapping):
            return f"the card's defaults: {key!r} is no mapping."
    return (
        _problem_of_tests(source)
        or _problem_of_profiles(source)
        or _problem_of_ranges(source)
    )


def problem_of_pins(
    pins: Mapping[str, Iterable[str]], source: Mapping[str, Any]
) -> str | None:
    """Return what is wrong with the parameters that a card pins, as a sentence with a hint, or None."""
    for stage, names in pins.items():
        if isinstance(names, str):
            return f"pins: {stage} must list names of parameters."
        known = source.get(stage, {})
        for name in names:
            if name not in known:
                what = f"pins of {stage} has {name!r}"
                return _unknown(what, "a parameter of that stage", name, known)
    return None


def _problem_of_tests(source: Mapping[str, Any]) -> str | None:
    for stage, names in source.get(TEST_SETTINGS, {}).items():
        if stage not in STAGES:
            return _unknown(f"{TEST_SETTINGS} has {stage!r}", "a stage", stage, STAGES)
        # A text would be taken apart letter by letter.
        if isinstance(names, str) or not isinstance(names, Iterable):
            return f"{TEST_SETTINGS}: {stage} must list names of parameters."
        problem = _problem_of_names(stage, names, source.get(stage, {}))
        if problem:
            return problem
    return None


def _problem_of_names(
    stage: str,
    names: Iterable[str],
    params: Mapping[str, Any],
) -> str | None:
    for name in names:
        what = f"{TEST_SETTINGS} of {stage} has {name!r}"
        if name not in params:
            return _unknown(what, "a parameter of that stage", name, params)
        # The harness predicts with a segmentor itself, so it must know what each of these means.
        if stage == "segment" and name not in TEST_NAMES:
            known = ", ".join(TEST_NAMES)
            return f"{what}, which prediction does not know; it knows {known}."
    return None


def _problem_of_ranges(source: Mapping[str, Any]) -> str | None:
    for stage, entry in source.get(RANGES, {}).items():
        if stage not in STAGES:
            return _unknown(f"{RANGES} has {stage!r}", "a stage", stage, STAGES)
        if not isinstance(entry, Mapping):
            return f"{RANGES}: {stage} must map parameters to intervals."
        for name, text in entry.items():
            problem = _problem_of_range(stage, name, text, source.get(stage, {}))
            if problem:
                return problem
    return None


def _problem_of_range(
    stage: str, name: str, text: Any, params: Mapping[str, Any]
) -> str | None:
    what = f"{RANGES} of {stage} has {name!r}"
    if name not in params:
        return _unknown(what, "a parameter of that stage", name, params)
    try:
        problem = problem_of_value(name, params[name], str(text))
    except ValueError as error:
        return f"{what}: {error}."
    return f"{what}, whose default is wrong: {problem}" if problem else None


def _problem_of_profiles(source: Mapping[str, Any]) -> str | None:
    for profile, entry in source.get(PROFILES, {}).items():
        what = f"{PROFILES}: {profile}"
        if not isinstance(entry, Mapping):
            return f"{what} must map stages to dicts of parameters."
        for stage, values in entry.items():
            if stage not in STAGES:
                return _unknown(f"{what} has {stage!r}", "a stage", stage, STAGES)
            if not isinstance(values, Mapping):
                return f"{what}: {stage} must be a dict of parameters."
    return None


def _unknown(
    what: str,
    kind: str,
    name: str,
    known: Iterable[str],
) -> str:
    return f"{what}, which is not {kind}.{did_you_mean(name, known)}"
