"""``wsss-bench cache``: the store of finished and unfinished stages."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsss_bench.runs.housekeeping import Entry

HELP = "List, clean or verify the stages kept under a work dir."
EXAMPLES = """\
  wsss-bench cache ls                       every stage folder, its state and size
  wsss-bench cache gc --dry-run             what no cell refers to any more
  wsss-bench cache verify                   hash every finished artifact again and compare
"""

_VERBS = {
    "ls": "list stage folders",
    "gc": "delete what no cell refers to",
    "verify": "re-hash finished artifacts",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sub-verbs of ``cache``."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="ls|gc|verify")
    for name, line in _VERBS.items():
        sub = verbs.add_parser(name, help=line)
        sub.add_argument("--work-dir", type=Path, default=Path("work_dirs"))
        sub.add_argument("--json", action="store_true")
        if name == "gc":
            _add_gc(sub)


def _add_gc(sub: argparse.ArgumentParser) -> None:
    dry = "only say what would be deleted"
    sub.add_argument("--dry-run", action="store_true", help=dry)
    unfinished = "also delete unfinished stages that no process works on"
    sub.add_argument("--unfinished", action="store_true", help=unfinished)


def run(args: argparse.Namespace) -> int:
    """Run the sub-verb; ``verify`` returns 1 where an artifact is damaged."""
    return {"ls": _ls, "gc": _gc, "verify": _verify}[args.action](args)


def _print(rows: Sequence[Entry], args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps([row.as_json() for row in rows], indent=1))
        return
    for row in rows:
        what = f"{row.stage:<13} {row.folder}  {row.method:<14} {row.state:<10}"
        notes = [note for note in (row.action, row.problem) if note]
        print("  ".join([f"{what} {row.mb:>9.2f} MB", *notes]))


def _ls(args: argparse.Namespace) -> int:
    from wsss_bench.runs.housekeeping import list_stages
    from wsss_bench.runs.request import STORE

    rows = list_stages(args.work_dir)
    _print(rows, args)
    if not args.json:
        mb = sum(row.mb for row in rows)
        print(f"{len(rows)} stages, {mb:.1f} MB in {args.work_dir / STORE}")
    return 0


def _gc(args: argparse.Namespace) -> int:
    from wsss_bench.runs.housekeeping import collect_garbage

    rows = collect_garbage(args.work_dir, dry=args.dry_run, unfinished=args.unfinished)
    _print(rows, args)
    return 0


def _verify(args: argparse.Namespace) -> int:
    from wsss_bench.runs.housekeeping import verify_stages

    rows = verify_stages(args.work_dir)
    _print(rows, args)
    damaged = [row for row in rows if row.problem]
    if not args.json:
        remedy = " Delete those folders; the next run makes them again."
        counted = f"{len(rows)} finished stages, {len(damaged)} damaged."
        print(counted + (remedy if damaged else ""))
    return int(bool(damaged))
