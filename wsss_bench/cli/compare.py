"""``wsss-bench compare``: two methods side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this verb."""
    parser.add_argument("first", help="recipe or run id to compare from")
    parser.add_argument("second", help="recipe or run id to compare to")
    parser.add_argument("--dataset", help="dataset name, where both ran on several")
    parser.add_argument(
        "--on",
        choices=("seeds_best", "seeds_fixed", "labels", "val", "val_crf"),
        help="which score (default: val)",
    )
    parser.add_argument(
        "--top",
        type=int,
        default=10,
        help="images to name in each direction (default: %(default)s)",
    )
    parser.add_argument(
        "--resamples",
        type=int,
        default=10_000,
        help="bootstrap resamples (default: %(default)s)",
    )
    add_leaderboard_dir(parser)
    parser.add_argument(
        "--json", action="store_true", help="print JSON, schema in docs/protocol.md"
    )


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


def _lines(found: Comparison) -> list[str]:
    first, second = found.first, found.second
    verdict = "differ" if found.miou.p < 0.05 else "do not differ at 5 %"
    lines = [
        f"{found.dataset}, {found.what}, {found.n_images} images, {found.resamples:,} paired resamples; mIoU in %",
        "",
        f"  {first.label:<40} {100 * first.miou():6.2f}   {_seeds(first.records)}",
        f"  {second.label:<40} {100 * second.miou():6.2f}   {_seeds(second.records)}",
        f"  {'difference':<40} {100 * found.miou.value:+6.2f}   "
        f"[{100 * found.miou.low:+.2f}, {100 * found.miou.high:+.2f}]  p = {found.miou.p:.4f}: they {verdict}",
        "",
        f"  {'class':<20} {'first':>7} {'second':>7} {'diff':>7}   95 %                p (Holm)",
    ]
    for c in sorted(found.classes, key=lambda c: (-c.difference.value, c.name)):
        d = c.difference
        lines.append(
            f"  {c.name:<20} {100 * c.first:7.2f} {100 * c.second:7.2f} {100 * d.value:+7.2f}   "
            f"[{100 * d.low:+6.2f}, {100 * d.high:+6.2f}]  {c.adjusted:8.4f}{' *' if c.adjusted < 0.05 else ''}"
        )
    if found.images:
        lines += [
            "",
            f"  {'images that moved most (mean IoU within the image)':<52} first  second    diff",
        ]
        lines += [
            f"  {i.id:<50} {100 * i.first:7.2f} {100 * i.second:7.2f} {100 * (i.second - i.first):+7.2f}"
            for i in found.images
        ]
    if found.settings:
        lines += ["", "  set differently"]
        lines += [
            f"  {name:<30} {pair[0]}  →  {pair[1]}"
            for name, pair in found.settings.items()
        ]
    return lines


def _seeds(records: Sequence[object]) -> str:
    return "single seed" if len(records) == 1 else f"mean of {len(records)} seeds"
