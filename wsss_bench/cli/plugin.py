"""``wsss-bench plugin``: which methods there are, and what one of them is."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.errors import PluginError

if TYPE_CHECKING:
    from wsss_bench.catalog import Catalog

HELP = "List the installed methods, or describe one."
EXAMPLES = """\
  wsss-bench plugin list                    names and versions; imports none of them
  wsss-bench plugin list --load             import and check each; say which are broken, and why
  wsss-bench plugin info dsrg --json        card and parameters of one
  wsss-bench plugin info mine --plugin ./mine.py
Environment variable WSSS_BENCH_PLUGINS (names of methods or distributions, comma-separated) hides all others.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sub-verbs of ``plugin``."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="list|info")
    listing = verbs.add_parser("list", help="names, distributions and versions")
    listing.add_argument("--load", action="store_true", help="import and check every plugin")
    info = verbs.add_parser("info", help="card and parameters of one method")
    info.add_argument("name")
    for sub in (listing, info):
        sub.add_argument(
            "--plugin", action="append", default=[], type=Path, metavar="FILE", help="a local .py file (runs its code)"
        )
        sub.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Print the list (1 if `--load` found a broken plugin) or the description."""
    from wsss_bench.catalog import Catalog

    catalog = Catalog(local=args.plugin)
    return _list(catalog, args) if args.action == "list" else _info(catalog, args)


def _list(catalog: Catalog, args: argparse.Namespace) -> int:
    rows = [_row(catalog, name, args.load) for name in catalog.names()]
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            stages = f"  {', '.join(row['stages'])}" if "stages" in row else ""
            print(f"{row['name']:<16} {row['distribution']} {row['version']}{stages}")
            if row["problem"]:
                print(f"    broken: {row['problem']}")
    return int(args.load and any(row["problem"] for row in rows))


def _row(catalog: Catalog, name: str, load: bool) -> dict[str, Any]:
    listing = next(entry for entry in catalog.listings() if entry.name == name)
    problem = str(listing.problem) if listing.problem else None
    row: dict[str, Any] = {
        "name": name,
        "distribution": listing.distribution,
        "version": listing.version,
        "target": listing.target,
    }
    if load and problem is None:
        try:
            row["stages"] = list(catalog.load(name).card.stages)
        except PluginError as error:
            problem = str(error)
    return {**row, "problem": problem}


def _info(catalog: Catalog, args: argparse.Namespace) -> int:
    from wsss_bench.params import defaults

    method = catalog.load(args.name)
    card = method.card
    facts = {
        "name": card.name,
        "version": card.version,
        "distribution": f"{method.distribution} {method.version}",
        "stages": list(card.stages),
        "recipe": card.recipe,
        "paper": card.paper,
        "url": card.url,
        "supervision": list(card.supervision),
        "extra_data": card.extra_data,
        "notes": card.notes,
        "contract": card.contract,
        "code": method.code_digest,
        "parameters": {stage: defaults(method, stage) for stage in card.stages},
    }
    if args.json:
        print(json.dumps(facts, indent=1, default=str))
        return 0
    for key, value in facts.items():
        if key != "parameters" and value not in ("", "-"):
            print(f"{key:<13} {', '.join(value) if isinstance(value, list) else value}")
    for stage in card.stages:
        print(f"parameters of {stage}:")
        for key, value in defaults(method, stage).items():
            print(f"  {key} = {value!r}")
    return 0
