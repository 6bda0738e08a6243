"""``wsss-bench leaderboard``: comparison tables from run records."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext

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
    parser.add_argument(
        "action",
        nargs="?",
        choices=("build", "check", "table"),
        help="default: build, then print the Markdown",
    )
    parser.add_argument(
        "name", nargs="?", help="with table: the published table to print"
    )
    parser.add_argument("--dataset", help="only this dataset")
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        default="md",
        help="what to print (default: %(default)s)",
    )
    add_leaderboard_dir(parser)
    parser.add_argument(
        "--json", action="store_true", help="print JSON, schema in docs/protocol.md"
    )


def run(args: argparse.Namespace) -> int:
    """Build, check or print; 1 when a check finds a difference."""
    if args.action == "table":
        return _table(args)
    if args.action == "check":
        return _check(args)
    return _build(args)


def _build(args: argparse.Namespace) -> int:
    from wsss_bench.boards import build
    from wsss_bench.errors import DataError, did_you_mean
    from wsss_bench.io.locking import locked

    folder = leaderboard_dir(args.leaderboard_dir)
    with locked(folder) if folder.is_dir() else nullcontext():
        paths = build(folder)
    if not paths:
        raise DataError(
            f"there are no runs under {folder}/runs. Make some: wsss-bench run"
        )
    if args.action == "build":
        print(*paths, sep="\n")
        return 0
    suffix = FORMATS["json" if args.json else args.format]
    shown = [
        p
        for p in paths
        if p.name.endswith(suffix)
        and not (suffix == ".csv" and p.name.endswith(FORMATS["long"]))
    ]
    names = {path.name.removesuffix(suffix): path for path in shown}
    if args.dataset is not None and args.dataset not in names:
        raise DataError(
            f"there is no board {args.dataset!r}.{did_you_mean(args.dataset, names)}"
        )
    wanted = [path for name, path in names.items() if args.dataset in (None, name)]
    if args.json and args.dataset is None:
        import json

        print(
            json.dumps(
                {
                    path.name.removesuffix(suffix): json.loads(path.read_text())
                    for path in wanted
                },
                indent=1,
                ensure_ascii=False,
            )
        )
    else:
        print("\n".join(path.read_text() for path in wanted), end="")
    return 0


def _check(args: argparse.Namespace) -> int:
    from wsss_bench.boards import check, datasets

    wrong = check(leaderboard_dir(args.leaderboard_dir))
    if args.json:
        from wsss_bench.boards.render.as_json import dumps

        print(dumps({"schema": 1, "ok": not wrong, "problems": wrong}), end="")
    elif wrong:
        print(*wrong, sep="\n", file=sys.stderr)
    else:
        print(
            f"every table agrees with the counts ({', '.join(datasets(leaderboard_dir(args.leaderboard_dir))) or 'no runs'})"
        )
    return 1 if wrong else 0


def _table(args: argparse.Namespace) -> int:
    from wsss_bench.boards import published
    from wsss_bench.results.published import published_csv

    tables = published.load_tables(published_csv(leaderboard_dir(args.leaderboard_dir)))
    if args.name is None:
        if args.json:
            from wsss_bench.boards.render.as_json import dumps

            print(
                dumps(
                    {"schema": 1, "tables": {t.name: t.title for t in tables.values()}}
                ),
                end="",
            )
        else:
            print(*(f"{t.name:<24} {t.title}" for t in tables.values()), sep="\n")
        return 0
    print(
        published.render(
            published.pick(tables, args.name), "json" if args.json else args.format
        ),
        end="",
    )
    return 0
