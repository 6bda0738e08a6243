"""Numbers out of range are refused: where a value may lie, by the names of the field and by what methods declare."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wsss_bench.errors import RecipeError

STANDARD: Mapping[str, str] = {
    "epochs": "[0, inf)",
    "iterations": "[0, inf)",
    "steps": "[0, inf)",
    "batch": "[1, inf)",
    "batch_size": "[1, inf)",
    "lr": "(0, inf)",
    "new_mult": "[0, inf)",
    "bias_mult": "[0, inf)",
    "momentum": "[0, 1)",
    "weight_decay": "[0, 1]",
    "power": "(0, inf)",
    "warmup": "[0, inf)",
    "dropout": "[0, 1)",
    "cutmix": "[0, 1]",
    "jitter": "[0, 1]",
    "crop": "[8, inf)",
    "resize": "(0, inf)",
    "scales": "(0, 16]",
    "test_scales": "(0, 16]",
    "test_batch": "[0, inf)",
    "test_round": "[0, inf)",
    "threshold": "[0, 1]",
    "foreground": "[0, 1]",
    "background": "[0, 1]",
    "gt_prob": "(0, 1)",
    "radius": "[1, inf)",
    "beta": "(0, inf)",
}
"""Ranges of parameters that bear the field's usual names. They hold where a method's own default lies in them: else it
means something else by the name."""

NOT_EMPTY = ("scales", "test_scales")
"""Lists that must hold a number."""

_FORM = re.compile(r"([\[(])\s*(\S+)\s*,\s*(\S+)\s*([\])])")


@dataclass(frozen=True)
class Interval:
    """An interval as mathematics writes it: a bracket's end belongs to it, a parenthesis's does not."""

    text: str
    low: float
    high: float
    low_in: bool
    high_in: bool

    @classmethod
    def parse(cls, text: str) -> Interval:
        """Return the interval in a text such as ``[0, 1)``; raises `ValueError` for anything else."""
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is no interval such as '[0, 1)'")
        low, high = float(match[2]), float(match[3])
        if not low <= high:
            raise ValueError(f"{text!r} is empty")
        return cls(text.strip(), low, high, match[1] == "[", match[4] == "]")

    def __contains__(self, value: float) -> bool:
        above = self.low <= value if self.low_in else self.low < value
        below = value <= self.high if self.high_in else value < self.high
        return above and below


def check_ranges(
    method: str,
    stage: str,
    params: Mapping[str, Any],
    own: Mapping[str, Any],
    declared: Mapping[str, str],
) -> None:
    """Check every number among a stage's parameters.

    Args:
        method, stage: names of both, for messages.
        params: those in force.
        own: the method's own defaults.
        declared: ranges that the method declares, by parameter.

    Raises:
        RecipeError: a number is not finite, or out of its range, or a list that must not be is empty.
    """
    for name, value in params.items():
        where = f"method {method!r}: {stage}.{name}"
        text = declared.get(name) or _standard(name, own.get(name))
        problem = problem_of_value(name, value, text)
        # What the method itself lays down is its own affair: infinity may stand for "no limit".
        if problem and value != own.get(name):
            raise RecipeError(f"{where} = {value!r}: {problem}")


def _standard(name: str, default: Any) -> str | None:
    """Return the usual range of a parameter, None where there is none, or the default lies outside."""
    text = STANDARD.get(name)
    if text is None or problem_of_value(name, default, text):
        return None
    return text


def problem_of_value(name: str, value: Any, text: str | None) -> str | None:
    """Return what is wrong with a value, as a sentence, or None.

    Args:
        name: what the parameter is called.
        value: a number, a list of numbers, or anything else, which is not looked at.
        text: the interval that it must lie in; None for any finite number.
    """
    if name in NOT_EMPTY and isinstance(value, list | tuple) and not value:
        return "at least one number is needed."
    interval = Interval.parse(text) if text else None
    for number in _numbers(value):
        if not math.isfinite(number):
            return f"{number} is no finite number."
        if interval is not None and number not in interval:
            return f"{number!r} is out of range; it must lie in {interval.text}."
    return None


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    # True and False are ints to Python, and no numbers here.
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value
