"""``wsss-bench evaluate``: score a folder of other people's files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.cli._flags import add_leaderboard_dir, leaderboard_dir

if TYPE_CHECKING:
    from wsss_bench.data.base import Dataset
    from wsss_bench.exchange.folders import Scored

HELP = "score a folder of masks (PNG) or class activation maps (.npz, .npy) by the harness's protocol"
EXAMPLES = """\
  wsss-bench evaluate predictions/ --dataset voc2012 --data-root ~/data --split val
  wsss-bench evaluate irn/result/cam/ --dataset voc2012 --split train --kind seeds --threshold 0.15
  wsss-bench evaluate pseudo/ --dataset voc2012 --split train --kind labels --add "IRN (released)"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this verb."""
    from wsss_bench.cli._flags import add_dataset_arguments

    parser.add_argument(
        "folder", type=Path, help="one file per image, named after the image id"
    )
    add_dataset_arguments(parser)
    parser.add_argument(
        "--split",
        help="split to score (default: the dataset's val, or its seeds split for seeds and labels)",
    )
    parser.add_argument(
        "--kind",
        choices=("seeds", "labels", "prediction"),
        help="default: seeds for .npz/.npy, prediction for .png",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        help="seeds: also score this fixed background threshold",
    )
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="also write the counts to FILE (.npz)"
    )
    parser.add_argument(
        "--add",
        metavar="NAME",
        help="add the result to the dataset's board as an imported row of this name",
    )
    add_leaderboard_dir(parser)
    parser.add_argument(
        "--json", action="store_true", help="print JSON, schema in docs/protocol.md"
    )


def run(args: argparse.Namespace) -> int:
    """Score, print, and add to a board if asked."""
    from wsss_bench.cli._flags import dataset_from_args
    from wsss_bench.exchange.folders import guess_kind, score_folder
    from wsss_bench.exchange.imported import add_imported
    from wsss_bench.io.locking import locked

    dataset = dataset_from_args(args)
    kind = args.kind or guess_kind(args.folder)
    split = args.split or (
        dataset.splits.val if kind == "prediction" else dataset.splits.seeds
    )
    scored = score_folder(
        args.folder, dataset.masks(split), dataset.classes, kind, args.threshold
    )
    if args.save is not None:
        next(iter(scored.counts.values())).save(args.save)
    if args.add is not None:
        from wsss_bench.boards import build

        folder = leaderboard_dir(args.leaderboard_dir)
        with locked(folder):
            add_imported(folder, args.add, dataset, split, scored)
            build(folder)
    if args.json:
        from wsss_bench.boards.render.as_json import dumps

        print(dumps(_json(args, dataset, split, scored)), end="")
    else:
        print("\n".join(_lines(args, dataset, split, scored)))
    return 0


def _json(
    args: argparse.Namespace, dataset: Dataset, split: str, scored: Scored
) -> dict[str, Any]:
    from wsss_bench.evaluate import PROTOCOL

    payload: dict[str, Any] = {
        "schema": 1,
        "protocol": PROTOCOL,
        "dataset": dataset.name,
        "split": split,
        "kind": scored.kind,
    }
    payload |= {
        "classes": dataset.classes,
        "thresholds": scored.thresholds,
        "unused_files": scored.unused,
        "scores": {},
    }
    for what, counts in scored.counts.items():
        payload["scores"][what] = {
            "miou": counts.miou(),
            "per_class": counts.per_class_iou(),
            "coverage": counts.coverage(),
            "n_images": len(counts),
        }
    if scored.curve is not None:
        payload["curve"] = {
            "thresholds": scored.curve.thresholds,
            "miou": scored.curve.miou(),
        }
    return payload


def _lines(
    args: argparse.Namespace, dataset: Dataset, split: str, scored: Scored
) -> list[str]:
    names = {"seeds_best": "oracle", "seeds_fixed": "fixed"}
    lines = [
        f"{args.folder} on {dataset.name}/{split}, {len(next(iter(scored.counts.values())))} images, as {scored.kind}; % IoU",
        "",
    ]
    heads, columns = [], []
    for what, counts in scored.counts.items():
        threshold = scored.thresholds.get(names.get(what, ""))
        heads.append(what if threshold is None else f"{names[what]} @{threshold:.2f}")
        columns.append(
            [*counts.per_class_iou().tolist(), counts.miou(), counts.coverage()]
        )
    lines.append("  " + f"{'':<20}" + "".join(f"{head:>16}" for head in heads))
    for index, label in enumerate([*dataset.classes, "mean", "coverage"]):
        cells = [column[index] for column in columns]
        lines.append(
            "  "
            + f"{label:<20}"
            + "".join(f"{'–' if c != c else f'{100 * c:.2f}':>16}" for c in cells)
        )
    if scored.unused:
        lines += [
            "",
            f"  {scored.unused} files belong to no image of the split and were not read",
        ]
    if args.add is not None:
        lines += [
            "",
            f"  added to {leaderboard_dir(args.leaderboard_dir)}/{dataset.name}.md as imported row {args.add!r}",
        ]
    return lines
