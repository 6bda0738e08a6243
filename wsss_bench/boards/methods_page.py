"""The page of methods in the documentation, generated: ``wsss-bench plugin info --markdown > docs/methods.md``.

Everything on it comes from method cards, from ``published.csv`` and from run records; nothing is written by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.errors import PluginError

if TYPE_CHECKING:
    from wsss_bench.methods.catalog import Catalog, LoadedMethod
    from wsss_bench.results.published import Reported
    from wsss_bench.results.records import RunRecord

HEAD = """\
# Methods

<!-- Generated: wsss-bench plugin info --markdown > docs/methods.md -->

What is installed, from each method's own card. *Reported* numbers are what papers and repositories print, with where they were
seen; *measured* ones come from run records of this harness and can be recomputed from the counts kept with them. The two are
never mixed: they differ in data, backbones and evaluators.
"""
_SCORED = {"seeds": "seeds", "labels": "pseudo-labels", "segmentation": "segmentation"}
_MEASURED = (
    ("seeds_fixed", "seeds"),
    ("seeds_best", "seeds (oracle threshold)"),
    ("labels", "pseudo-labels"),
    ("val", "val"),
    ("val_crf", "val with CRF"),
)


def methods_page(
    catalog: Catalog,
    names: Iterable[str] | None = None,
    leaderboards: Path | None = None,
) -> str:
    """The page as Markdown; a broken plugin is listed with its problem.

    Args:
        names: methods to describe; default: all of the catalogue.
        leaderboards: folder with ``published.csv`` and ``runs/``; default: the one that comes with the harness.
    """
    loaded, broken = [], []
    for name in catalog.names() if names is None else names:
        try:
            loaded.append(catalog.load(name))
        except PluginError as error:
            broken.append(str(error))
    parts = [
        HEAD,
        table(
            ("name", "stages", "supervision", "extra data", "paper"),
            [_row(method) for method in loaded],
        ),
    ]
    if broken:
        parts.append(
            "Broken, and left out:\n\n"
            + "\n".join(f"- {message}" for message in broken)
            + "\n"
        )
    reported, records = _sources(leaderboards)
    parts += [_section(method, reported, records) for method in loaded]
    return "\n".join(parts)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return (
        "\n".join(
            "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |"
            for line in lines
        )
        + "\n"
    )


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
    method: LoadedMethod, reported: Sequence[Reported], records: Sequence[RunRecord]
) -> str:
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
    parts = [
        f"## {card.name}\n",
        "\n".join(
            f"- **{key}:** {value}"
            for key, value in facts.items()
            if value not in ("", "-")
        ),
        "",
    ]
    parts += _parameters(method)
    own = [
        row
        for row in reported
        if row.role == "result" and row.method.lower() == card.name.lower()
    ]
    if own:
        header = (
            "reported",
            "dataset",
            "split",
            "mIoU",
            "segmentor",
            "where it was seen",
        )
        lines = [
            (
                _SCORED.get(r.scored, r.scored),
                r.dataset,
                r.split,
                r.miou,
                r.segmentor or r.backbone,
                r.source,
            )
            for r in own
        ]
        parts.append(table(header, lines))
    measured = list(_measured(card.name, records))
    if measured:
        parts.append(
            table(
                ("measured", "dataset", "recipe", "seed", "mIoU", "minutes", "device"),
                measured,
            )
        )
    if not own and not measured:
        parts.append("No number is reported or measured yet.\n")
    return "\n".join(parts)


def _recipe(recipe: str, name: str, stages: Sequence[str]) -> str:
    """The card's recipe with ``_`` of its own stages spelled out; other ``_`` stay the harness's default."""
    slots = zip(recipe.split("/"), ("localize", "refine", "segment"), strict=True)
    return "/".join(
        name if slot == "_" and stage in stages else slot for slot, stage in slots
    )


def _parameters(method: LoadedMethod) -> Iterator[str]:
    from wsss_bench.methods.profiles import defaults

    for stage in method.card.stages:
        values = defaults(method, stage)
        if values:
            yield f"Parameters of `{stage}`:\n\n" + table(
                ("name", "default"), [(f"`{k}`", f"`{v!r}`") for k, v in values.items()]
            )


def _measured(name: str, records: Sequence[RunRecord]) -> Iterator[Sequence[object]]:
    for record in records:
        stages = [stage for stage, method in record.picks.items() if method == name]
        if not stages:
            continue
        minutes = (
            sum(float(cost.get("seconds", 0)) for cost in record.cost.values()) / 60
        )
        for key, what in _MEASURED:
            counts = record.load_counts(key)
            if counts is not None:
                value = f"{100 * counts.miou():.1f}"
                yield (
                    what,
                    record.dataset["name"],
                    f"`{record.recipe}`",
                    record.seed,
                    value,
                    f"{minutes:.1f}",
                    record.device,
                )


def _sources(leaderboards: Path | None) -> tuple[Sequence[Any], Sequence[Any]]:
    """Reported rows and run records; either may be missing."""
    from wsss_bench.errors import DataError
    from wsss_bench.io.paths import checkout
    from wsss_bench.results.published import load_published, published_csv
    from wsss_bench.results.records import load_records

    root = checkout()
    folder = leaderboards or (root / "leaderboards" if root else None)
    try:
        reported = load_published(published_csv(leaderboards))
    except DataError:
        reported = []
    return reported, load_records(
        folder
    ) if folder is not None and folder.is_dir() else []
