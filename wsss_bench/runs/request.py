"""What a run is asked for: one typed request, whoever asks (the command line, a script, a reproduction)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wsss_bench.errors import PluginError
from wsss_bench.runs import limits
from wsss_bench.runs.devices import resolve_device as resolve_device
from wsss_bench.runs.devices import usable_cores as usable_cores
from wsss_bench.runs.limits import LOG as LOG
from wsss_bench.runs.limits import check_log as check_log
from wsss_bench.runs.limits import parse_data_options as parse_data_options
from wsss_bench.runs.limits import parse_seeds as parse_seeds
from wsss_bench.runs.progress import Say, Tenths, silent

if TYPE_CHECKING:
    from wsss_bench.data.base import Dataset
    from wsss_bench.methods.params import Option, Resolved
    from wsss_bench.runs.plan import Cell
    from wsss_bench.runs.source import Source
    from wsss_bench.runs.store.folders import Store

STORE, LEADERBOARDS = "store", "leaderboards"
"""Folders in a work dir: of finished and unfinished stages, of records and tables."""

_TRACELESS: ContextVar[bool] = ContextVar("wsss_bench_traceless", default=False)


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
        limit: how many images of every split a rehearsal has, 0 for all; see `wsss_bench.runs.rehearsal`.
    """

    kind: str = "shapes"
    root: Path | None = None
    name: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    labels: str | None = None
    skip: Path | None = None
    limit: int = 0


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
        gpus: how many processes share each training, every one on a GPU of its own; None: as many as a launcher
            (torchrun) has started, or 1.
        rehash: read every file of the data again, whatever digests were kept.
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
    gpus: int | None = None
    rehash: bool = False
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


@contextmanager
def leaving_no_trace() -> Iterator[None]:
    """Plan in the block without writing anything: no data, no masks, no digests, no compiled plugin.

    What would have to be made first is planned with as `Dataset.preview` gives it.
    """
    from wsss_bench.io.hashing import remembering

    token = _TRACELESS.set(True)
    bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        with remembering(keep=False):
            yield
    finally:
        sys.dont_write_bytecode = bytecode
        _TRACELESS.reset(token)


def make_cells(request: RunRequest, say: Say = silent) -> Planned:
    """Parse recipes, load methods, prepare the dataset, and plan recipes x seeds; see also `leaving_no_trace`.

    What can be said at once is said before anything takes long. `say` hears which images are skipped, how far the
    preparation is, and what is doubtful about the masks.

    Raises:
        RecipeError: a recipe, a parameter or an option cannot be understood, or the device is not there.
        PluginError: no recipe is left that can run.
        DataError: the dataset cannot be used, from its training list to the masks that are read last.
        ArtifactError: a folder that the run writes to cannot be written, or holds what cannot be read.
    """
    from wsss_bench.methods.recipe import parse_methods
    from wsss_bench.runs import preflight
    from wsss_bench.runs.rehearsal import rehearsed
    from wsss_bench.runs.source import Source

    check_request(request)
    recipes = parse_methods(",".join(request.methods))
    # Without the skip list: to check that, all lists must be read.
    dataset = open_requested(replace(request.dataset, skip=None), say)
    profile = request.profile or default_profile(dataset.kind)
    resolved, refused, profile_name = _resolve_all(request, recipes, profile)
    _check_places(request)
    preflight.check_weights(resolved, request.weights)
    preflight.check_splits(dataset)
    # Asking for what is there imports torch, which takes seconds.
    if request.device not in ("auto", "cpu"):
        resolve_device(request.device)
    # From here on it may take minutes: whatever is wrong with the request has been said by now.
    leave_out(dataset, request.dataset, say)
    if request.dataset.limit:
        resolved = rehearsed(dataset, resolved, request.dataset.limit, say)
    source = Source(_prepared(request.dataset, dataset, say))
    cells = _plan_all(request, source, resolved, profile_name)
    return Planned(cells, source, refused)


def check_request(request: RunRequest) -> None:
    """Check seeds, workers, loggers, device and names, by what they say alone.

    Raises:
        RecipeError, DataError: one of them is out of range, said twice, or no such thing.
    """
    data = request.dataset
    limits.check_methods(request.methods)
    limits.check_seeds(request.seeds)
    limits.check_workers(request.workers)
    limits.check_log(request.log)
    limits.check_device_name(request.device)
    limits.check_gpus(request.gpus)
    limits.check_data(data.name, data.splits, data.labels, data.options)
    limits.check_limit(data.limit)


def _check_places(request: RunRequest) -> None:
    """Check that work dir and leaderboard folder can be written, and that the records there can be read."""
    from wsss_bench.results.records import RUNS, load_records
    from wsss_bench.runs.preflight import check_places

    places = {
        "--work-dir": (request.work_dir, request.work_dir / STORE),
        "--leaderboard-dir": (request.boards, request.boards / RUNS),
    }
    check_places(places, probe=not _TRACELESS.get())
    # A board is built from all records of its folder, so that one which is unsound would end the run at its last step.
    load_records(request.boards)


def _prepared(request: DatasetRequest, dataset: Dataset, say: Say) -> Dataset:
    """Return the dataset with all that a run needs of it, less what is skipped."""
    from wsss_bench.data.truth import truth_warning
    from wsss_bench.runs import preflight
    from wsss_bench.runs.unused import unused_data

    for line in unused_data(dataset, request.root, request.skip):
        say(f"note: {line}")
    traceless = _TRACELESS.get()
    if traceless:
        dataset = dataset.preview()
    else:
        dataset.prepare(Tenths("prepare", say))
    preflight.check_photographs(dataset)
    preflight.check_masks(dataset, made=not traceless)
    warning = truth_warning(dataset)
    if warning:
        say(f"warning: {warning}")
    return dataset


def _plan_all(
    request: RunRequest,
    source: Source,
    resolved: Sequence[Resolved],
    profile: str,
) -> list[Cell]:
    """Return the cells; this reads all photographs and masks whose digests are not known."""
    from wsss_bench.io.hashing import remembering
    from wsss_bench.runs.plan import plan_cell
    from wsss_bench.runs.store.imports import LateImports

    late = LateImports(store_of(request.work_dir).root)
    plan = partial(plan_cell, source=source, profile=profile, late=late)
    with ExitStack() as stack:
        if request.rehash:
            stack.enter_context(remembering(keep=not _TRACELESS.get(), rehash=True))
        return [plan(one, seed=seed) for one in resolved for seed in request.seeds]


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
    leave_out(dataset, request, say)
    return dataset


def leave_out(dataset: Dataset, request: DatasetRequest, say: Say) -> None:
    """Apply the skip list, where there is one; `say` hears what it leaves out."""
    if request.skip is not None:
        from wsss_bench.data.skipping import skip

        say(skip(dataset, request.skip))


def default_profile(kind: str) -> str:
    """Return ``shapes`` for the embedded data, else ``paper``: the methods' own settings."""
    return "shapes" if kind == "shapes" else "paper"


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
    words += _flag("--gpus", request.gpus)
    if request.log != ("local",):
        words += ["--log", ",".join(request.log)]
    words += ["--rehash"] if request.rehash else []
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
    words += _flag("--skip", request.skip)
    return words + _flag("--limit", request.limit or None)


def _flag(name: str, value: object) -> list[str]:
    return [] if value is None else [name, str(value)]
