"""``wsss-bench why``: which part of a stage's key makes it be computed anew."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsss_bench.errors import RecipeError, did_you_mean

HELP = "Say for every stage of a cell whether it is finished, and if not, what in its key differs from the nearest finished one."
EXAMPLES = """\
  wsss-bench why shapes-dsrg-s0-1a2b3c             the cell's name is what `wsss-bench status` prints
  wsss-bench why shapes-dsrg-s0-1a2b3c --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``why``."""
    parser.add_argument(
        "cell", metavar="CELL", help="a cell as `wsss-bench status` names it"
    )
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs"))
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Print the explanation of one cell."""
    from wsss_bench.runs.ledger import read_cells

    return why(args.cell, read_cells(args.work_dir), args)


def why(name: str, cells: Sequence[Mapping[str, Any]], args: argparse.Namespace) -> int:
    """Print state and key differences of every stage of the cell `name`; raises `RecipeError` where there is none of that name."""
    from wsss_bench.runs.store.explain import explain
    from wsss_bench.runs.store.folders import Store

    cell = next((entry for entry in cells if entry["cell"] == name), None)
    if cell is None:
        known = [entry["cell"] for entry in cells]
        raise RecipeError(
            f"there is no cell {name!r} in {args.work_dir}.{did_you_mean(name, known)}"
        )
    found = explain(cell["steps"], Store(args.work_dir / "store"))
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    for entry in found:
        print(f"{entry['step']}: {entry['state']}")
        for change in entry["changes"]:
            print(f"    {change}")
    return 0
