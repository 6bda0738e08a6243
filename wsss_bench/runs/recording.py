"""Writes the record of a finished cell beside its counts, for the boards to be built from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.contract.artifacts import Segmentor
from wsss_bench.contract.card import SUPERVISION
from wsss_bench.contract.names import STAGES
from wsss_bench.errors import ArtifactError
from wsss_bench.io import opened
from wsss_bench.io.files import drop_leftovers, read_json, write_atomic
from wsss_bench.results.records import (
    COUNTS,
    RECORD,
    RUNS,
    RunRecord,
    load_record,
    save_record,
)
from wsss_bench.runs.gallery import GALLERY, write_gallery
from wsss_bench.runs.gathered import (
    foreign_versions,
    inputs_of,
    modules_of,
    notes_of_run,
    overridden,
)
from wsss_bench.runs.pipeline import GPUS, Finished, load_result
from wsss_bench.runs.plan import fixed_threshold
from wsss_bench.runs.provenance.facts import (
    command,
    device_name,
    machine,
    portable,
    versions,
)
from wsss_bench.runs.scoring import CURVE, SUMMARY
from wsss_bench.runs.source import Source
from wsss_bench.runs.stage import in_force

if TYPE_CHECKING:
    from wsss_bench.methods.catalog import LoadedMethod
    from wsss_bench.runs.plan import Cell, Step

_PLACE = re.compile(r"[/\\~]|\.{1,2}[/\\]|[A-Za-z]:[/\\]")
"""How the name of a place begins that is no name of a network."""

_FILES = (".py", ".pth", ".pt", ".pkl", ".safetensors", ".json")

_COSTS = ("seconds", "peak_mb", "peak_gpu_mb")


def record_run(
    finished: Finished,
    source: Source,
    leaderboard_dir: Path,
    arguments: Sequence[str],
    device: str,
) -> Path:
    """Copy the counts into the leaderboard folder, write the gallery (`shapes` only) and, last, the record.

    Returns the path of the record. A run that is recorded already under the same stage keys is left as it is, so the
    same command gives the same bytes. The caller holds the leaderboard folder against other writers (see
    `wsss_bench.io.locking.locked`).
    """
    cell = finished.cell
    folder = leaderboard_dir / RUNS / cell.dataset / cell.run_id
    if _recorded(folder, finished):
        return folder / RECORD
    # A killed process may have left half a file, and nobody else writes here now.
    drop_leftovers(folder)
    counts, curve = _copy_counts(finished, folder)
    if source.dataset.kind == "shapes":
        write_gallery(finished, source, folder / GALLERY)
    record = RunRecord(
        run_id=cell.run_id,
        dataset=_dataset(source),
        seed=cell.seed,
        profile=cell.profile,
        columns=_columns(finished),
        counts=counts,
        curve=curve,
        device=device_name(device),
        machine=_machine(finished, device),
        command=tuple(command(arguments)),
        versions={**foreign_versions(cell), **versions()},
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        inputs=inputs_of(cell, source),
        notes=notes_of_run(finished),
        **_what_ran(cell),
        **_how_it_went(finished),
    )
    return save_record(leaderboard_dir, record)


def _machine(finished: Finished, device: str) -> dict[str, Any]:
    """Return the hardware, and how many of its GPUs shared a training, where they were several."""
    found: dict[str, Any] = portable(machine(device))
    shared = max(int(commit.get(GPUS, 1)) for commit in finished.commits.values())
    return {**found, "gpus_per_training": shared} if shared > 1 else found


def _what_ran(cell: Cell) -> dict[str, Any]:
    """Return recipe, methods and parameters, as a record holds them."""
    methods, params = cell.resolved.methods, cell.resolved.params
    fixed = fixed_threshold(cell.resolved)
    picks = {stage: getattr(methods.get(stage), "name", None) for stage in STAGES}
    cards = {stage: _card(method) for stage, method in methods.items()}
    resolved = {stage: portable(one.resolved) for stage, one in params.items()}
    typed = {stage: portable(one.passed) for stage, one in params.items() if one.passed}
    return {
        # A recipe may hold a file in its brackets, and the record is to say nothing of this machine.
        "recipe": str(portable(str(cell.resolved.recipe))),
        "picks": picks,
        "cards": cards,
        "params": resolved,
        "passed": typed,
        "thresholds": {} if fixed is None else {"fixed": fixed},
        "keys": _keys(cell),
        "modules": modules_of(cell),
        "overridden": overridden(cell),
    }


def _how_it_went(finished: Finished) -> dict[str, Any]:
    """Return code, files and cost of every step, as a record holds them."""
    commits = finished.commits
    costs = {name: _cost(commit) for name, commit in commits.items()}
    # Stages that were committed by an older version have no digest of the code.
    dated = [name for name, commit in commits.items() if "code" in commit]
    codes = {name: str(commits[name]["code"]) for name in dated}
    return {"cost": costs, "code": codes, "files": opened.record(commits)}


def _keys(cell: Cell) -> dict[str, str]:
    return {step.name: step.spec.key for step in cell.steps}


def _recorded(folder: Path, finished: Finished) -> bool:
    """Return whether the folder holds the record of these very stages, with all its files."""
    try:
        record = load_record(folder / RECORD)
    except ArtifactError:
        return False
    files = list(record.counts.values())
    if record.curve:
        files.append(record.curve)
    whole = all((folder / name).is_file() for name in files)
    return whole and dict(record.keys) == _keys(finished.cell)


def _copy_counts(finished: Finished, folder: Path) -> tuple[dict[str, str], str | None]:
    counts, curve = {}, None
    for name, stage in finished.folders.items():
        if not name.startswith("score"):
            continue
        for what in read_json(stage.out / SUMMARY)["counts"]:
            counts[what] = f"{what}.npz"
            _copy(stage.out / f"{what}.npz", folder / f"{what}.npz")
        if (stage.out / CURVE).exists():
            curve = CURVE
            _copy(stage.out / CURVE, folder / CURVE)
    # In the order of the tables, whichever step was scored first: the same run gives the same bytes.
    return {what: counts[what] for what in COUNTS if what in counts}, curve


def _copy(source: Path, target: Path) -> None:
    content = source.read_bytes()
    write_atomic(target, lambda handle: handle.write(content))


def _dataset(source: Source) -> dict[str, Any]:
    dataset = source.dataset
    splits = dataset.splits
    sizes = {
        "train": len(source.train),
        "seeds": len(source.scored),
        "val": len(source.val),
    }
    roles = {
        "train": splits.train,
        "seeds": splits.seeds,
        "val": splits.val,
    }
    return {
        "name": dataset.name,
        "kind": dataset.kind,
        "splits": roles,
        "sizes": sizes,
        "classes": list(dataset.classes),
        "labels": getattr(dataset, "labels_source", "-"),
        "options": portable(dict(getattr(dataset, "options", {}))),
        "skipped": sorted(getattr(dataset, "skipped", ())),
        **({"limit": dataset.limit} if dataset.limit else {}),
        "fingerprint": source.fingerprint,
        "truth": {role: dataset.truth(role) for role in ("seeds", "val")},
    }


def _card(method: LoadedMethod) -> dict[str, Any]:
    card = method.card
    return {
        "name": card.name,
        "version": card.version,
        "paper": card.paper,
        "supervision": list(card.supervision),
        "extra_data": card.extra_data,
        "notes": card.notes,
        "distribution": f"{method.distribution} {method.version}",
        "code": method.code_digest,
    }


def _cost(commit: dict[str, Any]) -> dict[str, float]:
    return {key: float(commit[key]) for key in _COSTS if key in commit}


def _columns(finished: Finished) -> dict[str, Any]:
    """Return what decides whether two rows may be compared; read from the artifacts, then from the parameters."""
    cell = finished.cell
    cards = [method.card for method in cell.resolved.methods.values()]
    used = {kind for card in cards for kind in card.supervision}
    supervision = [kind for kind in SUPERVISION if kind in used]
    return {
        "supervision": " + ".join(supervision),
        "extra_data": _unique(card.extra_data for card in cards),
        **_network_columns(finished),
        "rounds": cell.resolved.rounds,
    }


def _network_columns(finished: Finished) -> dict[str, str]:
    last = finished.cell.last("segment")
    if last is None:
        return _columns_without_segmentor(finished)
    seeds = _seeds_backbone(finished)
    segmentor = _segmentor(finished, last)
    facts = segmentor.facts
    params = finished.cell.resolved.params["segment"].resolved
    method = finished.cell.resolved.methods["segment"].name
    network = shown(facts.get("network") or params.get("network") or method)
    backbone = shown(facts.get("backbone") or params.get("backbone") or network)
    # The parameter's word for "not to be chosen": the table shows which one that is.
    if backbone == "network's own":
        backbone = network
    differs = seeds not in ("", backbone)
    weights = facts.get("weights") or params.get("weights") or "none"
    return {
        "backbone": f"{backbone} (seeds: {seeds})" if differs else backbone,
        "segmentor": network,
        "pretraining": shown(weights),
        "crf": str(segmentor.test.get("crf") or "no"),
        "multi_scale": _scales(segmentor),
    }


def _columns_without_segmentor(finished: Finished) -> dict[str, str]:
    given = [
        shown(params.resolved["weights"])
        for params in finished.cell.resolved.params.values()
        if params.resolved.get("weights")
    ]
    return {
        "backbone": _seeds_backbone(finished) or "-",
        "segmentor": "-",
        "pretraining": " + ".join(dict.fromkeys(given)) or "none",
        "crf": "-",
        "multi_scale": "-",
    }


def _segmentor(finished: Finished, last: Step) -> Segmentor:
    """Return the segmentor of the last round, with the test settings that it was predicted with."""
    segmentor: Segmentor = load_result(last, finished.folders[last.name])
    predict = finished.cell.last("predict")
    return segmentor if predict is None else in_force(segmentor, predict.test)


def _seeds_backbone(finished: Finished) -> str:
    step = finished.cell.step("localize")
    if step is None or step.params is None:
        return ""
    manifest = load_result(step, finished.folders["localize"]).manifest
    chosen = step.params.resolved.get("backbone")
    return shown(manifest.get("backbone") or chosen or "")


def shown(value: object) -> str:
    """Return a name as a board shows it: of a place on some machine the last part alone, anything else as it is."""
    text = str(value)
    # Also of a path as Windows writes it: a segmentor may have been made there.
    parts = [part for part in re.split(r"[/\\]", text) if part]
    # The names of timm's networks have a slash too, and end like no file.
    is_place = _PLACE.match(text) or Path(text).suffix in _FILES
    if is_place and len(parts) > 1:
        return parts[-1]
    return str(portable(text))


def _scales(segmentor: Segmentor) -> str:
    scales = [float(scale) for scale in segmentor.test.get("scales", [1.0])]
    flip = bool(segmentor.test.get("flip"))
    if scales == [1.0] and not flip:
        return "no"
    listed = ", ".join(f"{scale:g}" for scale in scales)
    return f"{listed} + flip" if flip else listed


def _unique(items: Iterable[str]) -> str:
    named = [item for item in items if item and item != "-"]
    return "; ".join(dict.fromkeys(named)) or "-"
