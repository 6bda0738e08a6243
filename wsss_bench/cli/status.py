"""``wsss-bench status``: how far every cell of a work dir is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsss_bench.cli.why import why
from wsss_bench.errors import RecipeError

HELP = "Show every cell of a work dir: which stages are done, running, unfinished or failed, and why."
EXAMPLES = """\
  wsss-bench status
  wsss-bench status --work-dir /scratch/wsss --json
"""

_SHOWN = (
    "cell",
    "recipe",
    "dataset",
    "seed",
    "profile",
    "started",
    "failure",
    "run_id",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``status``."""
    words = "the same as the verb `why`"
    parser.add_argument("words", nargs="*", metavar="why CELL", help=words)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs"))
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Print the cells (1 if one failed)."""
    if not args.words:
        return _show(args)
    if len(args.words) != 2 or args.words[0] != "why":
        said = " ".join(args.words)
        raise RecipeError(
            f"status: cannot read {said!r}. Write: wsss-bench status why CELL"
        )
    return why(args.words[1], args)


def _show(args: argparse.Namespace) -> int:
    from wsss_bench.runs.ledger import read_cells, step_states
    from wsss_bench.runs.request import store_of

    store = store_of(args.work_dir)
    rows = []
    for cell in read_cells(args.work_dir):
        known = {key: cell.get(key) for key in _SHOWN}
        rows.append({**known, "states": step_states(cell, store)})
    if args.json:
        print(json.dumps(rows, indent=1))
    elif not rows:
        print(f"No cell in {args.work_dir}. Start one: wsss-bench run --methods cam")
    else:
        for row in rows:
            _print(row)
    # A failure that a later run has mended is no longer in the cell's file.
    return int(any(row["failure"] for row in rows))


def _print(row: Mapping[str, Any]) -> None:
    what = f"{row['recipe']}, {row['dataset']}, seed {row['seed']}"
    print(f"{row['cell']}  ({what}, profile {row['profile']})")
    states = [f"{name}: {state}" for name, state in row["states"].items()]
    print("    " + ", ".join(states))
    failure = row["failure"]
    if failure:
        print(f"    failed at {failure['step']}: {failure['error']}")
    elif row["run_id"]:
        print(f"    recorded as {row['run_id']}")
