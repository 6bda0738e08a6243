"""``wsss-bench doctor``: what works here, what does not, and the line that repairs it."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

HELP = (
    "Check this machine: packages, GPU, CRF back ends, data, work dir, plugins; "
    "print the line that repairs each fault."
)
EXAMPLES = """\
  wsss-bench doctor
  wsss-bench doctor --data-root ~/data --work-dir /scratch/wsss
  wsss-bench doctor --imports          also import torch, mmengine and the rest, each in a process of its own
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``doctor``."""
    add = parser.add_argument
    data_root = "where the data lie (default: $WSSS_BENCH_DATA_ROOT)"
    add("--data-root", type=Path, metavar="FOLDER", help=data_root)
    add(
        "--work-dir",
        type=Path,
        default=Path("work_dirs"),
        help="where runs will be kept (default: work_dirs)",
    )
    add(
        "--plugin",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="also load a local .py file (runs its code)",
    )
    imports = "also import every heavy package (takes seconds)"
    add("--imports", action="store_true", help=imports)
    add("--json", action="store_true", help="print every check as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 where something fails."""
    from wsss_bench.doctor.examine import examine
    from wsss_bench.doctor.findings import FAIL, OK, WARN

    found = examine(args.data_root, args.work_dir, args.plugin, imports=args.imports)
    checks = list(found)
    tally = Counter(check.level for check in checks)
    status = int(bool(tally[FAIL]))
    if args.json:
        rows = [asdict(check) for check in checks]
        facts = {"schema": 1, "ok": not tally[FAIL], "checks": rows}
        print(json.dumps(facts, indent=1))
        return status
    for check in checks:
        print(f"{check.level:<5} {check.part + ':':<10} {check.what}")
        if check.fix and check.level != OK:
            print(f"      {'':<10} repair: {check.fix}")
    print(f"\n{tally[OK]} in order, {tally[WARN]} to know, {tally[FAIL]} broken.")
    return status
