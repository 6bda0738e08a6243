"""Bad input through the command line: a message that names file and remedy, or a counted skip; never a wrong number."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_input_cases import CASES, Case, Place, cut
from run_fakes import fake_predict

from wsss_bench.cli import main
from wsss_bench.runs import pipeline


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.delenv("WSSS_BENCH_DATA_ROOT", raising=False)
    monkeypatch.setattr(pipeline, "predict_images", fake_predict)
    monkeypatch.chdir(tmp_path)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield Place(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.kind}")
def test_bad_input_is_refused_by_name_or_taken_as_documented(
    case: Case, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    extra = case.make(place)
    words = extra if isinstance(extra, list) else []
    for verb, (status, says) in case.expect.items():
        found = main([*place.command(verb), *words])
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        captured = capsys.readouterr()
        output = captured.out + captured.err
        assert found == status, f"{verb}: {output}"
        for word in says:
            assert word in output, f"{verb}: {word!r} is not in:\n{output}"
        assert "Traceback" not in output
        if status:
            assert not list(
                place.folder.glob("work/leaderboards/runs/*/*/record.json")
            ), "a record was written"
    assert not (place.folder / "run").exists(), "code from a file was run"


def test_kinds_are_distinct() -> None:
    names = [(case.group, case.kind) for case in CASES]
    assert len(set(names)) == len(names)


def test_a_run_that_met_a_full_disk_goes_on_where_it_stopped(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    next(case for case in CASES if case.kind.startswith("full disk")).make(place)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert main(place.command("run")) == 1
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    place.probe.write_text(
        place.probe.read_text().replace("(64, ", "(resource.RLIM_INFINITY, ")
    )
    assert main(place.command("run")) == 0
    assert "recorded" in capsys.readouterr().out


def test_row_names_are_text_on_the_page(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    case = next(case for case in CASES if case.kind == "markup as a row's name")
    words = case.make(place)
    assert isinstance(words, list)
    assert main([*place.command("evaluate"), *words]) == 0
    page = (place.boards / "voc2012.html").read_text()
    assert "<img src=x" not in page
    assert "onerror=alert" in page


def test_unusable_images_are_skipped_only_on_demand_counted_and_listed(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(place.photo("b"))
    place.mask("e").write_bytes(b"")
    voc = ["--dataset", "voc2012", "--data-root", str(place.root)]
    assert main(place.command("run")) == 2
    capsys.readouterr()
    assert main(["data", "verify", *voc, "--write-skip", "broken.txt"]) == 1
    assert "broken.txt: 2 images cannot be used." in capsys.readouterr().err
    lines = Path("broken.txt").read_text().splitlines()
    assert [line.split("#")[0].strip() for line in lines] == ["b", "e"]
    assert all("cannot be read" in line for line in lines)
    assert main(["data", "verify", *voc, "--skip", "broken.txt"]) == 0
    assert (
        "skip: 2 images are left out as broken.txt says (1 of train, 1 of val): b, e"
        in capsys.readouterr().err
    )
    assert main([*place.command("run"), "--skip", "broken.txt"]) == 0
    assert "skip: 2 images are left out" in capsys.readouterr().err
    from wsss_bench.results.records import load_records

    (record,) = load_records(place.work / "leaderboards")
    assert record.dataset["sizes"] == {"train": 2, "seeds": 2, "val": 1}
    assert record.dataset["skipped"] == ["b", "e"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\nzebra\n", "1 images that voc2012 does not have (first: 'zebra')"),
        ("a\nb\nc\n", "leaves no image"),
    ],
)
def test_skip_lists_must_fit_the_data(
    text: str, says: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("skip.txt").write_text(text)
    assert main([*place.command("run"), "--skip", "skip.txt"]) == 2
    assert says in capsys.readouterr().err
