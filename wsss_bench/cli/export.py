"""``wsss-bench export``: a run's predictions in the form that an evaluation server takes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from wsss_bench.cli._flags import (
    add_dataset_arguments,
    add_leaderboard_dir,
    dataset_request,
    leaderboard_dir,
    say,
)

HELP = "write predictions in the form that an evaluation server takes"
EXAMPLES = """\
  wsss-bench export voc-test dsrg-s0-5e7ade32 --dataset voc2012 --data-root ~/data
  wsss-bench export voc-test predictions/ --ids ImageSets/Segmentation/test.txt --out results.tgz
"""

_RUN = "run id (its segmentor predicts the split), or a folder of masks, one palette PNG per image"
_FOR_FOLDERS = {"target", "run", "out", "ids", "json"}
_IDS = "folder: list of image ids that must all be there (the official test.txt)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this verb."""
    add = parser.add_argument
    target = "voc-test: the PASCAL VOC server, segmentation, comp6"
    add("target", choices=("voc-test",), help=target)
    add("run", help=_RUN)
    add(
        "--out",
        type=Path,
        default=Path("results_voc2012_test.tgz"),
        help="archive to write (default: %(default)s)",
    )
    add("--ids", type=Path, metavar="FILE", help=_IDS)
    split = "run id: split to predict (default: %(default)s)"
    add("--split", default="test", help=split)
    add_dataset_arguments(parser)
    add_leaderboard_dir(parser)
    _add_places(parser)
    add("--json", action="store_true", help="print JSON, schema in docs/protocol.md")


def _add_places(parser: argparse.ArgumentParser) -> None:
    """Where a run id's segmentor lies, and where it predicts."""
    add = parser.add_argument
    add(
        "--work-dir",
        type=Path,
        default=Path("work_dirs"),
        help="run id: store of its stages (default: %(default)s)",
    )
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add(
        "--plugin",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="run id: a method's .py file whose network its segmentor has (runs its code)",
    )
    add(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        help="processes for the CRF (default: all cores)",
    )


def run(args: argparse.Namespace) -> int:
    """Predict if need be, check every mask, write the archive, and say what is in it."""
    from wsss_bench.exchange.archives import export_voc

    folder = Path(args.run)
    if folder.is_dir():
        _say_idle(args)
    else:
        folder = _predicted(args)
    done = export_voc(folder, args.out, args.ids)
    if args.json:
        from wsss_bench.boards.render.as_json import dumps

        facts = {
            "schema": 1,
            "archive": str(done.archive),
            "images": done.images,
            "sha256": done.sha256,
        }
        print(dumps(facts), end="")
    else:
        print(f"{done.archive}: {done.images} masks, sha256 {done.sha256}")
        print("Upload it as: VOC2012, segmentation (competition comp6).")
    return 0


def _say_idle(args: argparse.Namespace) -> None:
    """Name the options that change nothing where the masks are there already."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    usual = vars(parser.parse_args([args.target, args.run]))
    for name in sorted(usual.keys() - _FOR_FOLDERS):
        if getattr(args, name) != usual[name]:
            option = name.replace("_", "-")
            say(f"--{option} has no effect on a folder: it is for run ids")


def _predicted(args: argparse.Namespace) -> Path:
    """Return the folder of masks that the run predicts now."""
    from wsss_bench.runs.predicting import PredictionRequest, predict_run

    request = PredictionRequest(
        run=args.run,
        boards=leaderboard_dir(args.leaderboard_dir, args.work_dir),
        split=args.split,
        dataset=dataset_request(args),
        work_dir=args.work_dir,
        device=args.device,
        workers=args.workers,
        plugins=tuple(args.plugin),
    )
    return predict_run(request, say)
