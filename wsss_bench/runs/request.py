"""From command-line arguments to planned cells; shared by ``run`` and whatever else takes recipes."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from wsss_bench.errors import PluginError, RecipeError

if TYPE_CHECKING:
    from wsss_bench.runs.plan import Cell
    from wsss_bench.runs.source import Source


def make_cells(
    args: argparse.Namespace,
) -> tuple[list[Cell], Source, dict[str, PluginError]]:
    """Parse recipes, load methods, prepare the dataset, and plan recipes x seeds.

    Returns:
        The cells, the dataset, and the recipes that a broken plugin keeps from running. The others are not held up by it.

    Raises:
        RecipeError: a recipe, a parameter or an option cannot be understood.
        PluginError: no recipe is left that can run.
        DataError: the dataset cannot be used.
    """
    from wsss_bench.cli._flags import dataset_from_args
    from wsss_bench.methods.catalog import Catalog
    from wsss_bench.methods.params import check_options, parse_options, resolve
    from wsss_bench.methods.profiles import load_profile
    from wsss_bench.methods.recipe import parse_methods
    from wsss_bench.runs.plan import plan_cell
    from wsss_bench.runs.source import Source

    recipes = parse_methods(args.methods)
    seeds = parse_seeds(args.seeds)
    options = parse_options(args.cfg_options)
    catalog = Catalog(local=args.plugin)
    dataset = dataset_from_args(args)
    profile = load_profile(args.profile or default_profile(dataset.kind))
    resolved, refused = [], {}
    for recipe in recipes:
        try:
            resolved.append(resolve(recipe, catalog, profile, options, args.weights))
        except PluginError as error:
            refused[str(recipe)] = error
    if not resolved:
        raise next(iter(refused.values()))
    if not refused:
        check_options(options, resolved, args.weights)
    dataset.prepare(_say)
    source = Source(dataset)
    return (
        [
            plan_cell(one, source, seed, profile.name)
            for one in resolved
            for seed in seeds
        ],
        source,
        refused,
    )


def _say(what: str, done: int, total: int) -> None:
    """A line to stderr at the start, every tenth, and at the end of a preparation."""
    if done in (0, total) or done % max(1, total // 10) == 0:
        print(f"prepare: {what} {done}/{total}", file=sys.stderr, flush=True)


def default_profile(kind: str) -> str:
    """``shapes`` for the embedded data, else ``paper``: the methods' own settings."""
    return "shapes" if kind == "shapes" else "paper"


def parse_seeds(text: str) -> list[int]:
    """Parse ``0,1,2``; raises `RecipeError` for anything but distinct integers from 0."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(
        {int(part) for part in parts}
    ) != len(parts):
        raise RecipeError(
            f"--seeds {text!r}: give distinct whole numbers, for example --seeds 0,1,2."
        )
    return [int(part) for part in parts]
