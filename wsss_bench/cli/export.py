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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this verb."""
    parser.add_argument(
        "target",
        choices=("voc-test",),
        help="voc-test: the PASCAL VOC server, segmentation, comp6",
    )
    parser.add_argument(
        "run",
        help="run id (its segmentor predicts the split), or a folder of masks, one palette PNG per image",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results_voc2012_test.tgz"),
        help="archive to write (default: %(default)s)",
    )
    parser.add_argument(
        "--ids",
        type=Path,
        metavar="FILE",
        help="folder: list of image ids that must all be there (the official test.txt)",
    )
    parser.add_argument(
        "--split",
        default="test",
        help="run id: split to predict (default: %(default)s)",
    )
    add_dataset_arguments(parser)
    add_leaderboard_dir(parser)
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=Path("work_dirs"),
        help="run id: store of its stages (default: %(default)s)",
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        help="processes for the CRF (default: all cores)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON, schema in docs/protocol.md"
    )


def run(args: argparse.Namespace) -> int:
    """Predict if need be, check every mask, write the archive, and say what is in it."""
    from wsss_bench.exchange.archives import export_voc

    folder = Path(args.run)
    if not folder.is_dir():
        folder = _predicted(args)
    done = export_voc(folder, args.out, args.ids)
    if args.json:
        from wsss_bench.boards.render.as_json import dumps

        print(
            dumps(
                {
                    "schema": 1,
                    "archive": str(done.archive),
                    "images": done.images,
                    "sha256": done.sha256,
                }
            ),
            end="",
        )
    else:
        print(f"{done.archive}: {done.images} masks, sha256 {done.sha256}")
        print("Upload it as: VOC2012, segmentation (competition comp6).")
    return 0


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
    )
    return predict_run(request, say)
