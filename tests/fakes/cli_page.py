"""The page of the command line, made from the help texts of every verb.

python tests/fakes/cli_page.py --write      brings docs/cli.md up to date
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from unittest import mock

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
WIDTH = 100
"""Columns that help texts are wrapped at, whatever the terminal has."""

HEAD = """\
# The command line

<!-- Generated: python tests/fakes/cli_page.py --write -->

What `--help` prints, for every verb. Exit status: 0 done, 1 something failed, 2 wrong usage or input, 130 interrupted.
"""


def page() -> str:
    """The page as Markdown: the verbs in the order of ``wsss-bench --help``, each followed by its own verbs."""
    from wsss_bench.cli import VERBS

    parts = [HEAD, _block(["--help"])]
    for verb in VERBS:
        parts += [f"## {verb}\n", _block([verb, "--help"])]
        for own in own_verbs(verb):
            parts += [f"### {verb} {own}\n", _block([verb, own, "--help"])]
    return "\n".join(parts)


def own_verbs(verb: str) -> Iterator[str]:
    """The verbs of a verb, such as ``verify`` of ``data``."""
    parser = argparse.ArgumentParser()
    import_module(f"wsss_bench.cli.{verb}").add_arguments(parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices


def _block(arguments: list[str]) -> str:
    return f"```text\n{said(arguments)}```\n"


def said(arguments: list[str]) -> str:
    """What the command prints, at the fixed width and without colours."""
    from wsss_bench.cli import main

    out = io.StringIO()
    fixed = {"COLUMNS": str(WIDTH), "NO_COLOR": "1"}
    with mock.patch.dict(os.environ, fixed), contextlib.redirect_stdout(out):
        status = main(arguments)
    if status != 0:
        raise SystemExit(f"wsss-bench {' '.join(arguments)} ended with {status}")
    # Spaces at line ends are argparse's, and editors take them away.
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def main() -> None:
    """Print the page, or write it with ``--write``."""
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")


if __name__ == "__main__":
    main()
