"""Digests by content, and what makes them be read again."""

from __future__ import annotations

import os
import time
from hashlib import sha256
from pathlib import Path

import pytest

from wsss_bench.errors import ArtifactError
from wsss_bench.io import hashing
from wsss_bench.io.hashing import Memory, folder_digest, remembering


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read for their digests."""
    names: list[str] = []
    real = hashing.file_digest

    def noted(path: Path) -> str:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(hashing, "file_digest", noted)
    return names


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WSSS_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hashes"


def make(folder: Path, **files: str) -> list[Path]:
    """Write files, and let the clock be far beyond their last change."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return [folder / name for name in files]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour after everything was written."""
    now = time.time_ns()
    monkeypatch.setattr(hashing.time, "time_ns", lambda: now + 3600 * 10**9)


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@pytest.mark.usefixtures("later")
def test_files_are_read_once_also_by_another_process(
    tmp_path: Path, reads: list[str]
) -> None:
    paths = make(tmp_path / "a", one="1", two="2")
    assert Memory().digests([*paths, paths[0]]) == [digest(t) for t in "121"]
    assert sorted(reads) == ["one", "two"]
    assert Memory().digests(paths) == [digest(t) for t in "12"]
    assert len(reads) == 2


@pytest.mark.usefixtures("later")
def test_a_file_with_its_size_and_time_stamp_restored_is_read_again(
    tmp_path: Path, reads: list[str]
) -> None:
    (path,) = make(tmp_path / "a", one="1")
    memory = Memory()
    memory.digests([path])
    stat = path.stat()
    path.write_text("2")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (stat.st_mtime_ns, 1)
    assert memory.digests([path]) == [digest("2")]
    assert Memory().digests([path]) == [digest("2")]
    assert reads == ["one", "one"]


@pytest.mark.usefixtures("later")
def test_a_file_put_in_place_of_another_is_read_again(
    tmp_path: Path, reads: list[str]
) -> None:
    path, other = make(tmp_path / "a", one="1", two="2")
    memory = Memory()
    memory.digests([path])
    stat = path.stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)
    assert memory.digests([path]) == [digest("2")]
    assert len(reads) == 2


def test_what_has_just_been_written_is_read_again(
    tmp_path: Path, reads: list[str]
) -> None:
    paths = make(tmp_path / "a", one="1")
    memory = Memory()
    memory.digests(paths)
    memory.digests(paths)
    assert reads == ["one", "one"]


@pytest.mark.usefixtures("later")
def test_rehash_reads_everything_and_leaves_what_it_found(
    tmp_path: Path, reads: list[str]
) -> None:
    paths = make(tmp_path / "a", one="1")
    hashing.digests(paths)
    with remembering(rehash=True):
        hashing.digests(paths)
    assert reads == ["one", "one"]
    hashing.digests(paths)
    assert len(reads) == 2


@pytest.mark.usefixtures("later")
def test_nothing_is_written_where_nothing_is_to_be_kept(
    tmp_path: Path, cache: Path
) -> None:
    paths = make(tmp_path / "a", one="1")
    with remembering(keep=False):
        assert hashing.digests(paths) == [digest("1")]
    assert not cache.exists()


@pytest.mark.usefixtures("later")
def test_damaged_notes_and_a_cache_that_cannot_be_written_cost_time_only(
    tmp_path: Path, cache: Path, reads: list[str]
) -> None:
    paths = make(tmp_path / "a", one="1")
    Memory().digests(paths)
    (kept,) = cache.iterdir()
    for text in ("{", "[]", '{"one": [1]}', '{"one": 1}'):
        kept.write_text(text)
        assert Memory().digests(paths) == [digest("1")]
    kept.unlink()
    cache.rmdir()
    cache.write_text("in the way")
    assert Memory().digests(paths) == [digest("1")]


@pytest.mark.usefixtures("later")
def test_two_processes_keep_both_what_they_read(
    tmp_path: Path, reads: list[str]
) -> None:
    one, two = make(tmp_path / "a", one="1", two="2")
    first, second = Memory(), Memory()
    first.digests([one])
    second.digests([two])
    assert len(reads) == 2
    Memory().digests([one, two])
    assert len(reads) == 2


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        hashing.digests([tmp_path / "none"])
    with pytest.raises(ArtifactError, match="cannot be read"):
        hashing.digests([tmp_path])


def test_many_files_are_in_order_and_counted(tmp_path: Path) -> None:
    names = {f"f{number}": str(number) for number in range(40)}
    paths = make(tmp_path / "a", **names)
    told: list[tuple[int, int]] = []
    found = Memory().digests(
        paths, lambda what, done, total: told.append((done, total))
    )
    assert found == [digest(str(number)) for number in range(40)]
    assert told[-1] == (40, 40)


def test_a_folder_counts_by_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    make(folder, one="1", two="2")
    make(folder / "b", three="3")
    (folder / "b" / "around").symlink_to(folder)
    before = folder_digest(folder)
    make(folder, **{".hidden": "x"})
    assert folder_digest(folder) == before
    (folder / "b" / "three").write_text("4")
    changed = folder_digest(folder)
    assert changed != before
    (folder / "one").rename(folder / "uno")
    assert folder_digest(folder) != changed
