from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from dataset_fakes import TRAIN, VAL, draw_wheels, example, install_dataset

from wsss_bench.cli import main
from wsss_bench.data import KINDS, DatasetKind, open_dataset, verify_dataset
from wsss_bench.data.download import download
from wsss_bench.data.registry import BUNDLED
from wsss_bench.doctor.examine import check_data
from wsss_bench.errors import DataError, LeakError

MODULE = "wsss_wheels"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv("WSSS_BENCH_DATA_ROOT", raising=False)
    # Each test has a module of the same name in a folder of its own.
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    return folder


@pytest.fixture
def wheels(site: Path, tmp_path: Path) -> Path:
    install_dataset(site, MODULE, example(), name="wheels")
    return draw_wheels(tmp_path / "data" / "wheels")


def changed(old: str, new: str) -> str:
    text = example()
    assert old in text
    return text.replace(old, new)


def test_names_are_known_without_importing(site: Path) -> None:
    install_dataset(site, "kind_never_imported", "raise RuntimeError", name="lazy")
    assert list(KINDS) == ["shapes", "voc2012", "coco2014", "lazy"]
    assert "lazy" in KINDS
    assert len(KINDS) == 4
    listing = KINDS.find("lazy")
    assert (listing.origin, listing.problem) == ("wsss-kind_never_imported 1.2", "")
    assert "kind_never_imported" not in sys.modules


def test_bundled_kinds_are_of_the_same_make() -> None:
    assert [kind.name for kind in KINDS.bundled()] == list(BUNDLED)
    for name in BUNDLED:
        assert isinstance(KINDS[name], DatasetKind)
        assert KINDS.find(name).origin == ""
    assert KINDS["voc2012"].how_to_get("/d").endswith("--data-root /d --download")


def test_the_example_of_the_page_opens(wheels: Path) -> None:
    dataset = open_dataset("wheels", wheels.parent)
    view = dataset.weak_view("train")
    assert [(image.id, image.present) for image in view] == [
        ("t0", (1,)),
        ("t1", (2,)),
        ("t2", (1,)),
    ]
    assert dataset.masks("val").ids == VAL
    assert np.unique(dataset.masks("val")["v0"]).tolist() == [0, 2]
    with pytest.raises(LeakError):
        dataset.weak_view("val")
    facts = open_dataset("wheels", wheels, fold="1").facts()
    assert (facts["fold"], facts["origin"]) == (1, "wsss-wsss_wheels 1.2")


def test_an_unknown_option_is_answered_with_those_there_are(wheels: Path) -> None:
    with pytest.raises(DataError, match=r"Did you mean 'fold'.*fold \(0 to 4\)"):
        open_dataset("wheels", wheels, fald=1)
    with pytest.raises(DataError, match=r"fold=5 must lie in 0\.\.4"):
        open_dataset("wheels", wheels, fold=5)


def test_verify_of_the_command_line(
    wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "verify", "--dataset", "wheels", "--data-root", str(wheels)]
    assert main(words) == 0
    assert "usable (0 errors, 0 warnings)" in capsys.readouterr().out
    (wheels / "images" / "v0.jpg").unlink()
    (wheels / "masks" / "t1.png").write_bytes(b"")
    assert main([*words, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    errors = [one["where"] for one in found["findings"] if one["level"] == "error"]
    assert sorted(Path(where).name for where in errors) == ["t1.png", "v0.jpg"]


def test_verify_compares_labels_and_says_what_is_not_sealed(
    site: Path, tmp_path: Path
) -> None:
    text = changed('"masks": (self.root / "masks",)', '"masks": (self.root / "mask",)')
    install_dataset(site, MODULE, text, name="wheels")
    root = draw_wheels(tmp_path / "wheels")
    table = (root / "labels.csv").read_text()
    (root / "labels.csv").write_text(table.replace("t0,1,0", "t0,0,1"))
    findings = verify_dataset(open_dataset("wheels", root))
    open_masks = [one for one in findings if "is not sealed" in one.what]
    assert [Path(one.where).stem for one in open_masks] == [*TRAIN, *VAL]
    assert {one.level for one in open_masks} == {"error"}
    assert any("1 of 3 masks show a class" in one.what for one in findings)


def test_masks_sealed_one_by_one_or_behind_a_link_are_sealed(
    site: Path, tmp_path: Path
) -> None:
    text = changed('(self.root / "masks",)', 'tuple((self.root / "masks").iterdir())')
    install_dataset(site, MODULE, text, name="wheels")
    draw_wheels(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    findings = verify_dataset(open_dataset("wheels", tmp_path / "link"))
    assert {one.level for one in findings} == {"info"}


def test_a_verifier_of_its_own_is_used_and_its_faults_are_named(
    site: Path, tmp_path: Path
) -> None:
    own = "\ndef check(dataset, progress):\n    return [dataset.fold, 1 / dataset.fold]\n\nKIND ="
    text = changed("\nKIND =", own).replace("get=GET)", "get=GET, verify=check)")
    install_dataset(site, MODULE, text, name="wheels")
    root = draw_wheels(tmp_path / "wheels")
    found: list[object] = list(verify_dataset(open_dataset("wheels", root, fold=1)))
    assert found == [1, 1.0]
    message = r"'wheels' \(wsss-wsss_wheels 1\.2\): verifying it failed with ZeroDiv"
    with pytest.raises(DataError, match=message):
        verify_dataset(open_dataset("wheels", root))


def test_dry_run_of_cam(
    wheels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    words = ["run", "--dataset", "wheels", "--data-root", str(wheels)]
    words += ["--methods", "cam", "--dry-run", "--work-dir", str(work)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "localize" in shown
    assert "wheels" in shown
    assert not list(work.rglob("runs/*"))


def test_help_lists_it_and_doctor_says_how_to_get_it(
    wheels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "shapes, voc2012, coco2014, wheels (default: shapes)" in shown
    assert MODULE not in sys.modules
    empty = tmp_path / "empty"
    empty.mkdir()
    fixes = {check.what.partition(":")[0]: check.fix for check in check_data(empty)}
    get = f"unpack wheels.zip of https://example.org/wheels in {empty}"
    assert fixes["wheels"] == get
    here = [check for check in check_data(wheels) if check.what.startswith("wheels at")]
    assert [(check.level, "train, val" in check.what) for check in here] == [
        ("ok", True)
    ]
    with pytest.raises(DataError, match=r"--download.*unpack wheels\.zip"):
        download("wheels", empty)


FAULTS = {
    "import": ("import no_such_module_at_all", r"importing .* ModuleNotFoundError"),
    "exit": ("import sys\nsys.exit(3)", r"importing wsss_wheels:KIND .* SystemExit: 3"),
    "missing": ("", r"AttributeError: .*KIND.*pip uninstall wsss-wsss_wheels"),
    "no kind": ("KIND = 3", r"is a int, not a DatasetKind"),
    "name": (
        changed('DatasetKind("wheels"', 'DatasetKind("wheel"'),
        r"calls itself 'wheel', its entry point 'wheels'",
    ),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS)
def test_a_broken_kind_is_named_and_the_others_work(
    site: Path, tmp_path: Path, text: str, message: str
) -> None:
    install_dataset(site, MODULE, text, name="wheels")
    with pytest.raises(
        DataError, match=r"'wheels' \(wsss-wsss_wheels 1\.2\): " + ""
    ) as caught:
        open_dataset("wheels", tmp_path)
    assert caught.match(message)
    assert main(["run", "--help"]) == 0
    assert open_dataset("shapes", tmp_path).kind == "shapes"
    levels = {check.level for check in check_data(tmp_path) if "'wheels'" in check.what}
    assert levels == {"fail"}


LOADERS = {
    "raises": (
        "self.name = name",
        "self.name = nam",
        r"opening it failed with NameErr",
    ),
    "no name": ("self.name = name", "pass", r"must set `name`, a str"),
    "no splits": ("self.splits = ", "splits = ", r"must set `splits`, a Splits"),
    "kind": ('kind = "wheels"', 'kind = "wheel"', r"`kind` of Wheels must be 'wheels'"),
    "background": ('"background", "rim"', '"rim"', r"must begin with 'background'"),
    "no class": (', "rim", "spoke")', ",)", r"1 to 254 classes besides the background"),
    "no classes": ("    classes =", "    names =", r"must set `classes`, a tuple"),
    "not sealed": ("def sealed", "def seal", r"abstract method '?sealed"),
    "no dataset": (
        '"wheels", Wheels,',
        '"wheels", dict.fromkeys,',
        r"opening it failed",
    ),
    "a dict": (
        '"wheels", Wheels,',
        '"wheels", lambda *a: {},',
        r"made a dict, not a Data",
    ),
}


@pytest.mark.parametrize(("old", "new", "message"), LOADERS.values(), ids=LOADERS)
def test_a_loader_that_breaks_the_agreement_is_told_so(
    site: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    install_dataset(site, MODULE, changed(old, new), name="wheels")
    root = draw_wheels(tmp_path / "wheels")
    with pytest.raises(DataError, match=message) as caught:
        open_dataset("wheels", root)
    assert str(caught.value).startswith("dataset 'wheels' (wsss-wsss_wheels 1.2): ")


def test_a_name_claimed_twice_names_both_and_spares_the_others(
    site: Path, tmp_path: Path
) -> None:
    install_dataset(site, MODULE, example(), name="voc2012")
    install_dataset(site, "kind_one", example(), name="twin")
    install_dataset(site, "kind_two", example(), name="twin", version="9")
    with pytest.raises(DataError, match=r"claimed by wsss-bench and by wsss-wsss_whe"):
        open_dataset("voc2012", tmp_path)
    with pytest.raises(DataError, match=r"claimed by wsss-kind_\w+ .* and by wsss-kin"):
        open_dataset("twin", tmp_path)
    assert [one.name for one in KINDS.listings() if one.problem] == ["voc2012", "twin"]
    assert [kind.name for kind in KINDS.bundled()] == ["shapes", "coco2014"]
    assert main(["run", "--help"]) == 0
    assert open_dataset("shapes", tmp_path).kind == "shapes"


def test_a_kind_may_bring_archives_and_convert_them(site: Path, tmp_path: Path) -> None:
    archive = 'archives=(Archive("file:///nowhere/wheels.zip"),), unpacked=convert)'
    touch = "def convert(root, progress):\n    (root / 'converted').touch()\n"
    convert = f"from wsss_bench.data import Archive\n\n{touch}\nKIND ="
    text = changed("\nKIND =", convert).replace("get=GET)", f"get=GET, {archive}")
    install_dataset(site, MODULE, text, name="wheels")
    with pytest.raises(DataError, match=r"nowhere/wheels\.zip cannot be fetched"):
        download("wheels", tmp_path)
    download("wheels", tmp_path, archives=())
    assert (tmp_path / "converted").exists()


def test_shapes_needs_no_download(tmp_path: Path) -> None:
    download("shapes", tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"no dataset 'shape'.*Did you mean 'shapes'"):
        download("shape", tmp_path)


def test_a_kind_that_makes_nothing_is_ready_and_its_own_preview(wheels: Path) -> None:
    dataset = open_dataset("wheels", wheels)
    assert dataset.ready()
    assert dataset.preview() is dataset
    # Its masks are drawn without a border.
    assert dataset.truth("val") == "masks, no ignored pixels"
