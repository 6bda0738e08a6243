"""The page of the command line is what ``--help`` prints today."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli_page import PAGE, own_verbs, page, said

from wsss_bench.cli import VERBS

AGAIN = "run: python tests/fakes/cli_page.py --write"


def test_the_page_is_what_the_verbs_print() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), AGAIN


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_each_of_its_own_has_a_section(verb: str) -> None:
    heads = PAGE.read_text(encoding="utf-8").splitlines()
    assert f"## {verb}" in heads, AGAIN
    for own in own_verbs(verb):
        assert f"### {verb} {own}" in heads, AGAIN


def test_the_text_depends_neither_on_the_terminal_nor_on_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = said(["run", "--help"])
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("WSSS_BENCH_DATA_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 77)
    assert said(["run", "--help"]) == before
    assert os.environ["COLUMNS"] == "40"


def test_the_site_shows_every_page() -> None:
    listed = (PAGE.parents[1] / "mkdocs.yml").read_text()
    for found in PAGE.parent.glob("*.md"):
        assert f": {found.name}\n" in listed, found.name
