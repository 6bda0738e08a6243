"""``wsss-bench evaluate``: score a folder of other people's files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.cli._flags import (
    add_dataset_arguments,
    add_leaderboard_dir,
    dataset_from_args,
    leaderboard_dir,
    say,
)

if TYPE_CHECKING:
    from wsss_bench.data.base import Dataset
    from wsss_bench.exchange.folders import Known, Scored

HELP = "score a folder of masks (PNG) or class activation maps (.npz, .npy) by the harness's protocol"
EXAMPLES = """\
  wsss-bench evaluate predictions/ --dataset voc2012 --data-root ~/data --split val
  wsss-bench evaluate irn/result/cam/ --dataset voc2012 --split train --kind seeds --threshold 0.15
  wsss-bench evaluate clip-es/cams/ --dataset voc2012 --split train --array attn_highres
  wsss-bench evaluate pseudo/ --dataset voc2012 --split train --kind labels --add "IRN (released)"
"""

_SPLIT = "split to score (default: the dataset's val, or its seeds split for seeds and labels)"
_KIND = "default: seeds for .npz/.npy, prediction for .png"
_ADD = "add the result to the dataset's board as an imported row of this name"
_ARRAY = "seeds: array to score where files hold several (default: the one of the photograph's size)"
_THRESHOLDS = {"seeds_best": "oracle", "seeds_fixed": "fixed"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this verb."""
    add = parser.add_argument
    add("folder", type=Path, help="one file per image, named after the image id")
    add_dataset_arguments(parser)
    add("--split", help=_SPLIT)
    add("--kind", choices=("seeds", "labels", "prediction"), help=_KIND)
    threshold = "seeds: also score this fixed background threshold, within 0..1"
    add("--threshold", type=float, help=threshold)
    add("--array", metavar="NAME", help=_ARRAY)
    save = "also write the counts to FILE (.npz)"
    add("--save", type=Path, metavar="FILE", help=save)
    add("--add", metavar="NAME", help=_ADD)
    add_leaderboard_dir(parser)
    add("--json", action="store_true", help="print JSON, schema in docs/protocol.md")


@dataclass(frozen=True)
class _Result:
    """A scored folder, and where it belongs."""

    dataset: Dataset
    split: str
    scored: Scored


def run(args: argparse.Namespace) -> int:
    """Score, print, and add to a board if asked."""
    result = _score(args)
    if args.save is not None:
        # Of seeds, the counts at the oracle's threshold come first.
        next(iter(result.scored.counts.values())).save(args.save)
    if args.add is not None:
        _add(args, result)
    if args.json:
        from wsss_bench.boards.render.as_json import dumps

        print(dumps(_json(result)), end="")
    else:
        print("\n".join(_lines(args, result)))
    return 0


def _score(args: argparse.Namespace) -> _Result:
    from wsss_bench.exchange.folders import guess_kind, score_folder

    dataset = dataset_from_args(args)
    kind = args.kind or guess_kind(args.folder)
    splits = dataset.splits
    split = args.split or (splits.val if kind == "prediction" else splits.seeds)
    _say_idle(args, kind)
    scored = score_folder(
        args.folder,
        dataset.masks(split),
        dataset.classes,
        kind,
        args.threshold,
        known=_known(dataset, split, kind, args.array),
    )
    return _Result(dataset, split, scored)


def _say_idle(args: argparse.Namespace, kind: str) -> None:
    """Name the options that change nothing for this kind."""
    if kind == "seeds":
        return
    for name in ("threshold", "array"):
        if getattr(args, name) is not None:
            say(f"--{name} has no effect on {kind}: it is for seeds")


def _known(dataset: Dataset, split: str, kind: str, array: str | None) -> Known:
    """Return what is known of a split beside its masks."""
    from wsss_bench.errors import DataError, LeakError
    from wsss_bench.exchange.folders import Known

    labels = None
    # Labels that are read off the masks say nothing new, and cost a reading of all of them.
    if kind == "seeds" and dataset.labels_source != "masks":
        try:
            view = dataset.weak_view(split)
        # Not a training split, or no labels there: the masks tell the classes as well.
        except (DataError, LeakError):
            view = None
        if view is not None:
            labels = {image.id: image.present for image in view}
    return Known(labels, dataset.category_ids, array)


def _add(args: argparse.Namespace, result: _Result) -> None:
    from wsss_bench.boards import build
    from wsss_bench.exchange.imported import add_imported
    from wsss_bench.io.locking import locked

    boards = leaderboard_dir(args.leaderboard_dir)
    with locked(boards):
        add_imported(boards, args.add, result.dataset, result.split, result.scored)
        build(boards)


def _json(result: _Result) -> dict[str, Any]:
    from wsss_bench.evaluate import PROTOCOL

    scored = result.scored
    scores = {}
    for what, counts in scored.counts.items():
        scores[what] = {
            "miou": counts.miou(),
            "per_class": counts.per_class_iou(),
            "coverage": counts.coverage(),
            "n_images": len(counts),
        }
    payload: dict[str, Any] = {
        "schema": 1,
        "protocol": PROTOCOL,
        "dataset": result.dataset.name,
        "split": result.split,
        "kind": scored.kind,
        "classes": result.dataset.classes,
        "thresholds": scored.thresholds,
        "unused_files": scored.unused,
        "read_as": scored.read_as,
        "warnings": list(_warnings(result)),
        "scores": scores,
    }
    curve = scored.curve
    if curve is not None:
        payload["curve"] = {"thresholds": curve.thresholds, "miou": curve.miou()}
    return payload


def _lines(args: argparse.Namespace, result: _Result) -> Iterator[str]:
    scored, dataset = result.scored, result.dataset
    images = len(next(iter(scored.counts.values())))
    where = f"{args.folder} on {dataset.name}/{result.split}"
    yield f"{where}, {images} images, as {scored.kind}; % IoU"
    if scored.read_as:
        yield f"read as: {scored.read_as}"
    yield ""
    yield from _table(dataset, scored)
    for warning in _warnings(result):
        yield ""
        yield f"  warning: {warning}"
    if scored.unused:
        what = "files belong to no image of the split and were not read"
        yield ""
        yield f"  {scored.unused} {what}"
    if args.add is not None:
        board = f"{leaderboard_dir(args.leaderboard_dir)}/{dataset.name}.md"
        yield ""
        yield f"  added to {board} as imported row {args.add!r}"


def _warnings(result: _Result) -> Iterator[str]:
    """Yield what is doubtful about the files, and about the truth that they were scored against."""
    from wsss_bench.data.truth import no_border

    yield from result.scored.warnings
    if result.scored.ignored:
        return
    where = f"{result.dataset.name}/{result.split}"
    if result.dataset.border_published:
        yield no_border(where)
    else:
        what = "no pixel of the truth is ignored (255)"
        yield f"{where}: {what}; numbers with an ignored border do not compare."


def _table(dataset: Dataset, scored: Scored) -> Iterator[str]:
    heads, columns = [], []
    for what, counts in scored.counts.items():
        threshold = scored.thresholds.get(_THRESHOLDS.get(what, ""))
        named = threshold is not None
        heads.append(f"{_THRESHOLDS[what]} @{threshold:.2f}" if named else what)
        per_class = counts.per_class_iou().tolist()
        columns.append([*per_class, counts.miou(), counts.coverage()])
    yield _line("", heads)
    labels = [*dataset.classes, "mean", "coverage"]
    for label, *row in zip(labels, *columns, strict=True):
        yield _line(label, [_percent(value) for value in row])


def _line(label: str, cells: list[str]) -> str:
    return f"  {label:<20}" + "".join(f"{cell:>16}" for cell in cells)


def _percent(value: float) -> str:
    # A class that neither the truth nor the files hold has no IoU: NaN, which differs from itself.
    return "–" if value != value else f"{100 * value:.2f}"
