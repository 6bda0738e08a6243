"""What no look at a plugin's code can see is warned of, with file and line; a refiner of one class is warned of too."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsss_bench.methods.catalog import Catalog, load_file
from wsss_bench.testing import check_method
from wsss_bench.testing.unseen import unseen

PLUGIN = """
import importlib
import os
import subprocess
from pathlib import Path

import numpy as np

from wsss_bench import MethodCard, hookimpl

VALUE = 0
NAME = "numpy"


@hookimpl
def method_card():
    return MethodCard(name="{name}", version="1", stages=("refine",))


def _more():
    {line}


@hookimpl
def refine(view, seeds, out):
    for image in view:
        height, width = image.read().shape[:2]
        label = np.zeros((height, width), np.uint8)
        {write}
        out.write(image.id, label)
    return out.close()
"""


def plugin(folder: Path, name: str, line: str = "pass", write: str = "pass") -> Path:
    path = folder / f"{name}.py"
    text = PLUGIN.replace("{name}", name).replace("{line}", line)
    path.write_text(text.replace("{write}", write))
    return path


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("importlib.import_module(NAME)", "whose name is put together"),
        ("__import__(NAME)", "whose name is put together"),
        ("exec('a = 1')", "runs code from a text"),
        ("subprocess.run(['true'])", "starts a program"),
        ("os.system('true')", "starts a program"),
        ("global VALUE; VALUE = 1", "changes a variable of its module"),
        ("np.load('/data/prior.npy')", "at a fixed place"),
        ("Path('~/prior.txt').expanduser().read_text()", "at a fixed place"),
        ("importlib.import_module('numpy')", ""),
        ("np.load('prior.npy')", ""),
        ("view.model.eval()", ""),
        ("pass", ""),
    ],
)
def test_what_a_key_cannot_hold(line: str, what: str, tmp_path: Path) -> None:
    found = unseen(load_file(plugin(tmp_path, "unseen_mine", line)))
    if not what:
        assert found == []
        return
    assert len(found) == 1
    assert what in found[0].what
    assert str(found[0]).startswith("unseen_mine.py, line 21: ")


@pytest.mark.parametrize("name", Catalog(restrict=["wsss-bench"]).names())
def test_bundled_methods_hide_nothing(name: str) -> None:
    assert unseen(Catalog().load(name)) == []


def test_one_class_and_hidden_code_are_warnings_and_no_failures(tmp_path: Path) -> None:
    path = plugin(tmp_path, "unseen_flat", "os.system('true')", "label[:] = 255")
    report = check_method(path)
    (classes,) = report.named("classes")
    (visible,) = report.named("visible")
    assert (classes.status, visible.status) == ("warn", "warn")
    assert "every pixel of every image the value 255" in classes.message
    assert "unseen_flat.py, line 21: starts a program" in visible.message
    assert "2 warned of" in report.table()
    assert {check.name for check in report.failures} <= {"baseline"}
