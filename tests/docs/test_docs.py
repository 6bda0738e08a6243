"""What the documentation says must be so: every hook and argument is described, and its code runs."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from wsss_bench.contract import hookspecs
from wsss_bench.contract.card import MethodCard
from wsss_bench.contract.context import StageContext
from wsss_bench.methods import profiles
from wsss_bench.methods.catalog import Catalog, LoadedMethod
from wsss_bench.methods.hooks import HOOKS
from wsss_bench.methods.profiles import load_profile, with_profiles

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TINY = ["train=16", "val=4", "size=64", "seed=1"]


def section(text: str, title: str) -> str:
    """The part below one second-level heading."""
    parts = re.split(r"^## ", text, flags=re.M)
    return next(part for part in parts if part.splitlines()[0].strip("` ") == title)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.S)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_and_argument_is_described(hook: str) -> None:
    text = section((DOCS / "hooks.md").read_text(), hook)
    arguments = list(inspect.signature(getattr(hookspecs, hook)).parameters)
    assert f"def {hook}({', '.join(['self', *arguments])})" in text
    for argument in arguments:
        assert f"| `{argument}` |" in text, f"{hook}: {argument} has no row"


def test_every_attribute_of_the_context_is_described() -> None:
    text = section((DOCS / "hooks.md").read_text(), "ctx")
    public = [f.name for f in fields(StageContext)]
    public += [name for name in vars(StageContext) if not name.startswith("_")]
    missing = [
        name for name in public if not re.search(rf"^\| `{name}[(`]", text, re.M)
    ]
    assert not missing


def test_every_page_is_in_the_navigation_and_every_link_leads_somewhere() -> None:
    listed = set(re.findall(r": (\w+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    assert listed <= {path.name for path in DOCS.glob("*.md")}
    for page in [path for path in DOCS.glob("*.md") if path.name in listed]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (DOCS / target).exists(), f"{page.name} links to {target}"


def test_the_config_of_the_page_on_hooks_is_one(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text(blocks("hooks.md", "python")[-1])
    stages = ("localize",)
    card = MethodCard(name="mine", version="1", stages=stages, defaults=path)
    method = LoadedMethod("mine", object(), card, "local", "1", "")
    found = {
        profile: with_profiles(method, "localize", [load_profile(profile)])
        for profile in ("paper", "shapes", "mobilenet")
    }
    assert found["paper"]["lr"] == 0.05
    assert {key: value["sharpness"] for key, value in found.items()} == {
        "paper": 4.0,
        "shapes": 2.0,
        "mobilenet": 3.0,
    }
    assert found["mobilenet"]["backbone"] == "mobilenet_v2"
    assert "sharpness" in profiles.test_settings(method, "localize")


def test_the_training_of_the_page_on_hooks_is_done_once(tmp_path: Path) -> None:
    code = next(block for block in blocks("hooks.md", "python") if "fitted" in block)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/hooks.md", "exec"), names)
    seen = []

    def fit(model: torch.nn.Linear, params: dict[str, Any], scratch: Path) -> None:
        seen.append(params)
        torch.nn.init.constant_(model.weight, 5)

    names["fit"] = fit
    params = {"lr": 1.0, "scales": (1.0,)}
    ctx = StageContext(
        0, "cpu", params, tmp_path, tmp_path / "out", test_settings=("scales",)
    )
    for _ in range(2):
        model = names["fitted"](torch.nn.Linear(1, 1), ctx)
        assert model.weight.item() == 5
    assert seen == [{"lr": 1.0}]


def test_the_toolbox_examples_run(tmp_path: Path) -> None:
    names: dict[str, object] = {}
    for block in blocks("toolbox.md", "python"):
        exec(compile(block, "docs/toolbox.md", "exec"), names)
    assert {"label", "q", "walked", "grown", "loss", "refine"} <= set(names)


def test_the_tutorial_plugin_is_short_and_keeps_the_contract_of_its_hooks(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(blocks("tutorial.md", "python")[0])
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    assert len(lines) <= 15
    assert Catalog(local=[path]).load("mine").card.stages == ("localize",)


@pytest.mark.slow
def test_the_tutorial_runs_as_printed(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(blocks("tutorial.md", "python")[0])
    command = shlex.split(blocks("tutorial.md", "bash")[0])
    assert command[0] == "wsss-bench"
    options = [word for option in TINY for word in ("--data-option", option)]
    start = [
        sys.executable,
        "-c",
        "import sys; from wsss_bench.cli import main; sys.exit(main())",
    ]
    command = [*start, *command[1:], *options, "--profile", "check", "--device", "cpu"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    board = (tmp_path / "work_dirs" / "leaderboards" / "shapes.md").read_text()
    assert re.search(r"^\|.*\bmine\b", board, re.M)
    assert re.search(r"^\|.*\bcam\b", board, re.M)


def test_the_page_of_methods_holds_every_card_and_is_what_the_command_prints() -> None:
    from wsss_bench.boards.methods_page import methods_page

    bundled = Catalog(restrict=["wsss-bench"]).names()
    page = methods_page(Catalog(restrict=["wsss-bench"]))
    for name in bundled:
        assert f"\n## {name}\n" in page
        assert Catalog().load(name).card.paper in page
    assert (
        "| segmentation | voc2012 | val | 61.4" in page
    )  # DSRG's reported number, from published.csv
    committed = (DOCS / "methods.md").read_text()
    titles = set(re.findall(r"^## (.*)$", committed, re.M))
    again = "run: wsss-bench plugin info --markdown > docs/methods.md"
    assert titles == set(bundled), again
    assert committed == page, again
