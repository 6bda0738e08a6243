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
FAILED = "failed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``status``."""
    parser.add_argument(
        "words", nargs="*", metavar="why CELL", help="the same as the verb `why`"
    )
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs"))
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Print the cells (1 if one failed)."""
    from wsss_bench.runs.ledger import read_cells

    cells = read_cells(args.work_dir)
    if not args.words:
        return _show(cells, args)
    if len(args.words) != 2 or args.words[0] != "why":
        raise RecipeError(
            f"status: cannot read {' '.join(args.words)!r}. Write: wsss-bench status why CELL"
        )
    return why(args.words[1], cells, args)


def _states(cell: Mapping[str, Any], root: Path) -> dict[str, str]:
    from wsss_bench.runs.store.folders import StageSpec, Store

    store = Store(root / "store")
    states = {
        step["name"]: store.folder(StageSpec(step["stage"], step["parts"])).state()
        for step in cell["steps"]
    }
    failure = cell.get("failure")
    if failure and states.get(failure["step"], "") not in ("done", "running"):
        states[failure["step"]] = FAILED
    return states


def _show(cells: list[dict[str, Any]], args: argparse.Namespace) -> int:
    rows = [{**_brief(cell), "states": _states(cell, args.work_dir)} for cell in cells]
    if args.json:
        print(json.dumps(rows, indent=1))
    elif not rows:
        print(f"No cell in {args.work_dir}. Start one: wsss-bench run --methods cam")
    else:
        for row in rows:
            print(
                f"{row['cell']}  ({row['recipe']}, {row['dataset']}, seed {row['seed']}, profile {row['profile']})"
            )
            print(
                "    "
                + ", ".join(f"{name}: {state}" for name, state in row["states"].items())
            )
            if row["failure"]:
                print(
                    f"    failed at {row['failure']['step']}: {row['failure']['error']}"
                )
            elif row["run_id"]:
                print(f"    recorded as {row['run_id']}")
    return int(any(row["failure"] for row in rows))


def _brief(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: cell[key]
        for key in (
            "cell",
            "recipe",
            "dataset",
            "seed",
            "profile",
            "started",
            "failure",
            "run_id",
        )
    }
