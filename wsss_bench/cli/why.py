"""``wsss-bench why``: which part of a stage's key makes it be computed anew."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = (
    "Say for every stage of a cell whether it is finished, "
    "and if not, what in its key differs from the nearest finished one."
)
EXAMPLES = """\
  wsss-bench why shapes-dsrg-s0-1a2b3c             the cell's name is what `wsss-bench status` prints
  wsss-bench why shapes-dsrg-s0-1a2b3c --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``why``."""
    cell = "a cell as `wsss-bench status` names it"
    parser.add_argument("cell", metavar="CELL", help=cell)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs"))
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Print the explanation of one cell."""
    return why(args.cell, args)


def why(name: str, args: argparse.Namespace) -> int:
    """Print state and key differences of every stage of the cell `name`; raises `RecipeError` where there is none."""
    from wsss_bench.runs.ledger import read_cell
    from wsss_bench.runs.request import store_of
    from wsss_bench.runs.store.explain import explain

    cell = read_cell(args.work_dir, name)
    found = explain(cell["steps"], store_of(args.work_dir))
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    for entry in found:
        print(f"{entry['step']}: {entry['state']}")
        for change in entry["changes"]:
            print(f"    {change}")
    return 0
