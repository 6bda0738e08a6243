"""``wsss-bench run``: the main job."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsss_bench.runs.cost import Cost
    from wsss_bench.runs.plan import Cell
    from wsss_bench.runs.request import RunRequest
    from wsss_bench.runs.session import Finish, Session
    from wsss_bench.runs.store.folders import Store

HELP = "Run recipes on a dataset: localize, refine, segment, predict, score; then build the leaderboard."
EXAMPLES = """\
  wsss-bench run --methods dsrg,vwe,ficklenet
  wsss-bench run --methods vwe/densecrf/deeplab --dataset voc2012 --data-root /data/VOCdevkit/VOC2012
  wsss-bench run --methods 'cam[epochs=2],cam[epochs=8]' --seeds 0,1,2
  wsss-bench run --methods mymethod --plugin ./my_method.py --cfg-options segment.iterations=2000
The same command again reuses what is finished and resumes what was interrupted.
"""

_METHODS = "recipes: name, name[key=value], localize/refine/segment with '_' and '-'"
_PROFILE = (
    "set of parameter defaults: a name in configs/profiles or a .py file "
    "(default: by dataset)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``run``."""
    add_request_arguments(parser, required=True)
    add = parser.add_argument
    add("--dry-run", action="store_true", help="print the plan and its cost and stop")
    probe = "with --dry-run: rehearse the recipes on a few images first, to tell what they cost"
    add("--probe", action="store_true", help=probe)
    add(
        "--json",
        action="store_true",
        help="print the plan (with --dry-run) or the result as JSON",
    )


def add_request_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add what says which run is meant: methods (which may be `required`), data, settings and places."""
    from wsss_bench.cli._flags import add_dataset_arguments

    add = parser.add_argument
    add("--methods", required=required, metavar="A,B,C", help=_METHODS)
    add_dataset_arguments(parser)
    _add_settings(parser)
    _add_rehearsal(parser)
    _add_places(parser)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """What decides the numbers."""
    add = parser.add_argument
    seeds = "seeds; every recipe runs once with each (default: 0)"
    add("--seeds", default="0", metavar="0,1", help=seeds)
    add("--profile", help=_PROFILE)
    add(
        "--cfg-options",
        nargs="+",
        default=[],
        metavar="STAGE.KEY=VALUE",
        help="parameters for every recipe that has them",
    )
    weights = "initial weights, wherever a stage has the parameter 'weights'"
    add("--weights", metavar="FILE", help=weights)
    add(
        "--plugin",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="load a method from a local .py file (runs its code)",
    )


def _add_rehearsal(parser: argparse.ArgumentParser) -> None:
    text = (
        "rehearse: the whole recipe on N images of every split, trainings shortened in proportion, "
        "on a board of its own"
    )
    parser.add_argument("--limit", type=_positive, default=0, metavar="N", help=text)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _add_places(parser: argparse.ArgumentParser) -> None:
    """Where and how it is computed."""
    from wsss_bench.runs.request import usable_cores

    add = parser.add_argument
    add(
        "--work-dir",
        type=Path,
        default=Path("work_dirs"),
        help="store of finished and unfinished stages (default: work_dirs)",
    )
    boards = "run records and tables (default: WORK_DIR/leaderboards)"
    add("--leaderboard-dir", type=Path, help=boards)
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add(
        "--workers",
        type=int,
        default=usable_cores(),
        help="processes for per-image work (default: all cores)",
    )
    gpus = (
        "processes that share each training, every one on a GPU of its own "
        "(default: as many as torchrun has started, or 1)"
    )
    add("--gpus", type=int, metavar="N", help=gpus)
    log = (
        "where trainings log to besides their tables of losses: local, tensorboard, … "
        "(default: local); events lie in WORK_DIR/logs"
    )
    add("--log", default="local", metavar="A,B", help=log)
    rehash = "read all data again, whatever is remembered of their contents"
    add("--rehash", action="store_true", help=rehash)


def run(args: argparse.Namespace) -> int:
    """Plan, run every cell, build the leaderboard; 1 if a cell failed, 130 if interrupted."""
    from wsss_bench.errors import RecipeError

    if args.probe and not args.dry_run:
        what = "--probe tells what a run will cost, and this one runs."
        raise RecipeError(f"{what} Add --dry-run, or leave --probe out.")
    request = request_from_args(args)
    return run_request(request, dry=args.dry_run, as_json=args.json, probe=args.probe)


def request_from_args(args: argparse.Namespace) -> RunRequest:
    """Return what the flags ask for; raises `RecipeError` or `DataError` for one that cannot be read."""
    from wsss_bench.cli._flags import dataset_request
    from wsss_bench.methods.params import parse_options
    from wsss_bench.runs.request import RunRequest, parse_seeds

    return RunRequest(
        methods=(args.methods,),
        dataset=replace(dataset_request(args), limit=args.limit),
        profile=args.profile,
        seeds=parse_seeds(args.seeds),
        options=tuple(parse_options(args.cfg_options)),
        weights=args.weights,
        plugins=tuple(args.plugin),
        work_dir=args.work_dir,
        leaderboard_dir=args.leaderboard_dir,
        device=args.device,
        workers=args.workers,
        gpus=args.gpus,
        log=tuple(name.strip() for name in args.log.split(",")),
        rehash=args.rehash,
        command_line=tuple(args.command_line),
    )


def run_request(
    request: RunRequest,
    *,
    dry: bool = False,
    as_json: bool = False,
    probe: bool = False,
) -> int:
    """Run a request and print how it goes (with `dry` the plan and its cost alone); the exit status."""
    from wsss_bench.cli._flags import say
    from wsss_bench.runs import ranks
    from wsss_bench.runs.request import leaving_no_trace
    from wsss_bench.runs.session import Session

    if ranks.follows():
        # The plan, the records and all that is printed are the first process's.
        return 0 if dry else ranks.follow()
    with leaving_no_trace() if dry else nullcontext():
        session = Session(request, say)
        cost = session.cost(probe=probe) if dry else None
        _show_plan(session, cost, as_json=as_json)
    if not (dry and as_json):
        for recipe, error in session.refused.items():
            say(f"cannot run {recipe}: {error}")
    # The cells of the other recipes run, and yet the command has not done all that it was asked for.
    status = 0 if dry else _run(session, as_json)
    return max(status, int(bool(session.refused)))


def _show_plan(session: Session, cost: Cost | None, *, as_json: bool) -> None:
    from wsss_bench.cli._display import print_plan

    # Standard output is one document then, without a word before or after it.
    if cost is not None and as_json:
        entries = [_plan_entry(cell, session.store, cost) for cell in session.cells]
        print(json.dumps(entries, indent=1))
    elif not as_json:
        print_plan(session.cells, session.store, session.space, cost)


def _run(session: Session, as_json: bool) -> int:
    from wsss_bench.cli._display import make_display
    from wsss_bench.runs.stopping import end_descendants

    try:
        finish = session.run(partial(make_display, quiet=as_json), hard=True)
    except KeyboardInterrupt:
        # Loaders and workers that have not heard of it must not hold this process's output open.
        end_descendants()
        command = shlex.join(["wsss-bench", *session.request.words])
        what = "Finished stages are kept; the same command resumes:"
        print(f"\nInterrupted. {what}\n  {command}", file=sys.stderr)
        return 130
    if finish.unbuilt is not None:
        raise finish.unbuilt
    if as_json:
        print(json.dumps(_as_json(session, finish), indent=1))
    else:
        _report(session, finish)
    return int(bool(finish.failed))


def _plan_entry(cell: Cell, store: Store, cost: Cost) -> dict[str, Any]:
    from wsss_bench.runs.plan import states
    from wsss_bench.runs.reasons import reasons

    told = reasons([cell], store)
    resolved = cell.resolved
    replaced = {}
    for stage, one in resolved.params.items():
        replaced[stage] = dict(one.overridden)
    params = {stage: one.resolved for stage, one in resolved.params.items()}
    picks = {stage: method.name for stage, method in resolved.methods.items()}
    keys = {step.name: step.spec.key for step in cell.steps}
    return {
        "cell": cell.id,
        "recipe": str(resolved.recipe),
        "picks": picks,
        "dataset": cell.dataset,
        "seed": cell.seed,
        "profile": cell.profile,
        "params": params,
        "keys": keys,
        "states": states(cell, store),
        "why": _by_name(cell, told),
        "overridden": replaced,
        "cost": {
            step.step: {"seconds": step.seconds, "source": step.source}
            for step in cost.steps
            if step.cell == cell.label
        },
    }


def _by_name(cell: Cell, told: Mapping[str, str]) -> dict[str, str]:
    """Return why steps are computed anew, by the step's name; `told` is by key."""
    keys = {step.name: step.spec.key for step in cell.steps}
    return {name: told[key] for name, key in keys.items() if key in told}


def _as_json(session: Session, finish: Finish) -> dict[str, Any]:
    recorded = [cell for cell in session.cells if cell.id not in finish.failed]
    return {
        "dataset": session.cells[0].dataset,
        "runs": {cell.id: cell.run_id for cell in recorded},
        "failed": finish.failed,
        "leaderboard": str(session.request.boards),
    }


def _report(session: Session, finish: Finish) -> None:
    if finish.page is not None:
        print(f"\n{finish.page.read_text()}")
        print(f"Tables: {finish.page.with_suffix('')}.csv and .md")
    if set(session.request.log) - {"local"}:
        # Not of one cell: tensorboard is pointed at the folder of all.
        folder = session.log_path(session.cells[0]).parent
        print(f"Logs of trainings ({', '.join(session.request.log)}): {folder}")
    for cell in session.cells:
        if cell.id in finish.failed:
            what = f"failed: {cell.label}: {finish.failed[cell.id]}"
            log = session.log_path(cell)
            print(f"{what}\n        log: {log}", file=sys.stderr)
