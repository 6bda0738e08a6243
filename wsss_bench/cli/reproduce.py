"""``wsss-bench reproduce``: run a recorded run again and compare it, count by count."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.cli._boards import add_leaderboard_dir, leaderboard_dir

if TYPE_CHECKING:
    from wsss_bench.results.records import RunRecord
    from wsss_bench.runs.plan import Cell
    from wsss_bench.runs.reproduce import Compared, Given
    from wsss_bench.runs.source import Source

HELP = "Run a recorded run again from its provenance record and compare every per-image count."
EXAMPLES = """\
  wsss-bench reproduce vwe-s0-f7884505
  wsss-bench reproduce leaderboards/runs/voc2012/dsrg-s0-a1062b32 --data-root ~/data --tolerance 0.5
  wsss-bench reproduce vwe-s0-f7884505 --dry-run       the command, and what differs from the machine of the record
Exit status 0 only where every count is the same, or every mIoU within --tolerance; 1 where not; 2 where data, a plugin or a
file that the run used is not here.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``reproduce``."""
    add = parser.add_argument
    add(
        "run_id",
        metavar="RUN",
        help="a run's id in the leaderboard folder, or its folder",
    )
    add_leaderboard_dir(parser)
    add(
        "--work-dir",
        type=Path,
        help="where to compute (default: a fresh work_dirs/reproduce/DATASET/RUN)",
    )
    add(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="POINTS",
        help="mIoU points that a score may move (default: 0, exact)",
    )
    add(
        "--data-root",
        type=Path,
        metavar="FOLDER",
        help="where the data lie (default: $WSSS_BENCH_DATA_ROOT)",
    )
    add(
        "--labels",
        metavar="FILE",
        help="the label table the run was given, if it was given one",
    )
    add(
        "--plugin",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="the local plugin of the run (runs its code)",
    )
    add("--profile", help="the profile's .py file, where the run was given one")
    add(
        "--weights",
        metavar="FILE",
        help="the initial weights, where the run was given some",
    )
    add(
        "--cfg-options",
        nargs="+",
        default=[],
        metavar="STAGE.KEY=VALUE",
        help="other files the run was given",
    )
    add("--device", help="auto, cpu, cuda or cuda:N (default: the kind of the record)")
    add("--workers", type=int, help="processes for per-image work (default: all cores)")
    add(
        "--dry-run",
        action="store_true",
        help="print the command and what differs, and stop",
    )
    add("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Rebuild the command, run it, compare; 0 where everything is the same (or within the tolerance)."""
    from wsss_bench.cli.run import device
    from wsss_bench.cli.run import run as run_verb
    from wsss_bench.errors import DataError
    from wsss_bench.results.records import RECORD, RUNS, load_record
    from wsss_bench.runs.reproduce import (
        as_json,
        compare,
        environment,
        find_measured,
        prepare_work_dir,
    )

    if not args.tolerance >= 0:
        raise DataError(f"--tolerance {args.tolerance}: give mIoU points from 0.")
    place = argparse.Namespace(leaderboard_dir=args.leaderboard_dir)
    record = find_measured(args.run_id, leaderboard_dir(place))
    given = _given(args, record)
    words, again, cell, source, strange = _plan(record, given, args.dry_run)
    differs = [
        *environment(record, cell, source, device(again.device)),
        *(f"parameters: {line}" for line in strange),
    ]
    if args.dry_run or not args.json:
        _announce(args, record, words, differs)
    if args.dry_run:
        return 0
    prepare_work_dir(record, given.work_dir, cell)
    with redirect_stdout(sys.stderr if args.json else sys.stdout):
        status = run_verb(again)
    if status:
        return status
    path = given.work_dir / "leaderboards" / RUNS / cell.dataset / cell.run_id / RECORD
    found = compare(record, load_record(path))
    ok = bool(found) and all(row.within(args.tolerance) for row in found)
    if args.json:
        print(
            json.dumps(
                {
                    **as_json(record, words, differs, found),
                    "tolerance": args.tolerance,
                    "reproduced": ok,
                },
                indent=1,
            )
        )
    else:
        _show(found, differs, args.tolerance, ok)
    return int(not ok)


def _given(args: argparse.Namespace, record: RunRecord) -> Given:
    from wsss_bench.runs.reproduce import Given

    work_dir = (
        args.work_dir
        or Path("work_dirs") / "reproduce" / str(record.dataset["name"]) / record.run_id
    )
    return Given(
        work_dir,
        args.data_root,
        args.labels,
        args.plugin,
        args.profile,
        args.weights,
        args.cfg_options,
        args.device,
        args.workers,
    )


def _plan(
    record: RunRecord, given: Given, dry: bool
) -> tuple[list[str], argparse.Namespace, Cell, Source, list[str]]:
    """The command's words, its parsed arguments, its one cell, the dataset, and parameters that came or went since."""
    from wsss_bench.io.files import write_atomic
    from wsss_bench.methods.catalog import Catalog
    from wsss_bench.runs.reproduce import (
        arguments,
        check_files,
        check_methods,
        forced_options,
        write_skip,
    )
    from wsss_bench.runs.request import make_cells

    check_methods(record, Catalog(local=given.plugins))
    check_files(record, given)
    write_skip(record, given.work_dir, write_atomic)
    words = arguments(record, given)
    (cell, *_), source, _ = make_cells(_parse(words))
    forced, strange = forced_options(record, cell, given)
    if forced:
        words = arguments(record, given, forced)
        (cell, *_), source, _ = make_cells(_parse(words))
    return words, _parse(words), cell, source, strange


def _parse(words: Sequence[str]) -> argparse.Namespace:
    from wsss_bench.cli import run as verb

    parser = argparse.ArgumentParser(prog="wsss-bench run", allow_abbrev=False)
    verb.add_arguments(parser)
    found = parser.parse_args(list(words[1:]))
    found.command_line = list(words)
    return found


def _announce(
    args: argparse.Namespace,
    record: RunRecord,
    words: Sequence[str],
    differs: Sequence[str],
) -> None:
    if args.json:
        facts: dict[str, Any] = {
            "schema": 1,
            "run": record.run_id,
            "command": ["wsss-bench", *words],
            "differs": list(differs),
        }
        print(json.dumps(facts, indent=1))
        return
    print(
        f"{record.run_id} on {record.dataset['name']}, recorded {record.finished or 'at no known time'} on {record.device}"
    )
    print(f"again: {shlex.join(['wsss-bench', *words])}")
    print("what differs from then:" + ("" if differs else " nothing"))
    for line in differs:
        print(f"  {line}")
    print(flush=True)


def _show(
    found: Sequence[Compared], differs: Sequence[str], tolerance: float, ok: bool
) -> None:
    names = {
        "seeds_best": "seeds (oracle)",
        "seeds_fixed": "seeds (fixed)",
        "labels": "labels",
        "val": "val",
        "val_crf": "val, CRF",
    }
    print(f"\n{'mIoU':<16}{'then':>8}{'now':>8}{'moved':>9}  images that differ")
    for row in found:
        cells = "".join(
            f"{'–' if value is None else f'{value:.2f}':>8}"
            for value in (row.then, row.now)
        )
        moved = "–" if row.delta is None else f"{row.delta:+.3f}"
        print(f"{names[row.what]:<16}{cells}{moved:>9}  {row.images or 'none: equal'}")
    if all(row.images == 0 for row in found) and ok:
        print("\nreproduced: every count is the same.")
    elif ok:
        print(f"\nreproduced within {tolerance:g} points; the counts are not the same.")
    else:
        print(
            f"\nNOT reproduced{f' within {tolerance:g} points' if tolerance else ''}."
            + (" See what differs above." * bool(differs))
        )
