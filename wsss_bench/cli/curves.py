"""``wsss-bench curves``: losses and learning rates of a run's trainings."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsss_bench.runs.curves import Curve

HELP = "Losses and learning rates of a run's trainings, finished or going on: where the tables lie, and drawn."
EXAMPLES = """\
  wsss-bench curves dsrg-s0-5e7ade32
  wsss-bench curves dsrg --out losses.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``curves``."""
    add = parser.add_argument
    add("run", help="cell or run id (or its beginning), or a recipe that was run once")
    out = "draw them: a file that ends in .png, .svg or .pdf"
    add("--out", type=Path, metavar="FILE", help=out)
    add(
        "--work-dir",
        type=Path,
        default=Path("work_dirs"),
        help="store of the run's stages (default: %(default)s)",
    )
    add("--json", action="store_true", help="print all values as JSON")


def run(args: argparse.Namespace) -> int:
    """Print a line for each training, or all values, and draw them where asked to."""
    from wsss_bench.runs.curves import curves_of, draw

    found = curves_of(args.run, args.work_dir)
    if args.out is not None:
        draw(found, args.out)
    if args.json:
        print(json.dumps([_entry(curve) for curve in found], indent=1))
        return 0
    for curve in found:
        print(f"{curve.step}: {curve.name}: {_summary(curve)}")
        print(f"    {curve.path}")
    if args.out is not None:
        print(f"Drawn: {args.out}")
    return 0


def _summary(curve: Curve) -> str:
    columns = curve.columns
    last = int(columns["iteration"][-1]) if columns["iteration"] else 0
    parts = [f"{last} iterations"]
    for name in [*curve.losses, "lr"]:
        # A loss that was not there in every row has gaps, which say nothing.
        values = [value for value in columns.get(name, ()) if value == value]
        if values:
            parts.append(f"{name} {values[0]:.4g} to {values[-1]:.4g}")
    return ", ".join(parts)


def _entry(curve: Curve) -> dict[str, Any]:
    columns = {name: _plain(values) for name, values in curve.columns.items()}
    return {
        "step": curve.step,
        "training": curve.name,
        "file": str(curve.path),
        "columns": columns,
    }


def _plain(values: Sequence[float]) -> list[float | None]:
    """Return the values with None for what is no number: JSON has no word for that."""
    return [value if value == value else None for value in values]
