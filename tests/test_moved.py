"""Every public name of version 0.1 is found under its old path, with a warning that says where it lives now."""

from __future__ import annotations

import importlib
import re
import warnings
from pathlib import Path

import pytest

from wsss_bench._moved import LEFT, MOVED

LISTED = Path(__file__).parent / "fakes" / "old_names.txt"
"""``module: name name …``, read from the code of version 0.1.0."""

GONE = {
    # Script and style are files of their own now.
    "wsss_bench.boards.page_charts": {"JS"},
    "wsss_bench.boards.page_script": {"JS"},
    "wsss_bench.boards.page_style": {"CSS"},
    # A submodule has the name now, and the import system puts it there.
    "wsss_bench.boards.page": {"page"},
    "wsss_bench.doctor": {"examine"},
    # Backbones have one entry each: `backbone_of(name).channels`.
    "wsss_bench.engine.backbones": {"CHANNELS"},
    # The template's texts are real files.
    "wsss_bench.testing._template_files": {
        "CARD",
        "IGNORE",
        "INIT",
        "PYPROJECT",
        "README",
        "TEST",
    },
    "wsss_bench.testing._template_methods": {"PLUGINS", "RULES", "SUMMARIES", "TESTS"},
    # Digests of code are by module now, and each stage has its own.
    "wsss_bench.catalog": {"code_digest"},
    "wsss_bench.provenance": {"harness_digest"},
    # Became part of the typed request.
    "wsss_bench.cli.run": {"device"},
    # A dataset says itself which files it is read from, and how its folder is verified.
    "wsss_bench.data.download": {"ARCHIVES"},
    # Arrays of labels are read now, by a reader that runs nothing.
    "wsss_bench.data.labels": {"refuse_pickle"},
    "wsss_bench.data.verify": {"DISAGREEMENT", "verify_layout"},
}
"""Names that no outsider could use, or that another thing took the place of; the changelog lists the latter."""

MESSAGE = re.compile(
    r"^(\S+) has moved: import it from (\S+)\. The old path works until"
)


def listed() -> dict[str, list[str]]:
    found = {}
    for line in LISTED.read_text().splitlines():
        module, _, names = line.partition(":")
        gone = GONE.get(module, set())
        kept = [name for name in names.split() if name not in gone]
        if kept:
            found[module] = kept
    return found


NAMES = listed()


@pytest.mark.parametrize("old", NAMES)
def test_an_old_path_gives_the_same_object_and_says_where_it_lives(old: str) -> None:
    module = importlib.import_module(old)
    for name in NAMES[old]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = getattr(module, name)
        ours = [MESSAGE.match(str(w.message)) for w in caught]
        places = [match.groups() for match in ours if match]
        if not places:
            # Never moved: it is the module's own, or one that its package gives out by name.
            assert name in {*vars(module), *getattr(module, "__all__", ())}, name
            continue
        (said, home) = places[0]
        assert said == f"{old}.{name}"
        assert found is getattr(importlib.import_module(home), name)
        assert home != old


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("wsss_bench.card", "MethodCard"),
        ("wsss_bench.toolbox.pyramid", "fit"),
        ("wsss_bench.engine", "predict"),
    ],
)
def test_the_warning_points_at_the_line_that_uses_the_old_path(
    old: str, name: str
) -> None:
    module = importlib.import_module(old)
    with pytest.warns(DeprecationWarning, match="has moved") as caught:
        getattr(module, name)
    assert [Path(warning.filename).name for warning in caught] == ["test_moved.py"]


def test_the_tables_name_nothing_that_does_not_exist() -> None:
    for homes in MOVED.values():
        for home in homes:
            importlib.import_module(f"wsss_bench.{home}")
    for old, places in LEFT.items():
        for home, names in places.items():
            module = importlib.import_module(f"wsss_bench.{home}")
            for name in names:
                assert hasattr(module, name), f"{home}.{name}"
                assert name not in vars(importlib.import_module(f"wsss_bench.{old}"))


def test_a_module_that_exists_is_never_hidden() -> None:
    folder = Path(__file__).resolve().parents[1] / "wsss_bench"
    for old in MOVED:
        place = folder.joinpath(*old.split("."))
        if place.with_suffix(".py").exists() or (place / "__init__.py").exists():
            # Then the entry can never be used: it belongs into the other table.
            pytest.fail(f"wsss_bench.{old} exists")


def test_an_unknown_name_of_an_old_module_is_an_attribute_error() -> None:
    for old in ("wsss_bench.card", "wsss_bench.toolbox.pyramid"):
        module = importlib.import_module(old)
        with pytest.raises(AttributeError, match=f"module '{old}' has no attribute"):
            _ = module.nothing
