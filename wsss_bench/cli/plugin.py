"""``wsss-bench plugin``: which methods there are, what one is, a project for a new one, whether one keeps the rules."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.errors import PluginError, RecipeError

if TYPE_CHECKING:
    from wsss_bench.methods.catalog import Catalog

HELP = "List the installed methods, describe one, start the project of a new one, or check one against the contract."
EXAMPLES = """\
  wsss-bench plugin list                    names and versions; imports none of them
  wsss-bench plugin list --load             import and check each; say which are broken, and why
  wsss-bench plugin info dsrg --json        card and parameters of one
  wsss-bench plugin info mine --plugin ./mine.py
  wsss-bench plugin info --markdown         the page of all methods that the documentation shows
  wsss-bench plugin new mine --kind localizer     a complete project in ./wsss-mine: code, card, test, packaging
  wsss-bench plugin check mine              run the conformance kit; also a file: plugin check ./mine.py
Environment variable WSSS_BENCH_PLUGINS (names of methods or distributions, comma-separated) hides all others.
"""

_KINDS = ("localizer", "refiner", "segmentor")
_NEW = "write a project that works as it is: a localizer, a refiner or a segmentor"
_CHECK = "run the conformance kit on one method (under a minute on an idle CPU)"
_MARKDOWN = "a Markdown page; of all methods where no name is given"
_FULL = "also at the usual size, where it must beat a trivial answer (minutes)"
_KEEP = "leave everything the check made in this new folder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sub-verbs of ``plugin``."""
    verbs = parser.add_subparsers(
        dest="action", required=True, metavar="list|info|new|check"
    )
    listing = verbs.add_parser("list", help="names, distributions and versions")
    load = "import and check every plugin"
    listing.add_argument("--load", action="store_true", help=load)
    info = verbs.add_parser("info", help="card and parameters of one method")
    info.add_argument("name", nargs="?")
    info.add_argument("--markdown", action="store_true", help=_MARKDOWN)
    _add_new(verbs.add_parser("new", help=_NEW))
    check = verbs.add_parser("check", help=_CHECK)
    check.add_argument("name", help="a method's name, or a .py file")
    check.add_argument("--full", action="store_true", help=_FULL)
    check.add_argument("--keep", type=Path, metavar="FOLDER", help=_KEEP)
    for sub in (listing, info, check):
        sub.add_argument(
            "--plugin",
            action="append",
            default=[],
            type=Path,
            metavar="FILE",
            help="a local .py file (runs its code)",
        )
        sub.add_argument("--json", action="store_true")


def _add_new(new: argparse.ArgumentParser) -> None:
    new.add_argument("name", help="the method's name")
    new.add_argument("--kind", required=True, choices=_KINDS)
    where = "where to (default: ./wsss-NAME)"
    new.add_argument("--dir", type=Path, metavar="FOLDER", help=where)
    new.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Do what is asked; 1 if `list --load` found a broken plugin or `check` a broken rule."""
    if args.action == "new":
        return _new(args)
    if args.action == "check":
        return _check(args)
    from wsss_bench.methods.catalog import Catalog

    # Installed plugins are imported when they are asked for; local files at once, since only they know their names.
    catalog = Catalog(local=args.plugin)
    if args.action == "list":
        return _list(catalog, args)
    if args.markdown:
        return _markdown(catalog, args)
    if args.name is None:
        raise RecipeError("plugin info needs a name. The names: wsss-bench plugin list")
    return _info(catalog, args)


def _new(args: argparse.Namespace) -> int:
    from wsss_bench.testing.template.project import write_project

    folder = args.dir or Path(f"wsss-{args.name}")
    files = write_project(args.name, args.kind, folder)
    if args.json:
        print(json.dumps([str(path) for path in files], indent=1))
        return 0
    for path in files:
        print(f"wrote {path}")
    print("\nNext:")
    print(f"  pip install -e {folder}")
    print(f"  wsss-bench plugin check {args.name}")
    print(f"  wsss-bench run --methods cam,{args.name}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from wsss_bench.testing import check_method

    if args.keep is not None and args.keep.exists():
        raise RecipeError(f"--keep {args.keep} exists. Name a folder that does not.")
    report = check_method(args.name, files=args.plugin, full=args.full, keep=args.keep)
    print(report.to_json() if args.json else report.table())
    return int(not report.ok)


def _markdown(catalog: Catalog, args: argparse.Namespace) -> int:
    from wsss_bench.boards.methods_page import methods_page

    print(methods_page(catalog, [args.name] if args.name else None), end="")
    return 0


def _list(catalog: Catalog, args: argparse.Namespace) -> int:
    rows = [_row(catalog, name, args.load) for name in catalog.names()]
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            _print_row(row)
    # A plugin that nobody tried to load may be broken without anybody's being in its way.
    return int(args.load and any(row["problem"] for row in rows))


def _print_row(row: Mapping[str, Any]) -> None:
    stages = f"  {', '.join(row['stages'])}" if "stages" in row else ""
    print(f"{row['name']:<16} {row['distribution']} {row['version']}{stages}")
    if row["problem"]:
        print(f"    broken: {row['problem']}")


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
    facts = _facts(catalog, args.name)
    parameters: Mapping[str, Mapping[str, Any]] = facts["parameters"]
    if args.json:
        print(json.dumps(facts, indent=1, default=str))
        return 0
    for key, value in facts.items():
        if key != "parameters" and value not in ("", "-"):
            text = ", ".join(value) if isinstance(value, list) else value
            print(f"{key:<13} {text}")
    for stage, values in parameters.items():
        print(f"parameters of {stage}:")
        for key, value in values.items():
            print(f"  {key} = {value!r}")
    return 0


def _facts(catalog: Catalog, name: str) -> dict[str, Any]:
    from wsss_bench.methods.profiles import defaults

    method = catalog.load(name)
    card = method.card
    return {
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
