"""Build every table of every dataset from the run records, and check that committed tables are what would be built."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wsss_bench.boards.rows import Board, make_board
from wsss_bench.errors import ArtifactError
from wsss_bench.results.published import FILE, load_published, reported_rows
from wsss_bench.results.records import RUNS, RunRecord, load_records

_HINT = "Run: wsss-bench leaderboard build"
_PROSE = ("README.md",)


def boards(leaderboard_dir: Path) -> list[Board]:
    """One `Board` per dataset that has runs, by name; raises `ArtifactError` for an unsound record or counts file."""
    by_name: dict[str, list[RunRecord]] = {}
    for record in load_records(leaderboard_dir):
        by_name.setdefault(str(record.dataset["name"]), []).append(record)
    published = leaderboard_dir / FILE
    reported = load_published(published) if published.is_file() else []
    return [
        replace(
            make_board(name, by_name[name]),
            reported=tuple(reported_rows(reported, name)),
        )
        for name in sorted(by_name)
    ]


def datasets(leaderboard_dir: Path) -> list[str]:
    """Names of the datasets that have runs."""
    return sorted(
        {str(record.dataset["name"]) for record in load_records(leaderboard_dir)}
    )


def render(leaderboard_dir: Path) -> dict[str, bytes]:
    """File name to content of every table; a pure function of the records and counts below `leaderboard_dir`."""
    files: dict[str, bytes] = {}
    for board in boards(leaderboard_dir):
        files |= render_board(board)
    return files


def render_board(board: Board) -> dict[str, bytes]:
    """File name to content of one dataset's tables."""
    from wsss_bench.boards.page import page
    from wsss_bench.boards.render import as_json as jsons
    from wsss_bench.boards.render import columns as table
    from wsss_bench.boards.render import latex, markdown

    header, lines = table.wide(board)
    return {
        f"{board.name}.csv": _csv([header, *lines]),
        f"{board.name}_long.csv": _csv([table.LONG_HEADER, *table.long(board)]),
        f"{board.name}.md": markdown.page(board).encode(),
        f"{board.name}.tex": latex.page(board).encode(),
        f"{board.name}.html": page.page(board).encode(),
        f"{board.name}.json": jsons.dumps(jsons.as_json(board)).encode(),
    }


def _csv(lines: Iterable[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue().encode()


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
            write_atomic(path, lambda handle, content=content: handle.write(content))  # type: ignore[misc]
    return [leaderboard_dir / name for name in files]


def check(leaderboard_dir: Path) -> list[str]:
    """Rebuild everything in memory and name each committed table that differs or is missing; empty when all agree."""
    try:
        files: Mapping[str, bytes] = render(leaderboard_dir)
    except ArtifactError as error:
        return [str(error)]
    found = []
    for name, content in files.items():
        path = leaderboard_dir / name
        if not path.exists():
            found.append(f"{name} is missing. {_HINT}")
        elif path.read_bytes() != content:
            found.append(
                f"{name} is not what the committed counts give{_first_difference(path.read_bytes(), content)}. {_HINT}"
            )
    suffixes = (".csv", ".html", ".json", ".md", ".tex")
    loose = (
        p.name
        for p in sorted(leaderboard_dir.glob("*"))
        if p.suffix in suffixes and p.name not in (*files, FILE, *_PROSE)
    )
    return found + [
        f"{name} belongs to no run under {RUNS}/. Delete it, or restore its runs."
        for name in loose
    ]


def _first_difference(found: bytes, wanted: bytes) -> str:
    pairs = zip(found.splitlines(), wanted.splitlines(), strict=False)
    line = next((k for k, (a, b) in enumerate(pairs, 1) if a != b), None)
    return f" (line {line})" if line else " (length)"
