"""Run a recorded run again: the request out of the record, with what a record only names given by the user."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.data.limiting import plain_name
from wsss_bench.errors import DataError, PluginError, RecipeError
from wsss_bench.results.records import RunRecord, find_run
from wsss_bench.runs.progress import Say, silent
from wsss_bench.runs.request import (
    DatasetRequest,
    RunRequest,
    command_words,
    make_cells,
    parse_data_options,
    store_of,
)

if TYPE_CHECKING:
    from wsss_bench.methods.catalog import Catalog
    from wsss_bench.runs.plan import Cell
    from wsss_bench.runs.source import Source

MARKER = "reproduces.json"
"""Written into the work dir of a reproduction: an interrupted one can go on, and nothing else is taken for one."""

SKIP = "skip.txt"
"""The file in that work dir that lists the ids which the run left out."""

_FILE = re.compile(r".+\.(pth|pt|pth\.tar|npz|npy|json|py|csv|safetensors)")


def find_measured(name: str, leaderboard_dir: Path) -> RunRecord:
    """Return what `find_run` finds; raises `DataError` also for an imported run: there is no command to run again."""
    record = find_run(name, leaderboard_dir)
    if record.origin != "measured":
        what = f"run {record.run_id!r} was imported from other people's files"
        raise DataError(f"{what}, so there is nothing to run again.")
    return record


@dataclass(frozen=True)
class Given:
    """What the user gives because a record keeps names, not places: data, plugins, weights, and where to compute."""

    work_dir: Path
    data_root: Path | None = None
    labels: str | None = None
    plugins: Sequence[Path] = ()
    profile: str | None = None
    weights: str | None = None
    options: Sequence[str] = ()
    device: str | None = None
    workers: int | None = None


@dataclass(frozen=True)
class Again:
    """A recorded run, planned anew.

    Attributes:
        request: what to run.
        cell, source: its one cell and its dataset, as they are now.
        strange: parameters that came or went since, a sentence each.
    """

    request: RunRequest
    cell: Cell
    source: Source
    strange: list[str]


def plan_again(record: RunRecord, given: Given, say: Say = silent) -> Again:
    """Plan a recorded run anew, with the recorded parameters wherever defaults have changed since.

    Raises:
        DataError, RecipeError, PluginError: something that the record only names is needed and not given.
    """
    from wsss_bench.methods.catalog import Catalog

    check_methods(record, Catalog(local=given.plugins))
    check_files(record, given)
    write_skip(record, given.work_dir)
    request = rerun(record, given)
    planned = make_cells(request, say)
    # A default that was changed since would make this another run. What was in force then is in the record.
    forced, strange = forced_options(record, planned.cells[0], given)
    if forced:
        request = rerun(record, given, forced)
        planned = make_cells(request, say)
    return Again(request, planned.cells[0], planned.source, strange)


def arguments(record: RunRecord, given: Given, forced: Sequence[str] = ()) -> list[str]:
    """Return the words after ``wsss-bench`` that run `record` again; see `rerun`."""
    return command_words(rerun(record, given, forced))


def rerun(record: RunRecord, given: Given, forced: Sequence[str] = ()) -> RunRequest:
    """Return the request that runs `record` again; `forced` are ``stage.key=value`` besides what was typed then.

    Raises:
        DataError: the label table that the run was given is not here.
        RecipeError: an option cannot be understood.
    """
    from wsss_bench.methods.params import parse_options

    # A GPU's name is of no use here, but its kind is: the CPU adds up in another order.
    kind = "cpu" if record.device.startswith("cpu") else "cuda"
    return RunRequest(
        methods=(record.recipe,),
        dataset=_dataset(record, given),
        profile=given.profile or record.profile,
        seeds=(record.seed,),
        options=tuple(parse_options([*forced, *given.options])),
        weights=given.weights,
        plugins=tuple(given.plugins),
        work_dir=given.work_dir,
        device=given.device or kind,
        workers=given.workers,
    )


def _dataset(record: RunRecord, given: Given) -> DatasetRequest:
    dataset, options = record.dataset, _data_options(record)
    recorded = options.pop("labels", None)
    labels = given.labels or recorded
    # A record keeps the table's name alone; "xml" and "masks" are no files and mean the same anywhere.
    if labels and not given.labels and _is_file(labels) and not Path(labels).exists():
        what = f"the run read its image-level labels from {labels!r}."
        raise DataError(f"{what} Give that file: --labels PATH/{labels}")
    limit = int(dataset.get("limit", 0))
    return DatasetRequest(
        kind=str(dataset["kind"]),
        root=given.data_root,
        name=plain_name(str(dataset["name"])) if limit else str(dataset["name"]),
        options=options,
        splits={role: str(split) for role, split in dataset["splits"].items()},
        labels=labels,
        skip=given.work_dir / SKIP if dataset.get("skipped") else None,
        limit=limit,
    )


def _data_options(record: RunRecord) -> dict[str, str]:
    """Return the loader's options without splits and cache: from the record, or from the command of an older one."""
    recorded = record.dataset.get("options", {})
    options = {str(key): str(value) for key, value in recorded.items()}
    if "options" not in record.dataset:
        options = parse_data_options([*_typed(record.command, "--data-option")])
        for table in _typed(record.command, "--labels"):
            options["labels"] = table
    # Splits stand in the record by role; a cache changes no number and lies where this machine has room.
    for key in list(options):
        if key == "cache" or key.endswith("_split"):
            del options[key]
    return options


def _typed(command: Sequence[str], flag: str) -> Iterator[str]:
    """Yield every value that a command line gives a flag, as ``--flag value`` or ``--flag=value``."""
    for position, word in enumerate(command):
        name, equals, value = word.partition("=")
        if name != flag:
            continue
        if equals:
            yield value
        elif position + 1 < len(command):
            yield command[position + 1]


def check_methods(record: RunRecord, catalog: Catalog) -> None:
    """Raise `PluginError` for a method of the record that is not here, with the line that brings it."""
    for card in record.cards.values():
        name = str(card["name"])
        distribution = str(card.get("distribution", ""))
        if name in catalog.names():
            continue
        file, _, version = distribution.rpartition(" ")
        fix = f"Install it: pip install '{file}=={version}'"
        if version == "local":
            fix = f"Give the file it came from: --plugin PATH/{file}"
        who = f"{name} ({distribution})"
        what = "the run used this method, and it is not here."
        raise PluginError(who, "discovery", what, fix)


def check_files(record: RunRecord, given: Given) -> None:
    """Raise `RecipeError` for a file that was passed as a parameter, of which the record keeps the name only."""
    for stage, passed in record.passed.items():
        for key, value in passed.items():
            if _replaced(stage, key, given) or not _names_a_place(key, value):
                continue
            name = f"{stage}.{key}"
            what = (
                f"the run was given {name}={value!r}; records keep names, not places."
            )
            raise RecipeError(f"{what} Give it: --cfg-options {name}=PATH/{value}")


def _replaced(stage: str, key: str, given: Given) -> bool:
    """Return whether the user gives this parameter anew."""
    names = {option.partition("=")[0].strip() for option in given.options}
    by_weights = key == "weights" and given.weights is not None
    return f"{stage}.{key}" in names or by_weights


def _names_a_place(key: str, value: object) -> bool:
    """Return whether a value is the name of a file or folder that is not here."""
    if not isinstance(value, str) or not value:
        return False
    place = _is_file(value) or key.endswith("_dir")
    return place and not Path(value).exists()


def _is_file(value: str) -> bool:
    return _FILE.fullmatch(value) is not None


def forced_options(
    record: RunRecord, cell: Cell, given: Given
) -> tuple[list[str], list[str]]:
    """Return ``stage.key=value`` for each recorded parameter that would be another now, and what is gone or new."""
    forced: list[str] = []
    strange: list[str] = []
    for stage, then in record.params.items():
        now = _params_now(cell, stage)
        strange += [f"{stage}.{key} is gone" for key in then if key not in now]
        strange += [f"{stage}.{key} is new" for key in now if key not in then]
        forced += _forced(stage, then, now, given)
    return forced, strange


def _params_now(cell: Cell, stage: str) -> dict[str, Any]:
    """Return a stage's parameters in force, as a record would keep them."""
    from wsss_bench.runs.provenance.facts import portable

    params = cell.resolved.params.get(stage)
    found: dict[str, Any] = portable(params.resolved) if params else {}
    return found


def _forced(
    stage: str, then: Mapping[str, Any], now: Mapping[str, Any], given: Given
) -> Iterator[str]:
    from wsss_bench.methods.recipe import format_value

    for key, value in then.items():
        if key not in now or now[key] == value or _replaced(stage, key, given):
            continue
        # A dict would be merged with what the defaults hold now, unless it says that it is whole.
        whole = {**value, "_delete_": True} if isinstance(value, dict) else value
        yield f"{stage}.{key}={format_value(whole)}"


def prepare_work_dir(record: RunRecord, work_dir: Path, cell: Cell) -> None:
    """Mark the work dir as this reproduction's, and write the skip list that the run had.

    Raises:
        DataError: stages of this run are finished there already, by something other than this reproduction:
            comparing them would prove nothing.
    """
    from wsss_bench.io.files import read_json, write_json
    from wsss_bench.runs.plan import states
    from wsss_bench.runs.store.folders import DONE

    mark = {"run": record.run_id, "dataset": str(record.dataset["name"])}
    marker = work_dir / MARKER
    own = marker.exists() and read_json(marker) == mark
    found = states(cell, store_of(work_dir))
    done = [name for name, state in found.items() if state == DONE]
    if done and not own:
        what = f"{work_dir} holds finished stages of this run ({', '.join(done)})."
        raise DataError(f"{what} Name a fresh folder: --work-dir OTHER")
    write_json(marker, mark)
    write_skip(record, work_dir)


def write_skip(record: RunRecord, work_dir: Path) -> None:
    """Write the ids that the run left out to ``skip.txt``, where it left out any."""
    from wsss_bench.io.files import write_atomic

    skipped: Sequence[str] = record.dataset.get("skipped", ())
    if skipped:
        lines = "".join(f"{image_id}\n" for image_id in skipped)
        content = lines.encode()
        write_atomic(work_dir / SKIP, lambda handle: handle.write(content))
