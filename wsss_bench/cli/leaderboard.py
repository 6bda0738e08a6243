"""``wsss-bench leaderboard``: comparison tables from run records."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from pathlib import Path

from wsss_bench.cli._flags import add_leaderboard_dir, leaderboard_dir

HELP = "build, check and print the comparison tables"
EXAMPLES = """\
  wsss-bench leaderboard                        build all tables and print the Markdown
  wsss-bench leaderboard --dataset shapes --format tex
  wsss-bench leaderboard check                  recompute everything from the counts; exit 1 on any difference
  wsss-bench leaderboard table dsrg-2           a published table by name
  wsss-bench leaderboard table                  the names of the published tables
"""
FORMATS = {
    "md": ".md",
    "csv": ".csv",
    "long": "_long.csv",
    "tex": ".tex",
    "json": ".json",
    "html": ".html",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this verb."""
    add = parser.add_argument
    add(
        "action",
        nargs="?",
        choices=("build", "check", "table"),
        help="default: build, then print the Markdown",
    )
    add("name", nargs="?", help="with table: the published table to print")
    add("--dataset", help="only this dataset")
    add(
        "--format",
        choices=tuple(FORMATS),
        default="md",
        help="what to print (default: %(default)s)",
    )
    add_leaderboard_dir(parser)
    add("--json", action="store_true", help="print JSON, schema in docs/protocol.md")


def run(args: argparse.Namespace) -> int:
    """Build, check or print; 1 when a check finds a difference."""
    boards = leaderboard_dir(args.leaderboard_dir)
    if args.action == "table":
        return _table(args, boards)
    if args.action == "check":
        return _check(args, boards)
    return _build(args, boards)


def _build(args: argparse.Namespace, boards: Path) -> int:
    from wsss_bench.boards import build
    from wsss_bench.errors import DataError, did_you_mean
    from wsss_bench.io.locking import locked

    # Locking makes the folder, and whoever mistypes its name should not find it there afterwards.
    with locked(boards) if boards.is_dir() else nullcontext():
        paths = build(boards)
    if not paths:
        what = f"there are no runs under {boards}/runs."
        raise DataError(f"{what} Make some: wsss-bench run")
    if args.action == "build":
        print(*paths, sep="\n")
        return 0
    shown = _of_format(paths, "json" if args.json else args.format)
    if args.dataset is not None and args.dataset not in shown:
        hint = did_you_mean(args.dataset, shown)
        raise DataError(f"there is no board {args.dataset!r}.{hint}")
    texts = {name: path.read_text() for name, path in shown.items()}
    if args.dataset is not None:
        print(texts[args.dataset], end="")
    elif args.json:
        documents = {name: json.loads(text) for name, text in texts.items()}
        print(json.dumps(documents, indent=1, ensure_ascii=False))
    else:
        print("\n".join(texts.values()), end="")
    return 0


def _of_format(paths: list[Path], chosen: str) -> dict[str, Path]:
    """Return the tables of one format by dataset."""
    suffix = FORMATS[chosen]
    found = [path for path in paths if path.name.endswith(suffix)]
    if chosen == "csv":
        # `shapes_long.csv` ends like `shapes.csv`, and is another format.
        found = [path for path in found if not path.name.endswith(FORMATS["long"])]
    return {path.name.removesuffix(suffix): path for path in found}


def _check(args: argparse.Namespace, boards: Path) -> int:
    from wsss_bench.boards import check, datasets

    wrong = check(boards)
    if args.json:
        from wsss_bench.boards.render.as_json import dumps

        print(dumps({"schema": 1, "ok": not wrong, "problems": wrong}), end="")
    elif wrong:
        print(*wrong, sep="\n", file=sys.stderr)
    else:
        names = ", ".join(datasets(boards)) or "no runs"
        print(f"every table agrees with the counts ({names})")
    return 1 if wrong else 0


def _table(args: argparse.Namespace, boards: Path) -> int:
    from wsss_bench.boards import published
    from wsss_bench.results.published import published_csv

    tables = published.load_tables(published_csv(boards))
    if args.name is not None:
        table = published.pick(tables, args.name)
        chosen = "json" if args.json else args.format
        print(published.render(table, chosen), end="")
    elif args.json:
        from wsss_bench.boards.render.as_json import dumps

        titles = {table.name: table.title for table in tables.values()}
        print(dumps({"schema": 1, "tables": titles}), end="")
    else:
        lines = [f"{table.name:<24} {table.title}" for table in tables.values()]
        print(*lines, sep="\n")
    return 0
