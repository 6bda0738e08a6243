"""Run a recorded run again and compare: the command out of the record, what differs here, and every count."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.errors import DataError, PluginError, RecipeError
from wsss_bench.results.records import COUNTS, RunRecord, find_run
from wsss_bench.runs.store.explain import differences

if TYPE_CHECKING:
    from wsss_bench.evaluate import Counts
    from wsss_bench.methods.catalog import Catalog
    from wsss_bench.runs.plan import Cell
    from wsss_bench.runs.source import Source

MARKER = "reproduces.json"
"""Written into the work dir of a reproduction, so that an interrupted one can go on, and nothing else is taken for one."""

_FILE = re.compile(r".+\.(pth|pt|pth\.tar|npz|npy|json|py|csv|safetensors)")


def find_measured(name: str, leaderboard_dir: Path) -> RunRecord:
    """What `find_run` finds; raises `DataError` besides for an imported run: there is no command to run again."""
    record = find_run(name, leaderboard_dir)
    if record.origin != "measured":
        raise DataError(
            f"run {record.run_id!r} was imported from other people's files, so there is nothing to run again."
        )
    return record


# ---- the command


@dataclass(frozen=True)
class Given:
    """What the user gives because a record keeps names, not places: data, plugin files, weights, and where to compute."""

    work_dir: Path
    data_root: Path | None = None
    labels: str | None = None
    plugins: Sequence[Path] = ()
    profile: str | None = None
    weights: str | None = None
    options: Sequence[str] = ()
    device: str | None = None
    workers: int | None = None


def arguments(record: RunRecord, given: Given, forced: Sequence[str] = ()) -> list[str]:
    """The words after ``wsss-bench`` that run `record` again; `forced` are ``stage.key=value`` besides what was typed then.

    Raises:
        DataError, RecipeError, PluginError: something that the record only names is needed and not given.
    """
    words = [
        "run",
        f"--methods={record.recipe}",
        "--seeds",
        str(record.seed),
        "--profile",
        given.profile or record.profile,
    ]
    words += _data_words(record, given)
    for path in given.plugins:
        words += ["--plugin", str(path)]
    if given.weights is not None:
        words += ["--weights", given.weights]
    chosen = [*forced, *given.options]
    words += ["--cfg-options", *chosen] if chosen else []
    words += [
        "--device",
        given.device or ("cpu" if record.device.startswith("cpu") else "cuda"),
    ]
    words += ["--workers", str(given.workers)] if given.workers is not None else []
    return [*words, "--work-dir", str(given.work_dir)]


def _data_words(record: RunRecord, given: Given) -> list[str]:
    dataset, options = record.dataset, _data_options(record)
    words = ["--dataset", str(dataset["kind"]), "--name", str(dataset["name"])]
    for role, split in dataset["splits"].items():
        words += [f"--{role}-split", str(split)]
    if given.data_root is not None:
        words += ["--data-root", str(given.data_root)]
    labels = given.labels or options.pop("labels", None)
    if labels is not None:
        if given.labels is None and _is_file(labels) and not Path(labels).exists():
            raise DataError(
                f"the run read its image-level labels from {labels!r}. Give that file: --labels PATH/{labels}"
            )
        words += ["--labels", labels]
    for key, value in options.items():
        words += ["--data-option", f"{key}={value}"]
    if dataset.get("skipped"):
        words += ["--skip", str(given.work_dir / "skip.txt")]
    return words


def _data_options(record: RunRecord) -> dict[str, str]:
    """The loader's options without splits and cache: from the record, or from the command line of an older one."""
    options = {
        str(key): str(value) for key, value in record.dataset.get("options", {}).items()
    }
    if "options" not in record.dataset:
        parser = argparse.ArgumentParser(
            add_help=False, allow_abbrev=False, exit_on_error=False
        )
        parser.add_argument("--data-option", action="append", default=[])
        parser.add_argument("--labels")
        typed, _ = parser.parse_known_args([*record.command])
        pairs = (item.partition("=") for item in typed.data_option)
        options = {
            key.strip().replace("-", "_"): value.strip() for key, _, value in pairs
        }
        options |= {"labels": typed.labels} if typed.labels else {}
    return {
        key: value
        for key, value in options.items()
        if not key.endswith("_split") and key != "cache"
    }


def check_methods(record: RunRecord, catalog: Catalog) -> None:
    """Raise `PluginError` for a method of the record that is not here, with the line that brings it."""
    for card in record.cards.values():
        name, distribution = str(card["name"]), str(card.get("distribution", ""))
        if name in catalog.names():
            continue
        file, _, version = distribution.rpartition(" ")
        fix = f"Install it: pip install '{file}=={version}'"
        if version == "local":
            fix = f"Give the file it came from: --plugin PATH/{file}"
        raise PluginError(
            f"{name} ({distribution})",
            "discovery",
            "the run used this method, and it is not here.",
            fix,
        )


def check_files(record: RunRecord, given: Given) -> None:
    """Raise `RecipeError` for a file that the user had passed as a parameter, of which the record keeps the name only."""
    replaced = {option.partition("=")[0].strip() for option in given.options}
    for stage, passed in record.passed.items():
        for key, value in passed.items():
            if f"{stage}.{key}" in replaced or (
                key == "weights" and given.weights is not None
            ):
                continue
            if (
                isinstance(value, str)
                and (_is_file(value) or key.endswith("_dir"))
                and value
                and not Path(value).exists()
            ):
                raise RecipeError(
                    f"the run was given {stage}.{key}={value!r}; records keep names, not places. "
                    f"Give it: --cfg-options {stage}.{key}=PATH/{value}"
                )


def _is_file(value: str) -> bool:
    return _FILE.fullmatch(value) is not None


def forced_options(
    record: RunRecord, cell: Cell, given: Given
) -> tuple[list[str], list[str]]:
    """``stage.key=value`` for every recorded parameter that would be another now, and the names that are gone or new."""
    from wsss_bench.methods.recipe import format_value
    from wsss_bench.runs.provenance.facts import portable

    forced, strange = [], []
    replaced = {option.partition("=")[0].strip() for option in given.options}
    for stage, then in record.params.items():
        now = (
            portable(cell.resolved.params[stage].resolved)
            if stage in cell.resolved.params
            else {}
        )
        strange += [f"{stage}.{key} is gone" for key in then if key not in now]
        strange += [f"{stage}.{key} is new" for key in now if key not in then]
        for key, value in then.items():
            name = f"{stage}.{key}"
            if (
                key not in now
                or now[key] == value
                or name in replaced
                or (key == "weights" and given.weights)
            ):
                continue
            whole = {**value, "_delete_": True} if isinstance(value, dict) else value
            forced.append(f"{name}={format_value(whole)}")
    return forced, strange


# ---- what differs


def environment(
    record: RunRecord, cell: Cell, source: Source, device: str
) -> list[str]:
    """What is not as it was: versions, plugins, data, hardware, stage keys; one line each, ``what: then -> now``."""
    from wsss_bench.runs.provenance.facts import device_name, versions

    methods = cell.resolved.methods
    now: dict[str, Any] = {
        "versions": versions(),
        "plugins": {
            stage: {"version": m.card.version, "code": m.code_digest}
            for stage, m in methods.items()
        },
        "data fingerprint": source.fingerprint,
        "device": device_name(device),
    }
    then: dict[str, Any] = {
        "versions": dict(record.versions),
        "plugins": {
            stage: {key: card.get(key) for key in ("version", "code")}
            for stage, card in record.cards.items()
        },
        "data fingerprint": record.dataset["fingerprint"],
        "device": record.device,
    }
    keys = {step.name: step.spec.key for step in cell.steps}
    changed = [name for name, key in keys.items() if record.keys.get(name) != key]
    lines = differences(then, now)
    if changed:
        lines.append(
            f"stage keys: {', '.join(changed)} (see above; a key holds method, code, parameters, seed and data)"
        )
    return lines


@dataclass(frozen=True)
class Compared:
    """One scored stage, then and now: mIoU in percent, images whose counts differ, and whether none does."""

    what: str
    then: float | None
    now: float | None
    images: int

    @property
    def delta(self) -> float | None:
        """Now minus then in mIoU points; None where one of them was not scored."""
        return None if self.then is None or self.now is None else self.now - self.then

    def within(self, tolerance: float) -> bool:
        """Whether the mIoU moved by no more than `tolerance` points (both undefined counts as no move)."""
        if self.delta is None:
            return False
        return self.images == 0 or abs(self.delta) <= tolerance


def compare(then: RunRecord, now: RunRecord) -> list[Compared]:
    """Every scored stage of both records; per-image counts decide, not rounded means."""
    found = []
    for what in COUNTS:
        old, new = then.load_counts(what), now.load_counts(what)
        if old is None and new is None:
            continue
        images = (
            max(len(old or ()), len(new or ()))
            if old is None or new is None
            else _differing(old, new)
        )
        found.append(Compared(what, _percent(old), _percent(new), images))
    return found


def _percent(counts: Counts | None) -> float | None:
    return None if counts is None else 100 * counts.miou()


def _differing(old: Counts, new: Counts) -> int:
    """Images whose counts differ, those in one set alone included; all of them where the classes differ."""
    import numpy as np

    if old.classes != new.classes:
        return max(len(old), len(new))
    here = set(new.ids)
    both = [image_id for image_id in old.ids if image_id in here]
    alone = len(here.symmetric_difference(old.ids))
    wrong = int((old.rows(both) != new.rows(both)).any((1, 2)).sum()) if both else 0
    # Equal per image, and yet another confusion: classes were exchanged within the misses of some image.
    return alone + max(wrong, int(not np.array_equal(old.confusion, new.confusion)))


def prepare_work_dir(record: RunRecord, work_dir: Path, cell: Cell) -> None:
    """Mark the work dir as this reproduction's, and write the skip list that the run had.

    Raises:
        DataError: stages of this run are finished there already, by something other than this reproduction: comparing them
            would prove nothing.
    """
    from wsss_bench.io.files import read_json, write_atomic, write_json
    from wsss_bench.runs.plan import states
    from wsss_bench.runs.store.folders import DONE, Store

    mark = {"run": record.run_id, "dataset": str(record.dataset["name"])}
    own = (work_dir / MARKER).exists() and read_json(work_dir / MARKER) == mark
    done = [
        name
        for name, state in states(cell, Store(work_dir / "store")).items()
        if state == DONE
    ]
    if done and not own:
        raise DataError(
            f"{work_dir} holds finished stages of this run ({', '.join(done)}). Name a fresh folder: --work-dir OTHER"
        )
    write_json(work_dir / MARKER, mark)
    write_skip(record, work_dir, write_atomic)


def write_skip(record: RunRecord, work_dir: Path, write: Any) -> None:
    """Write the ids that the run left out to ``skip.txt``, where it left out any."""
    skipped: Sequence[str] = record.dataset.get("skipped", ())
    if skipped:
        text = "".join(f"{image_id}\n" for image_id in skipped)
        write(work_dir / "skip.txt", lambda handle: handle.write(text.encode()))


def as_json(
    record: RunRecord,
    command: Sequence[str],
    differs: Sequence[str],
    found: Sequence[Compared],
) -> Mapping[str, Any]:
    """What ``--json`` prints."""
    rows = [
        {
            "what": c.what,
            "then": c.then,
            "now": c.now,
            "delta": c.delta,
            "images_that_differ": c.images,
        }
        for c in found
    ]
    return {
        "schema": 1,
        "run": record.run_id,
        "command": ["wsss-bench", *command],
        "differs": list(differs),
        "scores": rows,
    }
