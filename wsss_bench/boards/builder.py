"""Build every table of every dataset from the run records, and check that committed tables are what would be built."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

from wsss_bench.boards.ranking import make_board
from wsss_bench.boards.rows import Board
from wsss_bench.errors import ArtifactError
from wsss_bench.results.published import FILE, load_published, reported_rows
from wsss_bench.results.records import RUNS, by_dataset, load_records

_HINT = "Run: wsss-bench leaderboard build"
_PROSE = ("README.md",)
_SUFFIXES = (".csv", ".html", ".json", ".md", ".tex")


def boards(leaderboard_dir: Path) -> list[Board]:
    """Return one `Board` per dataset that has runs, by name.

    Raises:
        ArtifactError: a record or counts file is unsound.
        DataError: the published numbers beside the runs are malformed.
    """
    published = leaderboard_dir / FILE
    printed = load_published(published) if published.is_file() else []
    by_name = by_dataset(load_records(leaderboard_dir))
    found = []
    for name in sorted(by_name):
        board = make_board(name, by_name[name])
        reported = reported_rows(printed, name)
        found.append(replace(board, reported=tuple(reported)))
    return found


def datasets(leaderboard_dir: Path) -> list[str]:
    """Return the names of the datasets that have runs, sorted."""
    return sorted(by_dataset(load_records(leaderboard_dir)))


def render(leaderboard_dir: Path) -> dict[str, bytes]:
    """Return file name to content of every table; a pure function of the records and counts below `leaderboard_dir`."""
    files: dict[str, bytes] = {}
    for board in boards(leaderboard_dir):
        files |= render_board(board)
    return files


def render_board(board: Board) -> dict[str, bytes]:
    """Return file name to content of one dataset's tables."""
    from wsss_bench.boards.page import page
    from wsss_bench.boards.render import as_json, columns, latex, markdown

    header, lines = columns.wide(board)
    long = [columns.long_header(board), *columns.long(board)]
    return {
        f"{board.name}.csv": csv_text([header, *lines]).encode(),
        f"{board.name}_long.csv": csv_text(long).encode(),
        f"{board.name}.md": markdown.page(board).encode(),
        f"{board.name}.tex": latex.page(board).encode(),
        f"{board.name}.html": page.page(board).encode(),
        f"{board.name}.json": as_json.dumps(as_json.as_json(board)).encode(),
    }


def csv_text(lines: Iterable[Sequence[str]]) -> str:
    """Return lines of cells as CSV."""
    out = io.StringIO()
    # The writer's own line end is CRLF, which git may turn into something else.
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()


def build(leaderboard_dir: Path) -> list[Path]:
    """Write every table that the records call for and return their paths; files that are right already are left alone.

    Raises:
        ArtifactError: a record or counts file is unsound, or a table cannot be written.
    """
    from wsss_bench.io.files import write_atomic

    files = render(leaderboard_dir)
    for name, content in files.items():
        path = leaderboard_dir / name
        if not path.exists() or path.read_bytes() != content:
            # Bound now: `content` is another one by the time of the next file.
            write_atomic(path, partial(_write, content))
    return [leaderboard_dir / name for name in files]


def _write(content: bytes, handle: IO[bytes]) -> None:
    handle.write(content)


def check(leaderboard_dir: Path) -> list[str]:
    """Rebuild everything in memory and name each committed table that differs or is missing; empty when all agree."""
    try:
        files = render(leaderboard_dir)
    except ArtifactError as error:
        return [str(error)]
    found = []
    for name, content in files.items():
        found += _difference(leaderboard_dir / name, content)
    return found + _loose(leaderboard_dir, files)


def _difference(path: Path, wanted: bytes) -> list[str]:
    """Return a complaint where a table is not what the counts give."""
    if not path.exists():
        return [f"{path.name} is missing. {_HINT}"]
    found = path.read_bytes()
    if found == wanted:
        return []
    place = _first_difference(found, wanted)
    return [f"{path.name} is not what the committed counts give ({place}). {_HINT}"]


def _first_difference(found: bytes, wanted: bytes) -> str:
    pairs = zip(found.splitlines(), wanted.splitlines(), strict=False)
    for line, (one, other) in enumerate(pairs, 1):
        if one != other:
            return f"line {line}"
    # One begins with the other, or they differ in line ends alone.
    return "length"


def _loose(leaderboard_dir: Path, files: Collection[str]) -> list[str]:
    """Return a complaint per table that no run accounts for: nobody could ever check its numbers."""
    ours = {*files, FILE, *_PROSE}
    hint = "Delete it, or restore its runs."
    found = []
    for path in sorted(leaderboard_dir.glob("*")):
        if path.suffix in _SUFFIXES and path.name not in ours:
            found.append(f"{path.name} belongs to no run under {RUNS}/. {hint}")
    return found
