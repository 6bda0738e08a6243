"""``wsss-bench compare``: two methods side by side."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from wsss_bench.cli._flags import add_leaderboard_dir, leaderboard_dir

if TYPE_CHECKING:
    from wsss_bench.boards.comparison import Comparison

HELP = "show how two methods differ: overall, by class, by image, with intervals"
EXAMPLES = """\
  wsss-bench compare cam dsrg                      every seed of both, on val
  wsss-bench compare cam dsrg --on labels          their pseudo-labels
  wsss-bench compare cam-0 cam-1 --dataset shapes  two runs by their id
"""

_SCORES = ("seeds_best", "seeds_fixed", "labels", "val", "val_crf")
_IMAGES = "images that moved most (mean IoU within the image)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this verb."""
    add = parser.add_argument
    add("first", help="recipe or run id to compare from")
    add("second", help="recipe or run id to compare to")
    add("--dataset", help="dataset name, where both ran on several")
    add("--on", choices=_SCORES, help="which score (default: val)")
    top = "images to name in each direction (default: %(default)s)"
    add("--top", type=int, default=10, help=top)
    resamples = "bootstrap resamples (default: %(default)s)"
    add("--resamples", type=int, default=10_000, help=resamples)
    add_leaderboard_dir(parser)
    add("--json", action="store_true", help="print JSON, schema in docs/protocol.md")


def run(args: argparse.Namespace) -> int:
    """Print the comparison; 0 whatever it says."""
    from wsss_bench.boards.comparison import as_json, compare_runs

    found = compare_runs(
        leaderboard_dir(args.leaderboard_dir),
        args.first,
        args.second,
        args.dataset,
        args.on,
        args.resamples,
        args.top,
    )
    if args.json:
        from wsss_bench.boards.render.as_json import dumps

        print(dumps(as_json(found)), end="")
    else:
        print("\n".join(_lines(found)))
    return 0


def _lines(found: Comparison) -> Iterator[str]:
    where = f"{found.dataset}, {found.what}, {found.n_images} images"
    yield f"{where}, {found.resamples:,} paired resamples; mIoU in %"
    yield ""
    for side in (found.first, found.second):
        miou = 100 * side.miou()
        yield f"  {side.label:<40} {miou:6.2f}   {_seeds(side.records)}"
    yield _difference(found)
    yield ""
    yield from _classes(found)
    yield from _images(found)
    if found.settings:
        yield ""
        yield "  set differently"
    for name, (first, second) in found.settings.items():
        yield f"  {name:<30} {first}  →  {second}"


def _difference(found: Comparison) -> str:
    miou = found.miou
    verdict = "differ" if miou.p < 0.05 else "do not differ at 5 %"
    interval = f"[{100 * miou.low:+.2f}, {100 * miou.high:+.2f}]"
    moved = f"  {'difference':<40} {100 * miou.value:+6.2f}   "
    return f"{moved}{interval}  p = {miou.p:.4f}: they {verdict}"


def _classes(found: Comparison) -> Iterator[str]:
    heads = f"  {'class':<20} {'first':>7} {'second':>7} {'diff':>7}   "
    yield f"{heads}95 %                p (Holm)"
    # Largest gain first; the name decides between equals, so that the same runs print the same lines.
    by_gain = sorted(found.classes, key=lambda one: (-one.difference.value, one.name))
    for one in by_gain:
        moved = one.difference
        scores = f"{100 * one.first:7.2f} {100 * one.second:7.2f}"
        interval = f"[{100 * moved.low:+6.2f}, {100 * moved.high:+6.2f}]"
        star = " *" if one.adjusted < 0.05 else ""
        numbers = f"{scores} {100 * moved.value:+7.2f}   {interval}"
        yield f"  {one.name:<20} {numbers}  {one.adjusted:8.4f}{star}"


def _images(found: Comparison) -> Iterator[str]:
    if found.images:
        yield ""
        yield f"  {_IMAGES:<52} first  second    diff"
    for image in found.images:
        moved = 100 * (image.second - image.first)
        scores = f"{100 * image.first:7.2f} {100 * image.second:7.2f}"
        yield f"  {image.id:<50} {scores} {moved:+7.2f}"


def _seeds(records: Sequence[object]) -> str:
    return "single seed" if len(records) == 1 else f"mean of {len(records)} seeds"
