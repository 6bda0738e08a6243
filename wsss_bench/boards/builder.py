"""Build every table of every dataset from the run records, and check that committed tables are what would be built."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from wsss_bench.boards.rows import Board, make_board
from wsss_bench.errors import ArtifactError
from wsss_bench.results.published import FILE, load_published, reported_rows
from wsss_bench.results.records import RUNS, RunRecord, load_records

_HINT = "Run: wsss-bench leaderboard build"
_PROSE = ("README.md",)
_SUFFIXES = (".csv", ".html", ".json", ".md", ".tex")


def boards(leaderboard_dir: Path) -> list[Board]:
    """Return one `Board` per dataset that has runs, by name.

    Raises:
        ArtifactError: a record or counts file is unsound.
        DataError: the published numbers beside the runs are malformed.
    """
    by_name: dict[str, list[RunRecord]] = {}
    for record in load_records(leaderboard_dir):
        by_name.setdefault(str(record.dataset["name"]), []).append(record)
    published = leaderboard_dir / FILE
    reported = load_published(published) if published.is_file() else []
    found = []
    for name in sorted(by_name):
        board = make_board(name, by_name[name])
        found.append(replace(board, reported=tuple(reported_rows(reported, name))))
    return found


def datasets(leaderboard_dir: Path) -> list[str]:
    """Return the names of the datasets that have runs, sorted."""
    records = load_records(leaderboard_dir)
    return sorted({str(record.dataset["name"]) for record in records})


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
    long = [columns.LONG_HEADER, *columns.long(board)]
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
            write_atomic(path, _writer(content))
    return [leaderboard_dir / name for name in files]


def _writer(content: bytes) -> Callable[[IO[bytes]], object]:
    return lambda handle: handle.write(content)


def check(leaderboard_dir: Path) -> list[str]:
    """Rebuild everything in memory and name each committed table that differs or is missing; empty when all agree."""
    try:
        files = render(leaderboard_dir)
    except ArtifactError as error:
        return [str(error)]
    found = [_difference(leaderboard_dir / name, files[name]) for name in files]
    return [problem for problem in found if problem] + _loose(leaderboard_dir, files)


def _difference(path: Path, wanted: bytes) -> str:
    """Return how a table differs from what the counts give, or ""."""
    if not path.exists():
        return f"{path.name} is missing. {_HINT}"
    found = path.read_bytes()
    if found == wanted:
        return ""
    place = _first_difference(found, wanted)
    return f"{path.name} is not what the committed counts give ({place}). {_HINT}"


def _first_difference(found: bytes, wanted: bytes) -> str:
    pairs = zip(found.splitlines(), wanted.splitlines(), strict=False)
    for line, (one, other) in enumerate(pairs, 1):
        if one != other:
            return f"line {line}"
    # One begins with the other, or they differ in line ends alone.
    return "length"


def _loose(leaderboard_dir: Path, files: Mapping[str, bytes]) -> list[str]:
    """Return a complaint per table that no run accounts for: nobody could ever check its numbers."""
    ours = {*files, FILE, *_PROSE}
    names = [p.name for p in sorted(leaderboard_dir.glob("*")) if p.suffix in _SUFFIXES]
    return [
        f"{name} belongs to no run under {RUNS}/. Delete it, or restore its runs."
        for name in names
        if name not in ours
    ]
