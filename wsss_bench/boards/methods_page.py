"""The page of methods in the documentation, generated: ``wsss-bench plugin info --markdown > docs/methods.md``.

Everything on it comes from method cards, from ``published.csv`` and from run records; nothing is written by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.boards.private import without_paths
from wsss_bench.boards.render import markdown
from wsss_bench.boards.scored import (
    ScoredOn,
    Sets,
    differences,
    images_of,
    most_common,
    scored_on,
    splits_of,
)
from wsss_bench.contract.names import STAGES
from wsss_bench.errors import DataError, PluginError
from wsss_bench.evaluate.counts import Counts
from wsss_bench.results.records import RunRecord, by_dataset

if TYPE_CHECKING:
    from wsss_bench.methods.catalog import Catalog, LoadedMethod
    from wsss_bench.results.published import Reported

HEAD = """\
# Methods

<!-- Generated: wsss-bench plugin info --markdown > docs/methods.md -->

What is installed, from each method's own card. *Reported* numbers are what papers and repositories print, with where \
they were
seen; *measured* ones come from run records of this harness and can be recomputed from the counts kept with them. \
The two are
never mixed: they differ in data, backbones and evaluators.
"""
_SCORED = {"seeds": "seeds", "labels": "pseudo-labels", "segmentation": "segmentation"}
_MEASURED = {
    "seeds_fixed": "seeds",
    "seeds_best": "seeds (oracle threshold)",
    "labels": "pseudo-labels",
    "val": "val",
    "val_crf": "val with CRF",
}
_REPORTED_HEAD = (
    "reported",
    "dataset",
    "split",
    "mIoU",
    "segmentor",
    "where it was seen",
)
_MEASURED_HEAD = (
    "measured",
    "dataset",
    "recipe",
    "seed",
    "mIoU",
    "minutes",
    "device",
)

_Sets = dict[tuple[str, str], ScoredOn]
"""What most runs of a dataset were scored on, by the dataset's name and the kind of score."""


def methods_page(
    catalog: Catalog,
    names: Iterable[str] | None = None,
    leaderboards: Path | None = None,
) -> str:
    """Return the page as Markdown; a broken plugin is listed with its problem.

    Args:
        catalog: where the methods are looked up.
        names: methods to describe; default: all of the catalogue.
        leaderboards: folder with ``published.csv`` and ``runs/``; default: the one that comes with the harness.
    """
    loaded, broken = [], []
    for name in catalog.names() if names is None else names:
        try:
            loaded.append(catalog.load(name))
        except PluginError as error:
            broken.append(f"- {error}")
    head = ("name", "stages", "supervision", "extra data", "paper")
    rows = [_row(method) for method in loaded]
    parts = [HEAD, _table(head, rows)]
    if broken:
        parts += ["Broken, and left out:\n", *broken, ""]
    reported, records = _sources(leaderboards)
    known = _sets(records)
    parts += [_section(method, reported, records, known) for method in loaded]
    return "\n".join(parts)


def _table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Return a table whose cells are Markdown, with the empty line that ends it."""
    return markdown.table(head, lines, cell=markdown.markup) + "\n"


def _row(method: LoadedMethod) -> tuple[str, ...]:
    card = method.card
    return (
        f"[`{card.name}`](#{card.name})",
        ", ".join(card.stages),
        ", ".join(card.supervision),
        card.extra_data,
        card.paper,
    )


def _section(
    method: LoadedMethod,
    reported: Sequence[Reported],
    records: Sequence[RunRecord],
    known: _Sets,
) -> str:
    """Return what is known of one method: facts, parameters, reported and measured numbers."""
    name = method.card.name
    parts = [f"## {name}\n", *_facts(method), "", *_parameters(method)]
    printed = list(_reported(name, reported))
    measured = list(_measured(name, records, known))
    if printed:
        parts.append(_table(_REPORTED_HEAD, printed))
    if measured:
        parts.append(_table(_MEASURED_HEAD, measured))
    if not printed and not measured:
        parts.append("No number is reported or measured yet.\n")
    return "\n".join(parts)


def _facts(method: LoadedMethod) -> list[str]:
    card = method.card
    facts = {
        "Version": f"{card.version} ({method.distribution}), hook contract {card.contract}",
        "Paper": card.paper,
        "Page": card.url,
        "Stages": ", ".join(card.stages),
        "Supervision": ", ".join(card.supervision),
        "Extra data": card.extra_data,
        "The bare name stands for": f"`{_recipe(card.recipe, card.name, card.stages)}`",
        "Note": card.notes,
    }
    # A card says "-" where it has nothing to say.
    lines = []
    for what, fact in facts.items():
        if fact not in ("", "-"):
            lines.append(f"- **{what}:** {fact}")
    return lines


def _recipe(recipe: str, name: str, stages: Sequence[str]) -> str:
    """Return the card's recipe with ``_`` of its own stages spelled out; other ``_`` stay the harness's default."""
    slots = zip(recipe.split("/"), STAGES, strict=True)
    return "/".join(
        name if slot == "_" and stage in stages else slot for slot, stage in slots
    )


def _parameters(method: LoadedMethod) -> Iterator[str]:
    """Yield a table of parameters and defaults for each stage that has any."""
    from wsss_bench.methods.profiles import defaults

    for stage in method.card.stages:
        values = defaults(method, stage)
        if values:
            lines = [(f"`{name}`", f"`{value!r}`") for name, value in values.items()]
            body = _table(("name", "default"), lines)
            yield f"Parameters of `{stage}`:\n\n{body}"


def _reported(name: str, rows: Sequence[Reported]) -> Iterator[Sequence[str]]:
    """Yield what others print of a method, without ablations and reruns."""
    for row in rows:
        # Papers write a name in capitals as they like.
        if row.role != "result" or row.method.lower() != name.lower():
            continue
        yield (
            _SCORED.get(row.scored, row.scored),
            row.dataset,
            row.split,
            row.miou,
            row.segmentor or row.backbone,
            row.source,
        )


def _sets(records: Sequence[RunRecord]) -> _Sets:
    """Return, by dataset and kind of score, what most runs were scored on."""
    found = {}
    known = Sets()
    for dataset, runs in by_dataset(records).items():
        for what in _MEASURED:
            sets = []
            for run in runs:
                counts = run.load_counts(what)
                if counts is not None:
                    sets.append(known.of(counts))
            if sets:
                found[dataset, what] = most_common(sets)
    return found


def _dataset(record: RunRecord, what: str, counts: Counts, known: _Sets) -> str:
    """Return the dataset's name, and how the score's images differ from those of most runs where they do."""
    name = record.dataset_name
    found, most = scored_on(counts), known[name, what]
    if found == most:
        return name
    where = images_of(len(found), splits_of([record], what))
    return f"{name} ({where}: {differences(found, most, 'the {} of most runs')})"


def _measured(
    name: str, records: Sequence[RunRecord], known: _Sets
) -> Iterator[Sequence[object]]:
    """Yield every score of every run in which the method ran a stage."""
    for record in records:
        if name not in record.picks.values():
            continue
        seconds = [float(cost.get("seconds", 0)) for cost in record.cost.values()]
        minutes = sum(seconds) / 60
        for key, what in _MEASURED.items():
            counts = record.load_counts(key)
            if counts is None:
                continue
            yield (
                what,
                _dataset(record, key, counts, known),
                f"`{without_paths(record.recipe)}`",
                record.seed,
                f"{100 * counts.miou():.1f}",
                f"{minutes:.1f}",
                record.device,
            )


def _sources(
    leaderboards: Path | None,
) -> tuple[Sequence[Reported], Sequence[RunRecord]]:
    """Return reported rows and run records; either may be missing."""
    from wsss_bench.io.paths import checkout
    from wsss_bench.results.published import load_published, published_csv
    from wsss_bench.results.records import load_records

    try:
        reported = load_published(published_csv(leaderboards))
    except DataError:
        reported = []
    # A wheel brings the published numbers, but no runs.
    root = checkout()
    folder = leaderboards or (root / "leaderboards" if root else None)
    if folder is None or not folder.is_dir():
        return reported, []
    return reported, load_records(folder)
