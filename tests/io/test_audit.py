"""One audit hook per process: who listens hears each access once, and nobody pays who does not listen."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from wsss_bench.errors import LeakError
from wsss_bench.io import audit
from wsss_bench.io.audit import Access, subscribe, unsubscribe
from wsss_bench.io.opened import OpenedFiles
from wsss_bench.io.sealing import shut

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def heard() -> Iterator[list[Access]]:
    found: list[Access] = []
    subscribe(found.append)
    yield found
    unsubscribe(found.append)


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every path that is resolved from now on."""
    paths: list[str] = []
    plain = os.path.realpath

    def counting(path: str, **options: bool) -> str:
        paths.append(os.fspath(path))
        return plain(path, **options)

    monkeypatch.setattr("os.path.realpath", counting)
    return paths


def test_reading_writing_listing_and_moving_are_told_apart(
    tmp_path: Path, heard: list[Access]
) -> None:
    file = tmp_path / "a"
    file.write_text("x")
    file.read_text()
    os.close(os.open(bytes(file), os.O_RDWR))
    os.listdir(tmp_path)
    file.rename(tmp_path / "b")
    with open(tmp_path / "b") as handle:
        os.fdopen(os.dup(handle.fileno())).close()
    assert [(access.event, access.path, access.reads) for access in heard] == [
        ("open", str(file), False),
        ("open", str(file), True),
        ("open", str(file), False),
        ("os.listdir", str(tmp_path), False),
        ("os.rename", str(file), False),
        ("open", str(tmp_path / "b"), True),
    ]


def test_a_listener_hears_each_access_once_and_nothing_after_it_left(
    tmp_path: Path, heard: list[Access]
) -> None:
    subscribe(heard.append)
    (tmp_path / "a").touch()
    heard.clear()
    (tmp_path / "a").read_text()
    assert len(heard) == 1
    unsubscribe(heard.append)
    unsubscribe(heard.append)
    (tmp_path / "a").read_text()
    assert len(heard) == 1


def test_what_a_listener_raises_stops_the_access_and_later_listeners(
    tmp_path: Path,
) -> None:
    later: list[Access] = []

    def refuse(access: Access) -> None:
        raise PermissionError(access.path)

    with ExitStack() as stack:
        for listener in (refuse, later.append):
            subscribe(listener)
            stack.callback(unsubscribe, listener)
        with pytest.raises(PermissionError, match="made"):
            (tmp_path / "made").write_text("x")
    assert later == []
    assert not (tmp_path / "made").exists()


def read_all(files: list[Path]) -> None:
    for file in files:
        file.read_text()


def test_notes_and_seals_hear_the_same_opens(tmp_path: Path) -> None:
    for name in ("data/photo", "sealed/mask"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x")
    notes = OpenedFiles(tmp_path / "log", [tmp_path / "data"])
    seal = shut([tmp_path / "sealed"], tmp_path / "tried", "m")
    files = [tmp_path / "data" / "photo", tmp_path / "sealed" / "mask"]
    with pytest.raises(LeakError, match="m: sealed/mask"), notes, seal:
        read_all(files)
    assert notes.summary()["folders"] == {".": 1}


def test_a_path_is_resolved_once_for_all_seals_and_for_nobody_else(
    tmp_path: Path, resolved: list[str]
) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "a").read_text()
    with OpenedFiles(tmp_path / "log", [tmp_path / "data"]):
        resolved.clear()
        (tmp_path / "a").read_text()
        assert resolved == []
    with ExitStack() as stack:
        for name in ("one", "two"):
            stack.enter_context(shut([tmp_path / name], tmp_path / "log", name))
        resolved.clear()
        (tmp_path / "a").read_text()
        assert resolved == [str(tmp_path / "a")]
    resolved.clear()
    (tmp_path / "a").read_text()
    assert resolved == []


def test_who_has_left_is_not_asked(tmp_path: Path) -> None:
    before = audit._listeners
    with (
        OpenedFiles(tmp_path / "log", [tmp_path]),
        OpenedFiles(tmp_path / "log", [tmp_path]),
        shut([tmp_path / "sealed"], tmp_path / "tried", "m"),
    ):
        assert len(audit._listeners) == len(before) + 2
    assert audit._listeners == before


COUNT = """
import sys
from pathlib import Path
installed = []
sys.addaudithook, plain = (lambda hook: (installed.append(hook), plain(hook))), sys.addaudithook
from wsss_bench.io.opened import OpenedFiles
from wsss_bench.io.sealing import shut
print(len(installed))
for _ in range(3):
    with OpenedFiles(Path("log"), [Path("data")]), shut([Path("sealed")], Path("tried"), "m"):
        pass
print(len(installed))
"""


def test_a_process_gets_one_hook_and_only_when_somebody_listens(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COUNT]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.split() == ["0", "1"]


def test_nobody_else_installs_a_hook() -> None:
    files = [*(ROOT / "wsss_bench").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    texts = {file.relative_to(ROOT).as_posix(): file.read_text() for file in files}
    users = [name for name, text in texts.items() if "addaudithook" in text]
    assert users == ["wsss_bench/io/audit.py"]
