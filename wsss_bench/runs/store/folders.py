"""The store: one folder per stage key, locked while it is computed, finished when ``commit.json`` is there.

<root>/<stage>/<key[:16]>/spec.json      what the key is the hash of
                          out/           the artifact
                          scratch/       checkpoints and the like, deleted once the stage is committed
                          files.json     size and SHA-256 of every file of the artifact
                          data_files.txt the data files that were opened, below the data root
                          trainings.json keys of the kept trainings that the stage used, by name
                          attempts.json  seconds and peak memory of all attempts so far
                          commit.json    written last; without it the folder is unfinished and is continued in place
<root>/<stage>/<key[:16]>.lock           held (flock) by the process that computes; released by the kernel when it dies

A kept training is a stage of its own, named ``training``: see `training_spec`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import (
    _flush,
    canonical,
    drop_leftovers,
    file_digest,
    read_json,
    write_json,
)
from wsss_bench.runs.store.locks import OnWait, acquire, held

COMMIT, SPEC, FILES = "commit.json", "spec.json", "files.json"
ATTEMPTS, TRAININGS = "attempts.json", "trainings.json"

DONE, RUNNING, UNFINISHED, TODO = "done", "running", "unfinished", "to do"

Costs = Mapping[str, float]
"""``seconds`` and peaks of memory."""

TRAINING = "training"
"""What the store calls a training that is kept apart from the stages that use it."""


@dataclass(frozen=True)
class StageSpec:
    """Everything a stage's result depends on.

    Attributes:
        stage: ``localize``, ``refine``, …; the folder in the store.
        parts: what is hashed: method, parameters, seed, input keys, data fingerprint, hook contract.
    """

    stage: str
    parts: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """SHA-256 of the canonical JSON of stage and parts, in hex."""
        text = canonical({"stage": self.stage, **self.parts})
        return hashlib.sha256(text.encode()).hexdigest()


def training_spec(parts: Mapping[str, Any], name: str) -> StageSpec:
    """Return what the training called `name` depends on, in a stage whose trainings depend on `parts`."""
    return StageSpec(TRAINING, {**parts, "name": name})


def _go_on() -> None:
    """Do nothing about having to wait."""


class StageFolder:
    """One stage's folder in the store."""

    def __init__(self, root: Path, spec: StageSpec) -> None:
        self.spec = spec
        self.path = root / spec.stage / spec.key[:16]
        self.out = self.path / "out"
        self.scratch = self.path / "scratch"
        self._lock_file = self.path.with_suffix(".lock")

    def commit_record(self) -> dict[str, Any] | None:
        """Return what was committed, or None while the stage is unfinished.

        Raises:
            ArtifactError: the folder belongs to another key that begins alike, or its commit is unreadable.
        """
        if not (self.path / COMMIT).exists():
            return None
        record: dict[str, Any] = read_json(self.path / COMMIT)
        if record.get("key") != self.spec.key:
            what = f"{self.path} was committed under another key."
            raise ArtifactError(f"{what} Delete the folder and run the command again.")
        return record

    def state(self) -> str:
        """Return `DONE`, `RUNNING` (some process holds the lock), `UNFINISHED` or `TODO`."""
        if (self.path / COMMIT).exists():
            return DONE
        if self.locked():
            return RUNNING
        return UNFINISHED if self.path.exists() else TODO

    def locked(self) -> bool:
        """Return whether a living process is computing this stage."""
        return held(self._lock_file)

    @contextmanager
    def lock(self, on_wait: OnWait = _go_on) -> Iterator[None]:
        """Hold the stage exclusively; calls `on_wait` first where another process has it."""
        handle = acquire(self._lock_file, on_wait)
        try:
            yield
        finally:
            handle.close()

    def remove(self) -> bool:
        """Delete the folder and its lock file unless a process is working on it; returns whether it did."""
        return _remove(self.path, self._lock_file)

    def begin(self) -> None:
        """Make the folder and write the spec.

        Finished files of an interrupted process are kept, half-written ones are not.
        """
        try:
            self.scratch.mkdir(parents=True, exist_ok=True)
            self.out.mkdir(exist_ok=True)
            drop_leftovers(self.path)
        except OSError as error:
            what = f"cannot write {self.path}: {error.strerror}."
            raise ArtifactError(f"{what} Choose another --work-dir.") from error
        spec = self.spec
        content = {"stage": spec.stage, "key": spec.key, "parts": spec.parts}
        write_json(self.path / SPEC, content)

    def add_attempt(self, facts: Costs) -> dict[str, float]:
        """Add an attempt to the earlier ones of an interrupted stage and return all: seconds sum, peaks are maxima."""
        path = self.path / ATTEMPTS
        before = read_json(path) if path.exists() else {}
        total = add_costs(facts, before)
        write_json(path, total)
        return total

    def lost_seconds(self) -> float:
        """Return how long the last attempt had worked when it was killed, as far as its files' times tell; else 0.

        `begin` writes the spec anew and whoever is not killed adds the attempt, so a spec that is newer than all
        attempts is that of a killed one. To be asked before `begin`.
        """
        try:
            start = (self.path / SPEC).stat().st_mtime
            attempts = self.path / ATTEMPTS
            if attempts.exists() and attempts.stat().st_mtime > start:
                return 0.0
            files = self.path.rglob("*")
            newest = max(path.stat().st_mtime for path in files)
            return round(newest - start, 3)
        except FileNotFoundError:
            return 0.0

    def discount(self, seconds: float) -> None:
        """Leave `seconds` that were spent on another folder out of what `lost_seconds` will find here."""
        spec = self.path / SPEC
        # The spec's time stamp is where the attempt's clock starts.
        with suppress(OSError):
            start = spec.stat().st_mtime + seconds
            os.utime(spec, (start, start))

    def note_training(self, name: str, key: str) -> None:
        """Write down that the stage uses the kept training `name` with that key."""
        used = self.trainings()
        if used.get(name) != key:
            write_json(self.path / TRAININGS, {**used, name: key})

    def trainings(self) -> dict[str, str]:
        """Return the keys of the kept trainings that the stage has used so far, by name."""
        path = self.path / TRAININGS
        return dict(read_json(path)) if path.exists() else {}

    def whole(self) -> bool:
        """Return whether only the commit is missing: every file is there and has its listed digest."""
        if not (self.path / FILES).exists():
            return False
        return not _changed_files(self.path)

    def list_files(self) -> None:
        """Flush the artifact to the disk and list size and digest of every file; from here on the work is done."""
        # Worker processes may have died under an attempt that went on.
        drop_leftovers(self.out)
        files = {}
        for path in sorted(_files_below(self.out)):
            _flush(path)
            name = path.relative_to(self.out).as_posix()
            size = path.stat().st_size
            files[name] = [size, file_digest(path)]
        write_json(self.path / FILES, files)

    def commit(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Write ``commit.json`` after `list_files`, then drop the scratch folder; returns the record."""
        record = {
            **facts,
            "key": self.spec.key,
            "stage": self.spec.stage,
            "files": file_digest(self.path / FILES),
        }
        write_json(self.path / COMMIT, record)
        self.clean()
        return record

    def clean(self) -> None:
        """Drop the scratch folder of a committed stage."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def discard(self) -> None:
        """Drop everything that an unfinished stage has made so far."""
        for folder in (self.out, self.scratch):
            shutil.rmtree(folder, ignore_errors=True)

    def problems(self) -> list[str]:
        """Re-hash a committed artifact: every file that is missing, changed or foreign, as sentences."""
        return verify_folder(self.path)


class Store:
    """The stages computed under one work dir."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, spec: StageSpec) -> StageFolder:
        """Return the folder of a stage, finished or not."""
        return StageFolder(self.root, spec)

    def folders(self) -> list[Path]:
        """Return every stage folder on disk, sorted."""
        return sorted(path.parent for path in self.root.glob(f"*/*/{SPEC}"))

    def nameless(self) -> list[Path]:
        """Return the folders that a kill left before their spec was written, or after it was deleted."""
        found = []
        for path in sorted(self.root.glob("*/*")):
            # Nothing uses such a folder: without its spec nobody can say what is in it.
            if path.is_dir() and not (path / SPEC).exists():
                found.append(path)
        return found

    def remove_nameless(self, path: Path) -> bool:
        """Delete one of `nameless` unless a process is working on it; returns whether it did."""
        return _remove(path, path.with_suffix(".lock"))

    def read(self, path: Path) -> StageFolder:
        """Return the stage folder at `path`, from its spec file; raises `ArtifactError` for another folder's spec."""
        content = read_json(path / SPEC)
        if not isinstance(content, dict):
            content = {}
        stage, parts = content.get("stage"), content.get("parts")
        if isinstance(stage, str) and isinstance(parts, dict):
            found = StageFolder(self.root, StageSpec(stage, parts))
            # Else what is done to the stage would be done to another folder.
            if found.path == path:
                return found
        what = f"{path / SPEC} does not describe its folder."
        raise ArtifactError(f"{what} Delete {path} and run the command again.")


def add_costs(some: Costs, more: Costs) -> dict[str, float]:
    """Return the costs of two pieces of work together: ``seconds`` are summed, of peaks the larger counts."""
    total = dict(some)
    for key, value in more.items():
        before = total.get(key, 0)
        if key == "seconds":
            total[key] = round(before + value, 3)
        else:
            total[key] = max(before, value)
    return total


def verify_folder(path: Path) -> list[str]:
    """Re-hash a committed stage folder; returns what is wrong with it, as sentences."""
    try:
        record = read_json(path / COMMIT)
        listed = record.get("files") if isinstance(record, dict) else None
        if listed != file_digest(path / FILES):
            return [f"{FILES} does not match {COMMIT}."]
        return _changed_files(path)
    except ArtifactError as error:
        return [str(error)]


def _files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _changed_files(path: Path) -> list[str]:
    files, out = read_json(path / FILES), path / "out"
    if not _is_list_of_files(files):
        return [f"{FILES} is no list of files."]
    listed = set(files)
    there = {file.relative_to(out).as_posix() for file in _files_below(out)}
    found = [f"{name} is missing." for name in sorted(listed - there)]
    for name in sorted(there - listed):
        found.append(f"{name} was added after the commit.")
    for name in sorted(there & listed):
        _, digest = files[name]
        if digest != file_digest(out / name):
            found.append(f"{name} has changed.")
    return found


def _is_list_of_files(content: object) -> bool:
    if not isinstance(content, dict):
        return False
    pairs = [isinstance(entry, list) and len(entry) == 2 for entry in content.values()]
    return all(pairs)


def _remove(path: Path, lock_file: Path) -> bool:
    if held(lock_file):
        return False
    with acquire(lock_file, _go_on):
        # The commit goes first: an interrupted removal must not leave a folder that counts as finished. The spec goes
        # last: without it nobody could say what the rest is.
        (path / COMMIT).unlink(missing_ok=True)
        for folder in (path / "out", path / "scratch", path):
            shutil.rmtree(folder, ignore_errors=True)
        lock_file.unlink(missing_ok=True)
    return True
