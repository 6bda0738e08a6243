"""What a config inherits: from files beside it, and from configs of the harness by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsss_bench.errors import RecipeError
from wsss_bench.io.configs import bases, inherited, read_config
from wsss_bench.io.paths import configs_dir


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_config_anywhere_inherits_one_of_the_harness(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "mine.py",
        "inherit = ['methods/classifier.py']\nlocalize = dict(epochs=9, mine=True)\n",
    )
    found = read_config(path)
    base = read_config(configs_dir() / "methods" / "classifier.py")
    assert found["localize"] == {**base["localize"], "epochs": 9, "mine": True}
    assert found["test_settings"] == base["test_settings"]
    assert "inherit" not in found


def test_a_mapping_inherits_as_a_file_does() -> None:
    own = {"inherit": "methods/classifier.py", "localize": {"lr": 0.5}}
    found = inherited(own, "method mine")
    assert found["localize"]["lr"] == 0.5
    assert found["localize"]["epochs"] == 5
    assert own == {"inherit": "methods/classifier.py", "localize": {"lr": 0.5}}


def test_later_bases_win_and_dicts_merge() -> None:
    names = ["methods/seeds_sec.py", "methods/segmentor.py"]
    found = inherited({"inherit": names}, "method mine")
    # Both bases have test settings, each of a stage of its own.
    assert set(found["test_settings"]) == {"localize", "segment"}
    assert set(found) >= {"localize", "refine", "segment", "profiles"}


def test_delete_replaces_what_is_inherited(tmp_path: Path) -> None:
    text = "inherit = ['methods/classifier.py']\nlocalize = dict(_delete_=True, lr=1.0)"
    assert read_config(write(tmp_path, "mine.py", text))["localize"] == {"lr": 1.0}


def test_what_is_inherited_through_a_file_beside_it_counts(tmp_path: Path) -> None:
    write(
        tmp_path,
        "first.py",
        "inherit = ['methods/classifier.py']\nlocalize = dict(lr=0.2)",
    )
    path = write(
        tmp_path, "second.py", "_base_ = 'first.py'\nlocalize = dict(epochs=2)"
    )
    found = read_config(path)["localize"]
    assert (found["lr"], found["epochs"], found["batch"]) == (0.2, 2, 16)


def test_an_unknown_base_is_refused_with_a_hint(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.py", "inherit = ['methods/clasifier.py']")
    with pytest.raises(RecipeError, match=r"mine\.py.*no bundled.*'methods/classifier"):
        read_config(path)


def test_bases_are_told_in_order(tmp_path: Path) -> None:
    text = "_base_ = ['a.py', 'b.py']\ninherit = ['profiles/shapes.py']\n"
    path = write(tmp_path, "mine.py", text)
    shapes = configs_dir() / "profiles" / "shapes.py"
    assert bases(path) == [tmp_path / "a.py", tmp_path / "b.py", shapes]
    assert bases(write(tmp_path, "alone.py", "localize = {}")) == []
    assert bases(tmp_path / "missing.py") == []
