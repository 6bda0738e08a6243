"""``wsss-bench run``: the main job."""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.errors import ArtifactError, RecipeError, did_you_mean, disk_error

if TYPE_CHECKING:
    from wsss_bench.runs.plan import Cell
    from wsss_bench.runs.progress import Observer
    from wsss_bench.runs.source import Source
    from wsss_bench.runs.store.folders import Store

HELP = "Run recipes on a dataset: localize, refine, segment, predict, score; then build the leaderboard."
EXAMPLES = """\
  wsss-bench run --methods dsrg,vwe,ficklenet
  wsss-bench run --methods vwe/densecrf/deeplab --dataset voc2012 --data-root /data/VOCdevkit/VOC2012
  wsss-bench run --methods 'cam[epochs=2],cam[epochs=8]' --seeds 0,1,2
  wsss-bench run --methods mymethod --plugin ./my_method.py --cfg-options segment.iterations=2000
The same command again reuses what is finished and resumes what was interrupted.
"""

LOG = {"local": "", "tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
"""Logging back ends of trainings, and the module each needs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``run``."""
    from wsss_bench.cli._flags import add_dataset_arguments

    add = parser.add_argument
    add(
        "--methods",
        required=True,
        metavar="A,B,C",
        help="recipes: name, name[key=value], localize/refine/segment with '_' and '-'",
    )
    add_dataset_arguments(parser)
    add(
        "--seeds",
        default="0",
        metavar="0,1",
        help="seeds; every recipe runs once with each (default: 0)",
    )
    add(
        "--profile",
        help="set of parameter defaults: a name in configs/profiles or a .py file (default: by dataset)",
    )
    add(
        "--cfg-options",
        nargs="+",
        default=[],
        metavar="STAGE.KEY=VALUE",
        help="parameters for every recipe that has them",
    )
    add(
        "--weights",
        metavar="FILE",
        help="initial weights, wherever a stage has the parameter 'weights'",
    )
    add(
        "--plugin",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="load a method from a local .py file (runs its code)",
    )
    add(
        "--work-dir",
        type=Path,
        default=Path("work_dirs"),
        help="store of finished and unfinished stages (default: work_dirs)",
    )
    add(
        "--leaderboard-dir",
        type=Path,
        help="run records and tables (default: WORK_DIR/leaderboards)",
    )
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="processes for per-image work (default: all cores)",
    )
    add(
        "--log",
        default="local",
        metavar="A,B",
        help="where trainings log to: local, tensorboard, … (default: local)",
    )
    add("--dry-run", action="store_true", help="print the plan and stop")
    add(
        "--json",
        action="store_true",
        help="print the plan (with --dry-run) or the result as JSON",
    )


def run(args: argparse.Namespace) -> int:
    """Plan, run every cell, build the leaderboard; 1 if a cell failed, 130 if interrupted."""
    from wsss_bench.cli._display import print_plan
    from wsss_bench.runs.request import make_cells
    from wsss_bench.runs.store.folders import Store

    if args.workers < 1:
        raise RecipeError(f"--workers must be at least 1, not {args.workers}.")
    check_log(args.log)
    cells, source, refused = make_cells(args)
    store = Store(args.work_dir / "store")
    if args.dry_run and args.json:
        print(json.dumps([_plan_entry(cell, store) for cell in cells], indent=1))
        return 0
    if not args.json:
        print_plan(cells, store)
    for recipe, error in refused.items():
        print(f"cannot run {recipe}: {error}", file=sys.stderr)
    if args.dry_run:
        return int(bool(refused))
    return max(_run_cells(args, cells, source, store), int(bool(refused)))


def _plan_entry(cell: Cell, store: Store) -> dict[str, Any]:
    from wsss_bench.runs.plan import states

    keys = {step.name: step.spec.key for step in cell.steps}
    params = {stage: params.resolved for stage, params in cell.resolved.params.items()}
    picks = {stage: method.name for stage, method in cell.resolved.methods.items()}
    return {
        "cell": cell.id,
        "recipe": str(cell.resolved.recipe),
        "picks": picks,
        "dataset": cell.dataset,
        "seed": cell.seed,
        "profile": cell.profile,
        "params": params,
        "keys": keys,
        "states": states(cell, store),
    }


def _run_cells(
    args: argparse.Namespace, cells: list[Cell], source: Source, store: Store
) -> int:
    from wsss_bench.boards import build
    from wsss_bench.cli._display import make_display
    from wsss_bench.io.files import drop_leftovers
    from wsss_bench.io.locking import locked

    boards = leaderboard_dir(args)
    args.device = device(args.device)
    try:
        with closing(make_display(cells, quiet=args.json)) as display, _signals():
            failed = _work_through(args, cells, source, store, display)
    except KeyboardInterrupt:
        print(
            f"\nInterrupted. Finished stages are kept; the same command resumes:\n  {_resume(args)}",
            file=sys.stderr,
        )
        return 130
    if len(failed) < len(cells):
        with locked(boards):
            drop_leftovers(boards, ".")
            build(boards)
    _report(args, cells, failed, boards)
    return 1 if failed else 0


def _work_through(
    args: argparse.Namespace,
    cells: list[Cell],
    source: Source,
    store: Store,
    display: Observer,
) -> dict[str, str]:
    """Run every cell and return what made some fail, by cell id; a cell that another process is at work on comes later."""
    from wsss_bench.runs.executors.local import LocalExecutor
    from wsss_bench.runs.pipeline import StageBusy

    failed: dict[str, str] = {}
    broken: dict[str, Exception] = {}
    queue, busy = deque(cells), 0
    while queue:
        cell = queue.popleft()
        # Wait only where others are at work on all that are left.
        patient = busy > len(queue)
        error = (
            LocalExecutor()
            .submit(_run_cell, args, cell, source, store, display, broken, patient)
            .exception()
        )
        if isinstance(error, StageBusy):
            queue.append(cell)
            busy += 1
            continue
        busy = 0
        if error:
            failed[cell.id] = str(error)
    return failed


def _run_cell(
    args: argparse.Namespace,
    cell: Cell,
    source: Source,
    store: Store,
    display: Observer,
    broken: dict[str, Exception],
    patient: bool,
) -> None:
    """Run one cell and record it; raises what made it fail, with the cell's file already saying so.

    Raises `StageBusy` where another process is at work on it, unless `patient`.
    """
    from wsss_bench.io.locking import locked
    from wsss_bench.runs.ledger import note_failure, note_finished, note_start
    from wsss_bench.runs.pipeline import CellFailed, CellRunner, Settings, StageBusy
    from wsss_bench.runs.recording import record_run

    boards = leaderboard_dir(args)
    note_start(args.work_dir, cell, args.command_line)
    display.cell_started(cell)
    step = None
    with _log_file(args.work_dir / "logs" / f"{cell.id}.log") as log:
        settings = Settings(args.device, args.workers, tuple(args.log.split(",")), log)
        try:
            finished = CellRunner(
                cell, source, store, settings, display, broken, patient=patient
            ).run()
            with locked(boards):
                path = record_run(
                    finished, source, boards, args.command_line, settings.device
                )
        except StageBusy:
            raise
        except Exception as error:
            cause = disk_error(error, "record") or error
            if isinstance(error, CellFailed) and isinstance(error.__cause__, Exception):
                step, cause = error.step, error.__cause__
            else:
                log.exception("recording failed")
            with suppress(
                ArtifactError
            ):  # on a full disk this fails too, and must not hide the reason
                note_failure(args.work_dir, cell, step, cause)
            display.cell_failed(cell, step, cause)
            raise cause from None
    note_finished(args.work_dir, cell, path.parent.name)
    display.cell_done(cell)


def leaderboard_dir(args: argparse.Namespace) -> Path:
    """Where records and tables go."""
    return args.leaderboard_dir or args.work_dir / "leaderboards"


def check_log(names: str) -> None:
    """Raise `RecipeError` for a logging back end that is not known or not installed."""
    for name in names.split(","):
        if name not in LOG:
            raise RecipeError(f"--log {name!r} is not known.{did_you_mean(name, LOG)}")
        if LOG[name] and importlib.util.find_spec(LOG[name]) is None:
            extra = "'wsss-bench[tensorboard]'" if name == "tensorboard" else LOG[name]
            raise RecipeError(
                f"--log {name} needs a package that is not installed. Install it: pip install {extra}"
            )


def device(name: str) -> str:
    """Resolve ``auto``; raises `RecipeError` for a device that is not there."""
    if name == "cpu":
        return name
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not name.startswith("cuda"):
        raise RecipeError(
            f"--device {name!r} is not known; use auto, cpu, cuda or cuda:N."
        )
    if (
        not torch.cuda.is_available()
        or int(name.partition(":")[2] or 0) >= torch.cuda.device_count()
    ):
        raise RecipeError(
            f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices. Use --device cpu."
        )
    return name


@contextmanager
def _signals() -> Iterator[None]:
    """Make SIGTERM end the run as Ctrl-C does: with everything finished kept."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


class _LogFile(logging.FileHandler):
    """A log that cannot be written (full disk) is no reason to print tracebacks between the lines of the run."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, or lose it."""
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Lose the line."""


@contextmanager
def _log_file(path: Path) -> Iterator[logging.Logger]:
    """The run's logger, with its lines going to `path`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"cannot write {path}: {error.strerror}. Choose another --work-dir."
        ) from error
    log = logging.getLogger("wsss_bench")
    handler = _LogFile(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield log
    finally:
        log.removeHandler(handler)
        handler.close()


def _resume(args: argparse.Namespace) -> str:
    import shlex

    return shlex.join(["wsss-bench", *args.command_line])


def _report(
    args: argparse.Namespace, cells: list[Cell], failed: dict[str, str], boards: Path
) -> None:
    dataset = cells[0].dataset
    if args.json:
        runs = {cell.id: cell.run_id for cell in cells if cell.id not in failed}
        print(
            json.dumps(
                {
                    "dataset": dataset,
                    "runs": runs,
                    "failed": failed,
                    "leaderboard": str(boards),
                },
                indent=1,
            )
        )
        return
    page = boards / f"{dataset}.md"
    if len(failed) < len(cells) and page.exists():
        print(f"\n{page.read_text()}")
        print(f"Tables: {boards / dataset}.csv and .md")
    for cell in cells:
        if cell.id in failed:
            log = args.work_dir / "logs" / f"{cell.id}.log"
            print(
                f"failed: {cell.label}: {failed[cell.id]}\n        log: {log}",
                file=sys.stderr,
            )
