"""The store: one folder per stage key, locked while it is computed, finished when ``commit.json`` is there.

<root>/<stage>/<key[:16]>/spec.json     what the key is the hash of
                          out/          the artifact
                          scratch/      checkpoints and the like, deleted once the stage is committed
                          files.json    size and SHA-256 of every file of the artifact
                          data_files.txt the data files that were opened, below the data root
                          attempts.json seconds and peak memory of all attempts so far
                          commit.json   written last; without it the folder is unfinished and is continued in place
<root>/<stage>/<key[:16]>.lock          held (flock) by the process that computes; released by the kernel when it dies
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import (
    _flush,
    canonical,
    drop_leftovers,
    file_digest,
    read_json,
    write_json,
)

COMMIT, SPEC, FILES, ATTEMPTS = (
    "commit.json",
    "spec.json",
    "files.json",
    "attempts.json",
)

DONE, RUNNING, UNFINISHED, TODO = "done", "running", "unfinished", "to do"


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
        return hashlib.sha256(
            canonical({"stage": self.stage, **self.parts}).encode()
        ).hexdigest()


class StageFolder:
    """One stage's folder in the store."""

    def __init__(self, root: Path, spec: StageSpec) -> None:
        self.spec = spec
        self.path = root / spec.stage / spec.key[:16]
        self.out = self.path / "out"
        self.scratch = self.path / "scratch"
        self._lock_file = self.path.with_suffix(".lock")

    def commit_record(self) -> dict[str, Any] | None:
        """What was committed, or None while the stage is unfinished.

        Raises:
            ArtifactError: the folder belongs to another key that begins alike, or its commit is unreadable.
        """
        if not (self.path / COMMIT).exists():
            return None
        record: dict[str, Any] = read_json(self.path / COMMIT)
        if record.get("key") != self.spec.key:
            raise ArtifactError(
                f"{self.path} was committed under another key. Delete the folder and run the command again."
            )
        return record

    def state(self) -> str:
        """`DONE`, `RUNNING` (some process holds the lock), `UNFINISHED` or `TODO`."""
        if (self.path / COMMIT).exists():
            return DONE
        if self.locked():
            return RUNNING
        return UNFINISHED if self.path.exists() else TODO

    def locked(self) -> bool:
        """Whether a living process is computing this stage."""
        return _held(self._lock_file)

    @contextmanager
    def lock(self, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the stage exclusively; calls `on_wait` first where another process has it."""
        handle = _acquire(self._lock_file, on_wait)
        try:
            yield
        finally:
            handle.close()

    def remove(self) -> bool:
        """Delete the folder and its lock file unless a process is working on it; returns whether it did."""
        return _remove(self.path, self._lock_file)

    def begin(self) -> None:
        """Make the folder and write the spec; keeps the finished files that an interrupted process left, not the half-written."""
        try:
            self.scratch.mkdir(parents=True, exist_ok=True)
            self.out.mkdir(exist_ok=True)
            drop_leftovers(self.path)
        except OSError as error:
            raise ArtifactError(
                f"cannot write {self.path}: {error.strerror}. Choose another --work-dir."
            ) from error
        write_json(
            self.path / SPEC,
            {"stage": self.spec.stage, "key": self.spec.key, "parts": self.spec.parts},
        )

    def add_attempt(self, facts: Mapping[str, float]) -> dict[str, float]:
        """Add an attempt to the earlier ones of an interrupted stage and return all: seconds sum, peaks are maxima."""
        path = self.path / ATTEMPTS
        total = dict(facts)
        if path.exists():
            for key, value in read_json(path).items():
                total[key] = (
                    round(total.get(key, 0) + value, 3)
                    if key == "seconds"
                    else max(total.get(key, 0), value)
                )
        write_json(path, total)
        return total

    def lost_seconds(self) -> float:
        """How long the last attempt had worked when it was killed, as far as the times of its files tell; else 0.

        `begin` writes the spec anew and whoever is not killed adds the attempt, so a spec that is newer than all attempts is
        that of a killed one. To be asked before `begin`.
        """
        try:
            start = (self.path / SPEC).stat().st_mtime
            attempts = self.path / ATTEMPTS
            if attempts.exists() and attempts.stat().st_mtime > start:
                return 0.0
            return round(
                max(path.stat().st_mtime for path in self.path.rglob("*")) - start, 3
            )
        except FileNotFoundError:
            return 0.0

    def whole(self) -> bool:
        """Whether the work was done and only the commit is missing: every file is there and has its listed digest."""
        return (self.path / FILES).exists() and not _changed_files(self.path)

    def list_files(self) -> None:
        """Flush the artifact to the disk and list size and digest of every file; from here on the work counts as done."""
        drop_leftovers(
            self.out
        )  # of worker processes that died under an attempt that went on
        files = {}
        for path in sorted(p for p in self.out.rglob("*") if p.is_file()):
            _flush(path)
            files[path.relative_to(self.out).as_posix()] = [
                path.stat().st_size,
                file_digest(path),
            ]
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

    def problems(self) -> list[str]:
        """Re-hash a committed artifact: every file that is missing, changed or foreign, as sentences."""
        return verify_folder(self.path)


class Store:
    """The stages computed under one work dir."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, spec: StageSpec) -> StageFolder:
        """The folder of a stage, finished or not."""
        return StageFolder(self.root, spec)

    def folders(self) -> list[Path]:
        """Every stage folder on disk, sorted."""
        return sorted(path.parent for path in self.root.glob(f"*/*/{SPEC}"))

    def nameless(self) -> list[Path]:
        """Folders that a kill left before their spec was written (or after it was deleted); nothing in them is used."""
        return sorted(
            path
            for path in self.root.glob("*/*")
            if path.is_dir() and not (path / SPEC).exists()
        )

    def remove_nameless(self, path: Path) -> bool:
        """Delete one of `nameless` unless a process is working on it; returns whether it did."""
        return _remove(path, path.with_suffix(".lock"))

    def read(self, path: Path) -> StageFolder:
        """The stage folder at `path`, from its spec file."""
        content = read_json(path / SPEC)
        parts = content.get("parts") if isinstance(content, dict) else None
        stage = content.get("stage") if isinstance(content, dict) else None
        if isinstance(stage, str) and isinstance(parts, dict):
            found = StageFolder(self.root, StageSpec(stage, parts))
            if (
                found.path == path
            ):  # else what is done to the stage would be done to another folder
                return found
        raise ArtifactError(
            f"{path / SPEC} does not describe its folder. Delete {path} and run the command again."
        )


def verify_folder(path: Path) -> list[str]:
    """Re-hash a committed stage folder; returns what is wrong with it, as sentences."""
    try:
        record = read_json(path / COMMIT)
        same = isinstance(record, dict) and record.get("files") == file_digest(
            path / FILES
        )
        return _changed_files(path) if same else [f"{FILES} does not match {COMMIT}."]
    except ArtifactError as error:
        return [str(error)]


def _changed_files(path: Path) -> list[str]:
    files, out = read_json(path / FILES), path / "out"
    if not isinstance(files, dict) or not all(
        isinstance(entry, list) and len(entry) == 2 for entry in files.values()
    ):
        return [f"{FILES} is no list of files."]
    there = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    found = [f"{name} is missing." for name in sorted(set(files) - there)]
    found += [
        f"{name} was added after the commit." for name in sorted(there - set(files))
    ]
    found += [
        f"{name} has changed."
        for name in sorted(there & set(files))
        if files[name][1] != file_digest(out / name)
    ]
    return found


def _held(lock_file: Path) -> bool:
    try:
        with lock_file.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _remove(path: Path, lock_file: Path) -> bool:
    if _held(lock_file):
        return False
    with _acquire(lock_file, lambda: None):
        # The commit goes first: an interrupted removal must not leave a folder that counts as finished. The spec goes last:
        # without it nobody could say what the rest is.
        (path / COMMIT).unlink(missing_ok=True)
        for folder in (path / "out", path / "scratch", path):
            shutil.rmtree(folder, ignore_errors=True)
        lock_file.unlink(missing_ok=True)
    return True


def _acquire(path: Path, on_wait: Callable[[], None]) -> IO[bytes]:
    """Open (and create) a lock file and hold it; raises `ArtifactError` where the folder cannot be written."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = path.open("ab")
        except OSError as error:
            raise ArtifactError(
                f"cannot write {path}: {error.strerror}. Choose another --work-dir."
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                on_wait()
            except BaseException:
                handle.close()
                raise
            fcntl.flock(handle, fcntl.LOCK_EX)
        # Whoever held it may have removed the stage and this file with it; then the lock is on nothing.
        try:
            if os.path.samestat(os.fstat(handle.fileno()), path.stat()):
                return handle
        except FileNotFoundError:
            pass
        handle.close()
