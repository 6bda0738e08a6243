"""Writes the record of a finished cell beside its counts, for the boards to be built from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench import opened
from wsss_bench.artifacts import LabelSet, SeedSet, Segmentor, drop_leftovers, read_json, write_atomic, write_mask
from wsss_bench.boards.records import COUNTS, RECORD, RUNS, RunRecord, load_record, save_record
from wsss_bench.card import SUPERVISION
from wsss_bench.errors import ArtifactError
from wsss_bench.hookspecs import STAGES
from wsss_bench.pipeline import Finished, load_result
from wsss_bench.plan import Source, fixed_threshold
from wsss_bench.provenance import command, device_name, machine, portable, versions
from wsss_bench.scoring import CURVE, SUMMARY

if TYPE_CHECKING:
    from wsss_bench.catalog import LoadedMethod

GALLERY = "gallery"
GALLERY_IMAGES = 3
"""Images per split (train: seeds and labels; val: predictions) in the gallery of `shapes` runs."""


def record_run(finished: Finished, source: Source, leaderboard_dir: Path, arguments: Sequence[str], device: str) -> Path:
    """Copy the counts into the leaderboard folder, write the gallery (`shapes` only) and, last, the record.

    A run that is recorded already under the same stage keys is left as it is, so the same command gives the same bytes.
    The caller holds the leaderboard folder against other writers (`wsss_bench.locking.locked`).
    """
    cell = finished.cell
    folder = leaderboard_dir / RUNS / cell.dataset / cell.run_id
    if _recorded(folder, finished):
        return folder / RECORD
    drop_leftovers(folder)
    counts, curve = _copy_counts(finished, folder)
    if source.dataset.kind == "shapes":
        write_gallery(finished, source, folder / GALLERY)
    methods, params = cell.resolved.methods, cell.resolved.params
    fixed = fixed_threshold(cell.resolved)
    record = RunRecord(
        run_id=cell.run_id,
        recipe=str(portable(str(cell.resolved.recipe))),
        picks={stage: methods[stage].name if stage in methods else None for stage in STAGES},
        dataset=_dataset(source),
        seed=cell.seed,
        profile=cell.profile,
        columns=_columns(finished),
        cards={stage: _card(method) for stage, method in methods.items()},
        params={stage: portable(params[stage].resolved) for stage in params},
        passed={stage: portable(params[stage].passed) for stage in params if params[stage].passed},
        thresholds={} if fixed is None else {"fixed": fixed},
        counts=counts,
        curve=curve,
        cost={name: _cost(commit) for name, commit in finished.commits.items()},
        device=device_name(device),
        machine=portable(machine(device)),
        code={name: str(commit["code"]) for name, commit in finished.commits.items() if "code" in commit},
        files=opened.record(finished.commits),
        keys={step.name: step.spec.key for step in cell.steps},
        command=tuple(command(arguments)),
        versions=versions(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return save_record(leaderboard_dir, record)


def _recorded(folder: Path, finished: Finished) -> bool:
    try:
        record = load_record(folder / RECORD)
    except ArtifactError:
        return False
    files = [*record.counts.values(), *([record.curve] if record.curve else [])]
    keys = {step.name: step.spec.key for step in finished.cell.steps}
    return dict(record.keys) == keys and all((folder / name).is_file() for name in files)


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
    return {what: counts[what] for what in COUNTS if what in counts}, curve


def _copy(source: Path, target: Path) -> None:
    content = source.read_bytes()
    write_atomic(target, lambda handle: handle.write(content))


def _dataset(source: Source) -> dict[str, Any]:
    dataset, splits = source.dataset, source.dataset.splits
    sizes = {"train": len(source.train), "seeds": len(source.scored), "val": len(source.val)}
    return {
        "name": dataset.name,
        "kind": dataset.kind,
        "splits": {"train": splits.train, "seeds": splits.seeds, "val": splits.val},
        "sizes": sizes,
        "classes": list(dataset.classes),
        "labels": getattr(dataset, "labels_source", "-"),
        "options": portable(dict(getattr(dataset, "options", {}))),
        "skipped": sorted(getattr(dataset, "skipped", ())),
        "fingerprint": source.fingerprint,
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
    return {key: float(commit[key]) for key in ("seconds", "peak_mb", "peak_gpu_mb") if key in commit}


def _columns(finished: Finished) -> dict[str, Any]:
    """What decides whether two rows may be compared; read from the artifacts, then from the parameters."""
    cell = finished.cell
    cards = [method.card for method in cell.resolved.methods.values()]
    used = {kind for card in cards for kind in card.supervision}
    return {
        "supervision": " + ".join(kind for kind in SUPERVISION if kind in used),
        "extra_data": _unique(card.extra_data for card in cards),
        **_network_columns(finished),
        "rounds": cell.resolved.rounds,
    }


def _network_columns(finished: Finished) -> dict[str, str]:
    cell, seeds = finished.cell, _seeds_backbone(finished)
    last = cell.last("segment")
    if last is None:
        weights = {str(p.resolved["weights"]): None for p in cell.resolved.params.values() if p.resolved.get("weights")}
        pretraining = " + ".join(str(portable(name)) for name in weights) or "none"
        return {"backbone": seeds or "-", "segmentor": "-", "pretraining": pretraining, "crf": "-", "multi_scale": "-"}
    segmentor: Segmentor = load_result(last, finished.folders[last.name])
    facts = segmentor.facts
    params = cell.resolved.params["segment"].resolved
    network = str(facts.get("network") or params.get("network") or cell.resolved.methods["segment"].name)
    backbone = str(facts.get("backbone") or params.get("backbone") or network)
    if backbone == "network's own":
        backbone = network
    return {
        "backbone": backbone if seeds in ("", backbone) else f"{backbone} (seeds: {seeds})",
        "segmentor": network,
        "pretraining": str(portable(str(facts.get("weights") or params.get("weights") or "none"))),
        "crf": str(segmentor.test.get("crf") or "no"),
        "multi_scale": _scales(segmentor),
    }


def _seeds_backbone(finished: Finished) -> str:
    step = finished.cell.step("localize")
    if step is None or step.params is None:
        return ""
    manifest = load_result(step, finished.folders["localize"]).manifest
    return str(manifest.get("backbone") or step.params.resolved.get("backbone") or "")


def _scales(segmentor: Segmentor) -> str:
    scales = [float(scale) for scale in segmentor.test.get("scales", [1.0])]
    flip = bool(segmentor.test.get("flip"))
    if scales == [1.0] and not flip:
        return "no"
    return ", ".join(f"{scale:g}" for scale in scales) + (" + flip" if flip else "")


def _unique(items: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(item for item in items if item and item != "-")) or "-"


def write_gallery(finished: Finished, source: Source, folder: Path) -> None:
    """PNGs ``<id>_{image,truth,seeds,labels,prediction}.png`` of a few images, spread over the scored lists.

    Training images have seeds and labels, validation images a prediction (with CRF where there is one).
    """
    results = {name: load_result(finished.cell.step(name), stage) for name, stage in finished.folders.items()}  # type: ignore[arg-type]
    refined = finished.cell.last("refine")
    threshold = _gallery_threshold(finished)
    for image_id in _spread(source.scored):
        maps = {"truth": source.seeds_masks[image_id]}
        if refined is not None:
            maps["labels"] = results[refined.name][image_id]
        if "localize" in results:
            maps["seeds"] = _seed_map(results["localize"], image_id, threshold)
        _write_maps(folder, image_id, source.train.by_id(image_id).path, maps)
    if "predict" not in results:
        return
    predictions = results["predict"]
    shown: LabelSet = predictions.get("crf", predictions["raw"])
    for image_id in _spread(shown.ids):
        maps = {"truth": source.val_masks[image_id], "prediction": shown[image_id]}
        _write_maps(folder, image_id, source.val.by_id(image_id).path, maps)


def _gallery_threshold(finished: Finished) -> float:
    if "score_seeds" not in finished.folders:
        return 0.0
    summary = read_json(finished.folders["score_seeds"].out / SUMMARY)
    return float(summary.get("fixed", summary["best"]))


def _seed_map(seeds: SeedSet, image_id: str, threshold: float) -> Any:
    import numpy as np

    seed = seeds[image_id]
    if not len(seed.class_ids):
        return np.zeros(seed.size, np.uint8)
    scores = seed.upsampled()
    return np.where(scores.max(0) > threshold, seed.class_ids[scores.argmax(0)], 0).astype(np.uint8)


def _spread(ids: Sequence[str]) -> list[str]:
    step = max(1, len(ids) // GALLERY_IMAGES)
    return list(ids[::step][:GALLERY_IMAGES])


def _write_maps(folder: Path, image_id: str, image: Path, maps: dict[str, Any]) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(image) as handle:
        handle.convert("RGB").save(folder / f"{image_id}_image.png")
    for name, array in maps.items():
        write_mask(folder / f"{image_id}_{name}.png", array)
