"""``wsss-bench cache``: the store of finished and unfinished stages."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsss_bench.runs.store.folders import StageFolder, Store

HELP = "List, clean or verify the stages kept under a work dir."
EXAMPLES = """\
  wsss-bench cache ls                       every stage folder, its state and size
  wsss-bench cache gc --dry-run             what no cell refers to any more
  wsss-bench cache verify                   hash every finished artifact again and compare
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sub-verbs of ``cache``."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="ls|gc|verify")
    for name, line in (
        ("ls", "list stage folders"),
        ("gc", "delete what no cell refers to"),
        ("verify", "re-hash finished artifacts"),
    ):
        sub = verbs.add_parser(name, help=line)
        sub.add_argument("--work-dir", type=Path, default=Path("work_dirs"))
        sub.add_argument("--json", action="store_true")
        if name == "gc":
            sub.add_argument(
                "--dry-run", action="store_true", help="only say what would be deleted"
            )
            sub.add_argument(
                "--unfinished",
                action="store_true",
                help="also delete unfinished stages that no process works on",
            )


def run(args: argparse.Namespace) -> int:
    """Run the sub-verb; ``verify`` returns 1 where an artifact is damaged."""
    from wsss_bench.runs.store.folders import Store

    store = Store(args.work_dir / "store")
    return {"ls": _ls, "gc": _gc, "verify": _verify}[args.action](store, args)


def _entry(store: Store, path: Path) -> tuple[StageFolder, dict[str, Any]]:
    folder = store.read(path)
    method = folder.spec.parts.get("method", {}).get("name", "-")
    row = {
        "stage": folder.spec.stage,
        "folder": path.name,
        "method": method,
        "state": folder.state(),
        "mb": _mb(path),
    }
    return folder, row


def _mb(path: Path) -> float:
    return round(
        sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) / 2**20, 2
    )


def _print(rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        tail = "".join(f"  {row[key]}" for key in ("action", "problem") if key in row)
        print(
            f"{row['stage']:<13} {row['folder']}  {row['method']:<14} {row['state']:<10} {row['mb']:>9.2f} MB{tail}"
        )


def _ls(store: Store, args: argparse.Namespace) -> int:
    rows = [_entry(store, path)[1] for path in store.folders()]
    _print(rows, args)
    if not args.json:
        print(
            f"{len(rows)} stages, {sum(row['mb'] for row in rows):.1f} MB in {store.root}"
        )
    return 0


def _gc(store: Store, args: argparse.Namespace) -> int:
    from wsss_bench.runs.ledger import read_cells
    from wsss_bench.runs.store.folders import DONE, UNFINISHED

    wanted = {
        step["key"] for cell in read_cells(args.work_dir) for step in cell["steps"]
    }
    rows = []
    for path in store.folders():
        folder, row = _entry(store, path)
        stale = folder.spec.key not in wanted and row["state"] in (DONE, UNFINISHED)
        if stale or (args.unfinished and row["state"] == UNFINISHED):
            removed = args.dry_run or folder.remove()
            rows.append(
                {
                    **row,
                    "action": "would be deleted"
                    if args.dry_run
                    else "deleted"
                    if removed
                    else "in use, kept",
                }
            )
        elif row["state"] == DONE and folder.scratch.exists() and not args.dry_run:
            folder.clean()
    for path in store.nameless():
        row = {
            "stage": path.parent.name,
            "folder": path.name,
            "method": "-",
            "state": UNFINISHED,
            "mb": _mb(path),
        }
        removed = args.dry_run or store.remove_nameless(path)
        rows.append(
            {
                **row,
                "action": "would be deleted"
                if args.dry_run
                else "deleted"
                if removed
                else "in use, kept",
            }
        )
    _print(rows, args)
    return 0


def _verify(store: Store, args: argparse.Namespace) -> int:
    from wsss_bench.runs.store.folders import DONE

    rows = []
    for path in store.folders():
        folder, row = _entry(store, path)
        if row["state"] == DONE:
            problems = folder.problems()
            rows.append({**row, "problem": " ".join(problems)} if problems else row)
    _print(rows, args)
    damaged = [row for row in rows if "problem" in row]
    if not args.json:
        print(
            f"{len(rows)} finished stages, {len(damaged)} damaged."
            + (
                " Delete those folders; the next run makes them again."
                if damaged
                else ""
            )
        )
    return int(bool(damaged))
