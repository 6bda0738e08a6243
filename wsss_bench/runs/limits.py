"""What a request may not say, whatever data and methods there are: checked before anything is opened or imported."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence

from wsss_bench.errors import DataError, RecipeError, did_you_mean

LOG = {
    "local": "",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
}
"""Logging back ends of trainings, and the module each needs."""

SEEDS = 2**32
"""Seeds lie below: NumPy's global generator takes no larger ones."""

MOST_WORKERS = 1024
"""More processes than any machine has use for; a number above is a slip of the pen."""

LONGEST_NAME = 80
"""Letters in a dataset's name; it becomes the name of files and folders, with more behind it."""

_DIGITS = 20

_CUDA = re.compile(r"cuda(:\d+)?")
_NAME = re.compile(r"\w[\w .,+@=()-]*")


def parse_seeds(text: str) -> tuple[int, ...]:
    """Parse ``0,1,2``; raises `RecipeError` for anything but distinct integers from 0."""
    parts = [part.strip() for part in text.split(",")]
    # More digits than any seed has are not even read: Python refuses numbers of thousands of digits.
    whole = all(part.isdecimal() and len(part) <= _DIGITS for part in parts)
    if not whole or len({int(part) for part in parts}) != len(parts):
        raise RecipeError(
            f"--seeds {text!r}: give distinct whole numbers below 2**32, for example --seeds 0,1,2."
        )
    return tuple(int(part) for part in parts)


def parse_data_options(items: Sequence[str]) -> dict[str, str]:
    """Parse the values of ``--data-option``; raises `DataError` for anything but ``KEY=VALUE``."""
    options: dict[str, str] = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator or not key:
            example = "--data-option train=50"
            raise DataError(
                f"--data-option {item!r}: write it as KEY=VALUE, e.g. {example}"
            )
        name = key.strip().replace("-", "_")
        if options.get(name, value.strip()) != value.strip():
            what = f"--data-option {name} is given twice, with different values."
            raise DataError(f"{what} Give it once.")
        options[name] = value.strip()
    return options


def check_methods(methods: Sequence[str]) -> None:
    """Raise `RecipeError` where no recipe is named, or where a comma has nothing on one side."""
    from wsss_bench.methods.recipe import split_outside

    text = ",".join(methods)
    parts = [part.strip() for part in split_outside(text, ",")]
    if all(parts):
        return
    what = "no method is named" if not any(parts) else "a comma has no method beside it"
    known = "List what there is: wsss-bench plugin list"
    raise RecipeError(f"--methods {text!r}: {what}. {known}")


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise `RecipeError` for anything but distinct integers in [0, `SEEDS`), at least one."""
    whole = all(map(_is_seed, seeds))
    if seeds and whole and len(set(seeds)) == len(seeds):
        return
    fix = "give distinct whole numbers, for example 0, 1, 2"
    raise RecipeError(f"seeds {list(seeds)}: {fix}, each below {SEEDS}.")


def _is_seed(seed: object) -> bool:
    # True is an integer to Python.
    whole = isinstance(seed, int) and not isinstance(seed, bool)
    return whole and 0 <= int(str(seed)) < SEEDS


def check_workers(workers: int | None) -> None:
    """Raise `RecipeError` for less than one process, or more than `MOST_WORKERS`."""
    if workers is None:
        return
    if workers < 1:
        raise RecipeError(f"--workers must be at least 1, not {workers}.")
    if workers > MOST_WORKERS:
        what = f"--workers must be at most {MOST_WORKERS}, not {workers}."
        raise RecipeError(f"{what} Leave it out to use every core.")


def check_limit(count: int) -> None:
    """Raise `RecipeError` for a rehearsal on fewer images than one."""
    if count < 0:
        raise RecipeError(f"--limit must be at least 1, not {count}.")


def check_gpus(gpus: int | None) -> None:
    """Raise `RecipeError` for less than one process in a training, or more than `MOST_WORKERS`."""
    if gpus is not None and not 1 <= gpus <= MOST_WORKERS:
        raise RecipeError(f"--gpus must be 1 to {MOST_WORKERS}, not {gpus}.")


def check_log(names: Sequence[str]) -> None:
    """Raise `RecipeError` for a logging back end that is not known, not installed, or named twice."""
    for place, name in enumerate(names):
        if name not in LOG:
            raise RecipeError(f"--log {name!r} is not known.{did_you_mean(name, LOG)}")
        if name in names[:place]:
            raise RecipeError(f"--log names {name!r} twice. Name it once.")
        needed = LOG[name]
        if needed and importlib.util.find_spec(needed) is None:
            extra = "'wsss-bench[tensorboard]'" if name == "tensorboard" else needed
            what = f"--log {name} needs a package that is not installed."
            raise RecipeError(f"{what} Install it: pip install {extra}")


def check_device_name(name: str) -> None:
    """Raise `RecipeError` for what is no device on any machine."""
    if name in ("auto", "cpu") or _CUDA.fullmatch(name):
        return
    raise RecipeError(f"--device {name!r} is not known; use auto, cpu, cuda or cuda:N.")


def check_data(
    name: str | None,
    splits: Mapping[str, str],
    labels: str | None,
    options: Mapping[str, str],
) -> None:
    """Check the name of the data, and that nothing is said both by a flag and by ``--data-option``.

    Raises:
        DataError: a name that could not be a file's, or an option that has two values.
    """
    if name is not None:
        check_name(name)
    said = {f"{role}_split": split for role, split in splits.items()}
    if labels is not None:
        said["labels"] = labels
    _refuse_both(said, options)


def _refuse_both(said: Mapping[str, str], options: Mapping[str, str]) -> None:
    for name, value in said.items():
        other = options.get(name, value)
        if str(other) != value:
            flag = f"--{name.replace('_', '-')}"
            what = f"{flag} {value} and --data-option {name}={other} contradict."
            raise DataError(f"{what} Give one of them.")


def check_name(name: str) -> None:
    """Raise `DataError` for a dataset's name that files and folders could not bear everywhere."""
    plain = _NAME.fullmatch(name) is not None and name == name.strip()
    if plain and len(name) <= LONGEST_NAME:
        return
    allowed = "letters, digits, spaces and any of _ . , + @ = ( ) -"
    what = f"--name {name!r} cannot name the files of a table."
    begin = "beginning with a letter or digit"
    raise DataError(f"{what} Use up to {LONGEST_NAME} {allowed}, {begin}.")
