"""The Python API: `wsss_bench.run`, for scripts and notebooks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.errors import RecipeError, WsssError
from wsss_bench.runs.progress import Observer, PlainDisplay
from wsss_bench.runs.request import DatasetRequest, RunRequest
from wsss_bench.runs.result import RunResult, result_of
from wsss_bench.runs.session import Session

if TYPE_CHECKING:
    from wsss_bench.methods.params import Option

Place = str | Path


def run(
    methods: str | Sequence[str],
    dataset: str = "shapes",
    data_root: Place | None = None,
    *,
    profile: str | None = None,
    seeds: int | Sequence[int] = (0,),
    options: Mapping[str, Any] | None = None,
    weights: Place | None = None,
    plugins: Place | Sequence[Place] = (),
    work_dir: Place = "work_dirs",
    leaderboard_dir: Place | None = None,
    device: str = "auto",
    workers: int | None = None,
    gpus: int | None = None,
    log: Sequence[str] = ("local",),
    name: str | None = None,
    data_options: Mapping[str, Any] | None = None,
    splits: Mapping[str, str] | None = None,
    labels: str | None = None,
    skip: Place | None = None,
    limit: int = 0,
    rehash: bool = False,
    quiet: bool = False,
) -> RunResult:
    """Run recipes on a dataset, score every stage, record the results, and return them.

    The same call again computes nothing that is finished and resumes what was interrupted; so does ``wsss-bench run``.
    A cell that fails does not stop the others and raises nothing: see ``failed`` of the result. All arguments are those
    of the command line, as a table in ``docs/python.md`` says.

    Raises:
        RecipeError: a recipe, a parameter or an option cannot be understood, or the device is not there.
        PluginError: no recipe is left that can run.
        DataError: the dataset cannot be used.
        ArtifactError: a folder cannot be written, has too little room, or holds a record that cannot be read.
        KeyboardInterrupt: Ctrl-C or SIGTERM; everything finished is kept.
    """
    root, choices, roles = _path(data_root), _texts(data_options), _texts(splits)
    about = name, choices, roles, labels, _path(skip), limit
    request = RunRequest(
        methods=_several(methods),
        dataset=DatasetRequest(dataset, root, *about),
        profile=profile,
        seeds=tuple(_plain("seeds", seed) for seed in _several(seeds)),
        options=_options(options or {}),
        weights=None if weights is None else str(weights),
        plugins=tuple(map(Path, _several(plugins))),
        work_dir=Path(work_dir),
        leaderboard_dir=_path(leaderboard_dir),
        device=device,
        workers=workers,
        gpus=gpus,
        log=_several(log),
        rehash=rehash,
    )
    return run_request(request, quiet=quiet)


def run_request(request: RunRequest, *, quiet: bool = False) -> RunResult:
    """Run what is asked for and return what it leaves; unless `quiet`, say on standard output how it goes."""
    display = Observer() if quiet else PlainDisplay(sys.stdout)
    with _not_while_loading():
        session = Session(request, display.note)
    for recipe, error in session.refused.items():
        display.note(f"cannot run {recipe}: {error}")
    result = result_of(session, session.run(lambda cells: display))
    if result.unbuilt:
        display.note(result.unbuilt)
    return result


class _Loading(threading.local):
    """Whether this thread loads plugins for a run, and whether one of them called for a run of its own."""

    now = False
    nested = False


_loading = _Loading()


@contextmanager
def _not_while_loading() -> Iterator[None]:
    """Refuse a run that a plugin's file starts while it is loaded for another run.

    Raises:
        RecipeError: it does; a script that names itself as a plugin would run itself for ever.
    """
    what = "wsss_bench.run was called by a plugin's file while that was loaded."
    fix = 'Put the call below `if __name__ == "__main__":`, or into another file.'
    refusal = RecipeError(f"{what} {fix}")
    if _loading.now:
        _loading.nested = True
        raise refusal
    _loading.now, _loading.nested = True, False
    try:
        yield
    except WsssError:
        # To the catalog the file is one broken plugin of many; without this its methods would just not be there.
        if _loading.nested:
            raise refusal from None
        raise
    finally:
        _loading.now = False


def _several(items: Any) -> tuple[Any, ...]:
    """Return a tuple also where one text, path or number stands for itself."""
    return (items,) if isinstance(items, str | Path | int) else tuple(items)


def _texts(pairs: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the values as a command line gives them, so that both leave the same record."""
    return {key: str(value) for key, value in (pairs or {}).items()}


def _path(place: Place | None) -> Path | None:
    return None if place is None else Path(place).expanduser()


def _options(options: Mapping[str, Any]) -> tuple[Option, ...]:
    """Return parameters as options.

    Raises:
        RecipeError: a name without a stage, or a value that no command could give.
    """
    from wsss_bench.methods.params import parse_options

    found = []
    for key, value in options.items():
        # The name is read as the command line's are. The value is not: it has its type already.
        (option,) = parse_options([f"{key}=0"])
        found.append(replace(option, value=_plain(key, value)))
    return tuple(found)


def _plain(key: str, value: Any) -> Any:
    """Return `value` as a literal: what a record can keep, and a command line could say."""
    if isinstance(value, Path):
        return str(value)
    # Numbers and arrays of numpy's have it, and this module need not import numpy to ask.
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, list | tuple):
        return type(value)(_plain(key, item) for item in value)
    if isinstance(value, dict):
        return {name: _plain(key, item) for name, item in value.items()}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    what = f"option {key!r}: {type(value).__name__} is no parameter."
    raise RecipeError(f"{what} Give a number, a text, a list or a dict of these.")
