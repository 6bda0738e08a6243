"""``wsss-bench export``: a run's predictions in the form that an evaluation server takes."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write predictions in the form that an evaluation server takes"
EXAMPLES = """\
  wsss-bench export voc-test predictions/ --out results.tgz
  wsss-bench export voc-test work_dirs/runs/RUN/predictions --ids ImageSets/Segmentation/test.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this verb."""
    parser.add_argument("target", choices=("voc-test",), help="voc-test: the PASCAL VOC server, segmentation, comp6")
    parser.add_argument("run", type=Path, help="folder of test predictions, one palette PNG per image (a stage's folder will do)")
    parser.add_argument(
        "--out", type=Path, default=Path("results_voc2012_test.tgz"), help="archive to write (default: %(default)s)"
    )
    parser.add_argument(
        "--ids", type=Path, metavar="FILE", help="list of image ids that must all be there (the official test.txt)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, schema in docs/protocol.md")


def run(args: argparse.Namespace) -> int:
    """Check every mask, write the archive, and say what is in it."""
    from wsss_bench.evaluate.export import export_voc

    done = export_voc(args.run, args.out, args.ids)
    if args.json:
        from wsss_bench.boards.jsons import dumps

        print(dumps({"schema": 1, "archive": str(done.archive), "images": done.images, "sha256": done.sha256}), end="")
    else:
        print(f"{done.archive}: {done.images} masks, sha256 {done.sha256}")
        print("Upload it as: VOC2012, segmentation (competition comp6).")
    return 0
