"""What a run is asked for: one typed request, whoever asks (the command line, a script, a reproduction)."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wsss_bench.errors import DataError, PluginError, RecipeError, did_you_mean
from wsss_bench.runs.progress import Say, Tenths, silent

if TYPE_CHECKING:
    from wsss_bench.data.base import Dataset
    from wsss_bench.methods.params import Option, Resolved
    from wsss_bench.runs.plan import Cell
    from wsss_bench.runs.source import Source
    from wsss_bench.runs.store.folders import Store

LOG = {
    "local": "",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
}
"""Logging back ends of trainings, and the module each needs."""

STORE, LEADERBOARDS = "store", "leaderboards"
"""Folders in a work dir: of finished and unfinished stages, of records and tables."""

_CUDA = re.compile(r"cuda(:\d+)?")


@dataclass(frozen=True)
class DatasetRequest:
    """Which data, and where they lie. Can be pickled.

    Attributes:
        kind: the loader: ``"shapes"``, ``"voc2012"``, ``"coco2014"``, or an installed one.
        root: where the data lie; None: the variable ``WSSS_BENCH_DATA_ROOT``.
        name: what tables call this copy of the data; None: `kind`.
        options: the loader's own options, by name.
        splits: split by role (``train``, ``seeds``, ``val``), where it is not the loader's own choice.
        labels: where the image-level labels come from (a table, ``"xml"``, ``"masks"``); None: the loader's choice.
        skip: a file that lists ids to leave out.
    """

    kind: str = "shapes"
    root: Path | None = None
    name: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    labels: str | None = None
    skip: Path | None = None


@dataclass(frozen=True)
class RunRequest:
    """Everything that one run is asked for. Can be pickled, so that an executor may send it to another machine.

    Attributes:
        methods: recipes as a user types them; one text may hold several, separated by commas.
        dataset: the data.
        profile: set of parameter defaults, by name or as a ``.py`` file; None: `default_profile` of the dataset.
        seeds: every recipe runs once with each.
        options: parameters for every recipe that has them.
        weights: initial weights, wherever a stage has the parameter ``weights``.
        plugins: Python files that bring methods besides the installed ones.
        work_dir: the folder of the store, logs and cells.
        leaderboard_dir: the folder of records and tables; None: ``leaderboards`` in `work_dir`.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        workers: processes for per-image work; None: one for each core that this process may use.
        log: where trainings log to; keys of `LOG`.
        command_line: the words after ``wsss-bench``, for the record; empty: those of `command_words`.
    """

    methods: tuple[str, ...]
    dataset: DatasetRequest = DatasetRequest()
    profile: str | None = None
    seeds: tuple[int, ...] = (0,)
    options: tuple[Option, ...] = ()
    weights: str | None = None
    plugins: tuple[Path, ...] = ()
    work_dir: Path = Path("work_dirs")
    leaderboard_dir: Path | None = None
    device: str = "auto"
    workers: int | None = None
    log: tuple[str, ...] = ("local",)
    command_line: tuple[str, ...] = ()

    @property
    def boards(self) -> Path:
        """The folder where records and tables go."""
        return self.leaderboard_dir or self.work_dir / LEADERBOARDS

    @property
    def processes(self) -> int:
        """How many processes per-image work may use."""
        return usable_cores() if self.workers is None else self.workers

    @property
    def words(self) -> tuple[str, ...]:
        """The command after ``wsss-bench``: as it was typed, else as it would be."""
        return self.command_line or tuple(command_words(self))


class Planned(NamedTuple):
    """What a request comes to.

    Attributes:
        cells: recipes x seeds, in the order of the request.
        source: the prepared dataset.
        refused: the recipes that a broken plugin keeps from running; the others are not held up by it.
    """

    cells: list[Cell]
    source: Source
    refused: dict[str, PluginError]


def store_of(work_dir: Path) -> Store:
    """Return the store of finished and unfinished stages in a work dir."""
    from wsss_bench.runs.store.folders import Store

    return Store(work_dir / STORE)


def make_cells(request: RunRequest, say: Say = silent) -> Planned:
    """Parse recipes, load methods, prepare the dataset, and plan recipes x seeds.

    `say` hears which images are skipped, and how far the preparation is.

    Raises:
        RecipeError: a recipe, a parameter or an option cannot be understood.
        PluginError: no recipe is left that can run.
        DataError: the dataset cannot be used.
    """
    from wsss_bench.methods.recipe import parse_methods
    from wsss_bench.runs.plan import plan_cell
    from wsss_bench.runs.source import Source

    recipes = parse_methods(",".join(request.methods))
    check_seeds(request.seeds)
    dataset = open_requested(request.dataset, say)
    profile = request.profile or default_profile(dataset.kind)
    resolved, refused, profile_name = _resolve_all(request, recipes, profile)
    # Last, since it may take minutes: whatever is wrong with the request has been said by now.
    dataset.prepare(Tenths("prepare", say))
    source = Source(dataset)
    plan = partial(plan_cell, source=source, profile=profile_name)
    cells = [plan(one, seed=seed) for one in resolved for seed in request.seeds]
    return Planned(cells, source, refused)


def _resolve_all(
    request: RunRequest, recipes: Sequence[Any], profile_name: str
) -> tuple[list[Resolved], dict[str, PluginError], str]:
    from wsss_bench.methods.catalog import Catalog
    from wsss_bench.methods.params import check_options, resolve
    from wsss_bench.methods.profiles import load_profile

    catalog = Catalog(local=request.plugins)
    profile = load_profile(profile_name)
    resolved, refused = [], {}
    for recipe in recipes:
        try:
            found = resolve(recipe, catalog, profile, request.options, request.weights)
        except PluginError as error:
            refused[str(recipe)] = error
        else:
            resolved.append(found)
    if not resolved:
        raise next(iter(refused.values()))
    # An option that no recipe has is a slip of the pen, unless it was meant for one whose plugin is broken.
    if not refused:
        check_options(request.options, resolved, request.weights)
    return resolved, refused, profile.name


def open_requested(request: DatasetRequest, say: Say = silent) -> Dataset:
    """Open the dataset that is asked for, without reading its images; `say` hears what a skip list leaves out.

    Raises:
        DataError: unknown kind or option, a root that does not hold the dataset, or a skip list that cannot be used.
    """
    from wsss_bench.data.opening import open_dataset

    options: dict[str, Any] = dict(request.options)
    if request.labels is not None:
        options["labels"] = request.labels
    for role, split in request.splits.items():
        options[f"{role}_split"] = split
    dataset = open_dataset(request.kind, request.root, request.name, **options)
    if request.skip is not None:
        from wsss_bench.data.skipping import skip

        say(skip(dataset, request.skip))
    return dataset


def default_profile(kind: str) -> str:
    """Return ``shapes`` for the embedded data, else ``paper``: the methods' own settings."""
    return "shapes" if kind == "shapes" else "paper"


def parse_seeds(text: str) -> tuple[int, ...]:
    """Parse ``0,1,2``; raises `RecipeError` for anything but distinct integers from 0."""
    parts = [part.strip() for part in text.split(",")]
    whole = all(part.isdecimal() for part in parts)
    if not whole or len({int(part) for part in parts}) != len(parts):
        raise RecipeError(
            f"--seeds {text!r}: give distinct whole numbers, for example --seeds 0,1,2."
        )
    return tuple(int(part) for part in parts)


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise `RecipeError` for anything but distinct integers from 0, at least one."""
    whole = all(isinstance(seed, int) and seed >= 0 for seed in seeds)
    if not seeds or not whole or len(set(seeds)) != len(seeds):
        raise RecipeError(
            f"seeds {list(seeds)}: give distinct whole numbers, for example 0, 1, 2."
        )


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
        options[name] = value.strip()
    return options


def check_workers(workers: int | None) -> None:
    """Raise `RecipeError` for less than one process."""
    if workers is not None and workers < 1:
        raise RecipeError(f"--workers must be at least 1, not {workers}.")


def usable_cores() -> int:
    """Return how many cores this process may use; a container or ``taskset`` may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def check_log(names: Sequence[str]) -> None:
    """Raise `RecipeError` for a logging back end that is not known or not installed."""
    for name in names:
        if name not in LOG:
            raise RecipeError(f"--log {name!r} is not known.{did_you_mean(name, LOG)}")
        needed = LOG[name]
        if needed and importlib.util.find_spec(needed) is None:
            extra = "'wsss-bench[tensorboard]'" if name == "tensorboard" else needed
            what = f"--log {name} needs a package that is not installed."
            raise RecipeError(f"{what} Install it: pip install {extra}")


def resolve_device(name: str) -> str:
    """Return the device that `name` stands for on this machine; raises `RecipeError` for one that is not there."""
    # Importing torch takes seconds, which a run on the CPU alone need not wait for here.
    if name == "cpu":
        return name
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not _CUDA.fullmatch(name):
        raise RecipeError(
            f"--device {name!r} is not known; use auto, cpu, cuda or cuda:N."
        )
    number = int(name.partition(":")[2] or 0)
    count = torch.cuda.device_count()
    if not torch.cuda.is_available() or number >= count:
        has = f"this machine has {count} CUDA devices."
        raise RecipeError(f"--device {name}: {has} Use --device cpu.")
    return name


def command_words(request: RunRequest) -> list[str]:
    """Return the words after ``wsss-bench`` that ask for the same; what is not given is left out."""
    from wsss_bench.methods.recipe import format_value

    # A recipe may begin with a dash, so it is joined to its flag.
    words = ["run", f"--methods={','.join(request.methods)}"]
    words += ["--seeds", ",".join(map(str, request.seeds))]
    words += _flag("--profile", request.profile)
    words += _data_words(request.dataset)
    for path in request.plugins:
        words += ["--plugin", str(path)]
    words += _flag("--weights", request.weights)
    if request.options:
        pairs = [f"{one}={format_value(one.value)}" for one in request.options]
        words += ["--cfg-options", *pairs]
    if request.device != "auto":
        words += ["--device", request.device]
    words += _flag("--workers", request.workers)
    if request.log != ("local",):
        words += ["--log", ",".join(request.log)]
    words += ["--work-dir", str(request.work_dir)]
    return words + _flag("--leaderboard-dir", request.leaderboard_dir)


def _data_words(request: DatasetRequest) -> list[str]:
    words = ["--dataset", request.kind, *_flag("--name", request.name)]
    for role, split in request.splits.items():
        words += [f"--{role}-split", split]
    words += _flag("--data-root", request.root)
    words += _flag("--labels", request.labels)
    for key, value in request.options.items():
        words += ["--data-option", f"{key}={value}"]
    return words + _flag("--skip", request.skip)


def _flag(name: str, value: object) -> list[str]:
    return [] if value is None else [name, str(value)]
