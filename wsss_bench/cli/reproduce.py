"""``wsss-bench reproduce``: run a recorded run again and compare it, count by count."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from wsss_bench.cli._flags import add_leaderboard_dir, leaderboard_dir, say

if TYPE_CHECKING:
    from wsss_bench.results.records import RunRecord
    from wsss_bench.runs.comparing import Compared
    from wsss_bench.runs.reproduce import Again, Given

HELP = "Run a recorded run again from its provenance record and compare every per-image count."
EXAMPLES = """\
  wsss-bench reproduce vwe-s0-f7884505
  wsss-bench reproduce leaderboards/runs/voc2012/dsrg-s0-a1062b32 --data-root ~/data --tolerance 0.5
  wsss-bench reproduce vwe-s0-f7884505 --dry-run       the command, and what differs from the machine of the record
Exit status 0 only where every count is the same, or every mIoU within --tolerance; 1 where not; 2 where data, a plugin
or a file that the run used is not here.
"""

_NAMES = {
    "seeds_best": "seeds (oracle)",
    "seeds_fixed": "seeds (fixed)",
    "labels": "labels",
    "val": "val",
    "val_crf": "val, CRF",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``reproduce``."""
    add = parser.add_argument
    run_id = "a run's id in the leaderboard folder, or its folder"
    add("run_id", metavar="RUN", help=run_id)
    add_leaderboard_dir(parser)
    work_dir = "where to compute (default: a fresh work_dirs/reproduce/DATASET/RUN)"
    add("--work-dir", type=Path, help=work_dir)
    add(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="POINTS",
        help="mIoU points that a score may move (default: 0, exact)",
    )
    _add_given(parser)
    dry = "print the command and what differs, and stop"
    add("--dry-run", action="store_true", help=dry)
    add("--json", action="store_true", help="print the result as JSON")


def _add_given(parser: argparse.ArgumentParser) -> None:
    """What a record only names."""
    add = parser.add_argument
    data_root = "where the data lie (default: $WSSS_BENCH_DATA_ROOT)"
    add("--data-root", type=Path, metavar="FOLDER", help=data_root)
    labels = "the label table the run was given, if it was given one"
    add("--labels", metavar="FILE", help=labels)
    add(
        "--plugin",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="the local plugin of the run (runs its code)",
    )
    add("--profile", help="the profile's .py file, where the run was given one")
    weights = "the initial weights, where the run was given some"
    add("--weights", metavar="FILE", help=weights)
    add(
        "--cfg-options",
        nargs="+",
        default=[],
        metavar="STAGE.KEY=VALUE",
        help="other files the run was given",
    )
    add("--device", help="auto, cpu, cuda or cuda:N (default: the kind of the record)")
    add("--workers", type=int, help="processes for per-image work (default: all cores)")


def run(args: argparse.Namespace) -> int:
    """Plan the recorded run anew, run it, compare; 0 where everything is the same (or within the tolerance)."""
    from wsss_bench.errors import DataError
    from wsss_bench.runs.reproduce import find_measured

    # Not `< 0`: what is no number at all must be refused, too.
    if not args.tolerance >= 0:
        raise DataError(f"--tolerance {args.tolerance}: give mIoU points from 0.")
    record = find_measured(args.run_id, leaderboard_dir(args.leaderboard_dir))
    given = _given(args, record)
    if args.dry_run:
        return _show_alone(args, record, given)
    again, differs = _plan(record, given)
    if not args.json:
        _announce(args, record, again, differs)
    return _run_again(args, record, again, differs)


def _plan(record: RunRecord, given: Given) -> tuple[Again, list[str]]:
    """Return the run, planned anew, and what differs from when it was recorded."""
    from wsss_bench.runs.comparing import environment
    from wsss_bench.runs.reproduce import plan_again
    from wsss_bench.runs.request import resolve_device

    again = plan_again(record, given, say)
    device = resolve_device(again.request.device)
    differs = environment(record, again.cell, again.source, device)
    differs += [f"parameters: {line}" for line in again.strange]
    return again, differs


def _show_alone(args: argparse.Namespace, record: RunRecord, given: Given) -> int:
    """Print the command and what differs; nothing is written."""
    from wsss_bench.runs.request import leaving_no_trace

    with leaving_no_trace(), TemporaryDirectory() as aside:
        away = given
        # The list of skipped images comes out of the record, and planning reads it from a file.
        if record.dataset.get("skipped"):
            away = replace(given, work_dir=Path(aside))
        again, differs = _plan(record, away)
        data = again.request.dataset
        if data.skip is not None:
            data = replace(data, skip=given.work_dir / data.skip.name)
        request = replace(again.request, work_dir=given.work_dir, dataset=data)
        _announce(args, record, replace(again, request=request), differs)
    return 0


def _run_again(
    args: argparse.Namespace,
    record: RunRecord,
    again: Again,
    differs: Sequence[str],
) -> int:
    """Run what was planned, compare it with the record and print that; the exit status."""
    from wsss_bench.cli.run import run_request
    from wsss_bench.runs import comparing
    from wsss_bench.runs.reproduce import prepare_work_dir

    prepare_work_dir(record, again.request.work_dir, again.cell)
    # What the run prints is no part of the one document that --json promises.
    with redirect_stdout(sys.stderr if args.json else sys.stdout):
        status = run_request(again.request)
    if status:
        return status
    now = comparing.repetition(again.request.boards, again.cell)
    found = comparing.compare(record, now)
    ok = bool(found) and all(row.within(args.tolerance) for row in found)
    if args.json:
        words = again.request.words
        facts = dict(comparing.as_json(record, words, differs, found))
        facts |= {"tolerance": args.tolerance, "reproduced": ok}
        print(json.dumps(facts, indent=1))
    else:
        _show(found, differs, args.tolerance, ok)
    return int(not ok)


def _given(args: argparse.Namespace, record: RunRecord) -> Given:
    from wsss_bench.runs.reproduce import Given

    dataset = str(record.dataset["name"])
    fresh = Path("work_dirs") / "reproduce" / dataset / record.run_id
    return Given(
        work_dir=args.work_dir or fresh,
        data_root=args.data_root,
        labels=args.labels,
        plugins=args.plugin,
        profile=args.profile,
        weights=args.weights,
        options=args.cfg_options,
        device=args.device,
        workers=args.workers,
    )


def _announce(
    args: argparse.Namespace,
    record: RunRecord,
    again: Again,
    differs: Sequence[str],
) -> None:
    """Print the command and what differs, and which finished stages of the work dir cannot be used."""
    from wsss_bench.runs.comparing import as_json
    from wsss_bench.runs.reasons import reasons
    from wsss_bench.runs.request import store_of

    words = again.request.words
    if args.json:
        print(json.dumps(as_json(record, words, differs), indent=1))
        return
    when = record.finished or "at no known time"
    where = f"{record.run_id} on {record.dataset['name']}"
    print(f"{where}, recorded {when} on {record.device}")
    print(f"again: {shlex.join(['wsss-bench', *words])}")
    print("what differs from then:" + ("" if differs else " nothing"))
    for line in differs:
        print(f"  {line}")
    told = reasons([again.cell], store_of(again.request.work_dir))
    for step in again.cell.steps:
        if step.spec.key in told:
            print(f"{step.name} anew: {told[step.spec.key]}")
    # A long run follows, and a pipe would hold this back until its end.
    print(flush=True)


def _show(
    found: Sequence[Compared], differs: Sequence[str], tolerance: float, ok: bool
) -> None:
    print(f"\n{'mIoU':<16}{'then':>8}{'now':>8}{'moved':>9}  images that differ")
    for row in found:
        moved = "–" if row.delta is None else f"{row.delta:+.3f}"
        scores = f"{_number(row.then):>8}{_number(row.now):>8}{moved:>9}"
        print(f"{_NAMES[row.what]:<16}{scores}  {row.images or 'none: equal'}")
    if ok and all(row.images == 0 for row in found):
        print("\nreproduced: every count is the same.")
    elif ok:
        print(f"\nreproduced within {tolerance:g} points; the counts are not the same.")
    else:
        within = f" within {tolerance:g} points" if tolerance else ""
        hint = " See what differs above." if differs else ""
        print(f"\nNOT reproduced{within}.{hint}")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
