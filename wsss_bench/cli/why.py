"""``wsss-bench why``: which part of a stage's key makes it be computed anew."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.errors import RecipeError, WsssError

if TYPE_CHECKING:
    from wsss_bench.runs.plan import Cell
    from wsss_bench.runs.request import RunRequest

HELP = (
    "Say for every stage of a cell whether it is finished, "
    "and if not, what in its key differs from the nearest finished one."
)
EXAMPLES = """\
  wsss-bench why shapes-dsrg-s0-1a2b3c             the cell's name is what `wsss-bench status` prints
  wsss-bench why dsrg                              the recipe, or the beginning of a cell's or run's name, will do
  wsss-bench why --methods dsrg --seeds 0,1        of a run that was not started: the flags of `wsss-bench run`
Everything is planned anew with data, plugins and code as they are now; nothing is written.
"""

_OWN = ("cell", "work_dir", "json", "command_line")

Told = Sequence[Mapping[str, Any]]
"""State and changes by step, as `wsss_bench.runs.store.explain.explain` gives them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``why``."""
    from wsss_bench.cli.run import add_request_arguments

    cell = "a cell as `wsss-bench status` names it, its run, its recipe, or a beginning"
    parser.add_argument("cell", nargs="?", metavar="CELL", help=cell)
    add_request_arguments(parser, required=False)
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the explanation of one cell, or of every cell of a run that is described by flags."""
    if args.cell is None and args.methods is None:
        raise RecipeError("why: name a cell, or a run by its flags: --methods A,B,C …")
    if args.cell is None:
        return _why_planned(args)
    _refuse_flags(args)
    return why(args.cell, args)


def _refuse_flags(args: argparse.Namespace) -> None:
    """Raise `RecipeError` where a cell is named and flags of a run besides: they would change nothing."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    default = vars(parser.parse_args([]))
    given = [key for key, value in vars(args).items() if value != default.get(key)]
    flags = [f"--{key.replace('_', '-')}" for key in given if key not in _OWN]
    if flags:
        what = f"why {args.cell}: {', '.join(flags)} would have no effect."
        raise RecipeError(f"{what} Name a cell, or a run by its flags.")


def why(name: str, args: argparse.Namespace) -> int:
    """Print state and key differences of every stage of the cell `name`; raises `RecipeError` where there is none.

    The cell is planned anew; where that cannot be, it is explained as it was when it was started last.
    """
    from wsss_bench.runs.ledger import read_cell
    from wsss_bench.runs.request import store_of
    from wsss_bench.runs.store.explain import explain

    entry = read_cell(args.work_dir, name)
    found = _explained_now(entry, args.work_dir)
    if found is None:
        found = explain(entry["steps"], store_of(args.work_dir))
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        _print(found)
    return 0


def _explained_now(entry: Mapping[str, Any], work_dir: Path) -> Told | None:
    """Return what there is to say about a cell with all that it rests on as it is now, or None, with a word why."""
    from wsss_bench.cli._flags import say

    try:
        return _plan_again(entry, work_dir)
    except (WsssError, OSError) as error:
        say(f"{entry['cell']} cannot be planned now: {error}")
        say(f"What follows is how it was planned on {entry['started']}.")
        return None


def _plan_again(entry: Mapping[str, Any], work_dir: Path) -> Told:
    words, folder = entry.get("words"), entry.get("folder")
    if not words or not folder:
        raise RecipeError("an earlier version has noted it without its command.")
    place = work_dir.absolute()
    # Relative paths were meant from where the command was typed.
    with chdir(folder):
        request = replace(_parsed(words), work_dir=place)
        for cell, found in _explained(request):
            if cell.id == entry["cell"]:
                return found
    raise RecipeError("its command stands for other cells now.")


def _parsed(words: Sequence[str]) -> RunRequest:
    """Return the request of a command that was typed once; raises `RecipeError` where it is none any more."""
    from wsss_bench.cli import _joined, run

    # A parser of its own: it raises where the usual one prints usage and ends the process.
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    run.add_arguments(parser)
    try:
        args, unknown = parser.parse_known_args(_joined(words[1:]))
    except argparse.ArgumentError as error:
        raise RecipeError(f"its command cannot be read ({error}).") from error
    if unknown:
        raise RecipeError(f"its command has {unknown[0]!r}, which is no option.")
    args.command_line = list(words)
    return run.request_from_args(args)


def _why_planned(args: argparse.Namespace) -> int:
    from wsss_bench.cli.run import request_from_args

    found = list(_explained(request_from_args(args)))
    if args.json:
        entries = [_entry(cell, told) for cell, told in found]
        print(json.dumps(entries, indent=1))
        return 0
    for cell, told in found:
        print(f"{cell.id}  ({cell.label})")
        _print(told, "  ")
    return 0


def _entry(cell: Cell, told: Told) -> dict[str, Any]:
    return {"cell": cell.id, "label": cell.label, "steps": told}


def _explained(request: RunRequest) -> Iterator[tuple[Cell, Told]]:
    """Yield every cell of a request with what there is to say about it; nothing is written."""
    from wsss_bench.cli._flags import say
    from wsss_bench.runs.reasons import explain_cell
    from wsss_bench.runs.request import leaving_no_trace, make_cells, store_of

    store = store_of(request.work_dir)
    # Where it is computed is in no key, and this machine need not have the device.
    request = replace(request, device="cpu")
    with leaving_no_trace():
        planned = make_cells(request, say)
        for recipe, error in planned.refused.items():
            say(f"cannot run {recipe}: {error}")
        found = [(cell, explain_cell(cell, store)) for cell in planned.cells]
    yield from found


def _print(found: Told, indent: str = "") -> None:
    for entry in found:
        print(f"{indent}{entry['step']}: {entry['state']}")
        for change in entry["changes"]:
            print(f"{indent}    {change}")
