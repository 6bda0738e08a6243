"""The Python API: what `wsss_bench.run` returns, and that scripts which call it end."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from run_fakes import CLASSES, install, write_plugin

import wsss_bench
from wsss_bench.cli import main
from wsss_bench.errors import ArtifactError, DataError, PluginError, RecipeError
from wsss_bench.results.records import load_records
from wsss_bench.runs.result import RunResult

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = [
    "seeds_best_miou",
    "seeds_fixed_miou",
    "labels_miou",
    "val_miou",
    "val_crf_miou",
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "calls.log"))
    install(monkeypatch, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(place: Path, *methods: str, **more: object) -> RunResult:
    files = sorted(place.glob("*.py"))
    settings = {"plugins": files, "profile": "paper", "device": "cpu", **more}
    result: RunResult = wsss_bench.run(methods, quiet=True, **settings)
    return result


def test_public_names_are_listed_and_imported_on_first_use() -> None:
    assert {"run", "load_board", "RunResult", "hookimpl", "WeakView"} <= set(
        dir(wsss_bench)
    )
    for name in dir(wsss_bench):
        assert getattr(wsss_bench, name) is not None
    code = (
        "import sys, wsss_bench; dir(wsss_bench); heavy = ('numpy', 'pandas', 'torch'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_frames_hold_what_the_records_hold(place: Path) -> None:
    write_plugin(place, "alpha")
    result = run(place, "alpha", "alpha[gain=0.5]/-/-", seeds=(0, 1))
    assert not result.failed
    wide = result.frame()
    assert len(wide) == len(result.cells) == 4
    assert list(wide["cell"]) == [cell.id for cell in result.cells]
    assert set(wide["seed"]) == {0, 1}
    assert wide["error"].isna().all()
    by_run = {record.run_id: record for record in load_records(result.boards)}
    for _, row in wide.iterrows():
        counts = by_run[row["run_id"]].load_counts("seeds_fixed")
        assert counts is not None
        assert row["seeds_fixed_miou"] == 100 * counts.miou()
    seeds_alone = wide[wide["recipe"] != "alpha"]
    assert seeds_alone["val_miou"].isna().all()
    assert wide[wide["recipe"] == "alpha"][NUMBERS].notna().all(axis=None)
    long = result.frame("long")
    assert len(long) == 2 * (5 + 2) * len(CLASSES)
    assert set(long["class"]) == set(CLASSES)
    mean = long.groupby(["cell", "stage"])["iou"].mean()
    for _, row in wide.iterrows():
        assert mean[row["cell"], "seeds_best"] == pytest.approx(row["seeds_best_miou"])
    with pytest.raises(RecipeError, match="Did you mean 'wide'"):
        result.frame("wid")


def test_maps_are_arrays(place: Path) -> None:
    write_plugin(place, "alpha")
    result = run(place, "alpha")
    image = result.images("alpha", "seeds")[0]
    seeds = result.seeds("alpha", image)
    assert set(seeds) <= set(CLASSES[1:])
    label = result.labels(0, image)
    (scores,) = seeds.values()
    assert (scores.dtype, scores.shape) == (np.dtype(np.float32), label.shape)
    (name,) = seeds
    assert label.dtype == np.uint8
    assert np.array_equal(label > 0, scores > 0.5)
    assert set(np.unique(label)) <= {0, CLASSES.index(name)}
    image = result.images("alpha", "prediction")[0]
    raw = result.prediction(result.cells[0].id, image, crf=False)
    assert np.array_equal(raw, result.prediction(result.cells[0], image))
    with pytest.raises(DataError, match=r"there is no cell 'alhpa'.*'alpha'"):
        result.labels("alhpa", image)


def test_a_recipe_that_ran_twice_is_named_by_its_cell(place: Path) -> None:
    write_plugin(place, "alpha")
    result = run(place, "alpha/-/-", seeds=np.arange(2))
    with pytest.raises(DataError, match=r"was run 2 times. Name one of: tiny-alpha"):
        result.cell("alpha/-/-")
    assert result.cell(result.cells[1].id).seed == 1
    with pytest.raises(DataError, match="has no labels, it has seeds"):
        result.labels(0, "im00")


def test_a_failing_cell_raises_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("alpha", "beta"):
        write_plugin(place, name)
    write_plugin(place, "rotten", extra="import no_such_module_at_all\n")
    monkeypatch.setenv("FAKE_DIE", "alpha:2")
    result = run(place, "alpha", "beta", "rotten")
    failed = result.cell("alpha")
    assert set(result.failed) == {failed.id, "rotten"}
    assert "the GPU fell off" in result.failed[failed.id]
    assert "no_such_module_at_all" in result.failed["rotten"]
    wide = result.frame().set_index("recipe")
    assert "the GPU fell off" in str(wide.loc["alpha", "error"])
    assert wide.loc[["alpha"], NUMBERS].isna().all(axis=None)
    assert wide.loc[["beta"], NUMBERS].notna().all(axis=None)
    assert set(result.frame("long")["recipe"]) == {"beta"}
    with pytest.raises(PluginError, match="no_such_module_at_all"):
        run(place, "rotten")
    monkeypatch.setenv("FAKE_DIE", "beta:2")
    alone = run(place, "beta[gain=0.5]")
    assert list(alone.frame("long").columns)[-3:] == ["stage", "class", "iou"]


def test_a_notebook_shows_the_table_and_what_failed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(place, "alpha")
    write_plugin(place, "beta")
    monkeypatch.setenv("FAKE_DIE", "alpha:2")
    result = run(place, "alpha", "beta/-/-")
    html = result._repr_html_()
    assert "<td>beta/-/-</td>" in html
    assert "failed: tiny-alpha" in html
    assert "val_miou" not in html  # nothing was predicted: a column of dashes says less
    shown = wsss_bench.load_board(result.boards)._repr_html_()
    assert "<td>beta/-/-</td>" in shown


def test_the_same_call_and_the_same_command_share_everything(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = write_plugin(place, "alpha")
    result = run(
        place, "alpha", work_dir="work", options={"localize.gain": np.float64(0.9)}
    )
    log = (place / "calls.log").read_bytes()
    assert capsys.readouterr() == ("", "")
    (record,) = load_records(result.boards)
    words = list(record.command[1:])
    assert words[:4] == ["run", "--methods=alpha", "--seeds", "0"]
    assert "localize.gain=0.9" in words
    # A record keeps names, not places.
    words[words.index("--plugin") + 1] = str(plugin)
    assert main(words) == 0
    assert (place / "calls.log").read_bytes() == log
    assert "localize: cached" in capsys.readouterr().out
    assert len(load_records(result.boards)) == 1


def test_boards_that_cannot_be_built_do_not_take_the_result_away(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = write_plugin(place, "alpha")
    record = load_records(run(place, "alpha/-/-").boards)[0]
    assert record.folder is not None
    (record.folder / "seeds_fixed.npz").write_bytes(b"damaged")
    words = ["--profile", "paper", "--device", "cpu", "--plugin", str(plugin)]
    assert main(["run", "--methods", "alpha[gain=0.5]/-/-", *words]) == 2
    said = capsys.readouterr().err
    assert "seeds_fixed.npz cannot be read" in said
    result = run(place, "alpha[gain=0.5]/-/-")
    assert result.unbuilt is not None
    assert f"wsss-bench run: {result.unbuilt}\n" == said
    assert result.frame()["seeds_fixed_miou"].notna().all()
    assert "seeds_fixed.npz cannot be read" in result._repr_html_()


def test_results_can_be_sent_to_another_process(place: Path) -> None:
    write_plugin(place, "alpha")
    result = run(place, "alpha")
    again = pickle.loads(pickle.dumps(result))
    assert again == result
    assert again.frame().equals(result.frame())


def test_progress_is_written_unless_quiet(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = write_plugin(place, "alpha")
    wsss_bench.run(
        "alpha/-/-", plugins=plugin, profile="paper", device="cpu", workers=1
    )
    out, err = capsys.readouterr()
    assert "[alpha/-/- seed 0] localize: done in" in out
    assert err == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": (1, 1)}, "distinct"),
        ({"seeds": ()}, "distinct"),
        ({"device": "tpu"}, "--device 'tpu' is not known"),
        ({"workers": 0}, "at least 1"),
        ({"log": "tensorbord"}, "Did you mean 'tensorboard'"),
        ({"options": {"localize.gian": 2}}, "Did you mean 'gain'"),
        ({"options": {"gain": 2}}, "must begin with a stage"),
        ({"options": {"localize.gain": object()}}, "object is no parameter"),
        ({"options": {"localize.gain": "x"}}, "a number like 1.0 is expected"),
    ],
)
def test_a_request_that_cannot_be_understood_raises(
    settings: dict[str, object], message: str, place: Path
) -> None:
    write_plugin(place, "alpha")
    with pytest.raises(RecipeError, match=re.escape(message)):
        run(place, "alpha", **settings)
    assert not (place / "calls.log").exists()


def test_a_board_is_read_from_its_records_alone(place: Path) -> None:
    write_plugin(place, "alpha")
    result = run(place, "alpha", "alpha[gain=0.5]")
    board = wsss_bench.load_board(result.boards)
    assert board.datasets == ("tiny",)
    assert set(board.frame()["run_id"]) == set(result.frame()["run_id"])
    assert len(board.frame("long", dataset="tiny")) == len(result.frame("long"))
    with pytest.raises(DataError, match=r"no run on 'tyni'.*Did you mean 'tiny'"):
        board.frame(dataset="tyni")
    with pytest.raises(DataError, match="there are no runs"):
        wsss_bench.load_board(place / "nowhere")


# ---- scripts: each in a process of its own, and each without an `if __name__ == "__main__"` guard

METHOD = """
import os
import numpy as np
from wsss_bench import MethodCard, Seed, hookimpl
from wsss_bench.toolbox.parallel import per_image

@hookimpl
def method_card():
    return MethodCard(name="pooled", version="1", stages=("localize",))

def seed(job):
    with open("pids.txt", "a") as handle:
        handle.write(f"{os.getpid()}\\n")
    present, size = job
    return Seed(np.array(present), np.full((len(present), *size), 0.5, np.float32), size)

@hookimpl
def localize(view, out, ctx):
    return per_image(seed, view, out, ctx, lambda image: (image.present, image.read().shape[:2]))
"""

SCRIPT = """
import wsss_bench
import os
print("the script runs", os.getpid(), flush=True)
result = wsss_bench.run(
    ["pooled/-/-"],
    plugins=["pooled.py"],
    data_options={"train": 60, "val": 1, "size": 48},
    device="cpu",
    workers=2,
    quiet=True,
)
print(len(result.frame()), dict(result.failed))
"""

NOTEBOOK = """
import os
from wsss_bench.toolbox.parallel import imap
print("the script runs", flush=True)

def square(number):
    return number * number, os.getpid()

class Job:
    pass

found = list(imap(square, range(60), 2, 60))
assert sorted(value for value, _ in found) == [n * n for n in range(60)]
assert {pid for _, pid in found} == {os.getpid()}
assert len(list(imap(len, ([Job()] for _ in range(60)), 2, 60))) == 60
assert len(list(imap(lambda number: number, range(60), 2, 60))) == 60
assert len(list(imap(abs, range(60), 2, 60))) == 60
"""


def script(
    place: Path, text: str, *flags: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    (place / "script.py").write_text(text)
    return subprocess.run(
        [sys.executable, *flags, "script.py"],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def assert_it_ran_once_and_its_pool_worked(
    done: subprocess.CompletedProcess[str], place: Path
) -> None:
    first, *rest = done.stdout.splitlines()
    assert rest == ["1 {}"], done.stderr
    assert first.startswith("the script runs ")
    pids = (place / "pids.txt").read_text().split()
    assert len(pids) == 60
    assert first.split()[-1] not in pids


def test_a_script_without_a_guard_ends_and_uses_its_processes(tmp_path: Path) -> None:
    (tmp_path / "pooled.py").write_text(METHOD)
    done = script(tmp_path, SCRIPT)
    assert done.returncode == 0, done.stderr
    assert_it_ran_once_and_its_pool_worked(done, tmp_path)


@pytest.mark.parametrize("guarded", [False, True])
def test_a_script_may_be_its_own_plugin_if_it_has_a_guard(
    guarded: bool, tmp_path: Path
) -> None:
    call = SCRIPT.replace("pooled.py", "script.py")
    if guarded:
        lines = call.strip().splitlines()
        call = "if __name__ == '__main__':\n" + "\n".join(f"    {x}" for x in lines)
    done = script(tmp_path, METHOD + call)
    if guarded:
        assert_it_ran_once_and_its_pool_worked(done, tmp_path)
    else:
        assert done.returncode == 1
        assert "Put the call below `if __name__" in done.stderr.splitlines()[-1]


def test_what_a_script_itself_defines_runs_in_its_process_and_the_log_says_so(
    tmp_path: Path,
) -> None:
    done = script(tmp_path, NOTEBOOK)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["the script runs"]
    said = "a function or class of the main module cannot be sent to worker processes"
    assert done.stderr.count(said) == 3
    assert "Traceback" not in done.stderr


def test_the_page_of_the_python_api_runs_as_printed(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) == 5
    done = script(tmp_path, "\n".join([*blocks, "print(wide.to_json())"]))
    assert done.returncode == 0, done.stderr
    wide = json.loads(done.stdout.splitlines()[-1])
    assert set(wide["recipe"].values()) == {"cam", "cam/densecrf/_"}
    assert all(wide[name]["0"] > 0 for name in NUMBERS)


def test_every_argument_is_in_the_table_of_the_page() -> None:
    import inspect

    page = (ROOT / "docs" / "python.md").read_text()
    rows = " ".join(line.split("|")[1] for line in page.splitlines() if "|" in line)
    for name in inspect.signature(wsss_bench.run).parameters:
        assert f"`{name}`" in rows


def test_the_example_script_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    example = (ROOT / "docs" / "examples" / "plot_class_iou.py").read_text()
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    small = (
        "import functools, wsss_bench\n"
        "size = {'train': 16, 'val': 4, 'size': 64, 'seed': 1}\n"
        "wsss_bench.run = functools.partial(wsss_bench.run, data_options=size, profile='check', device='cpu')\n"
    )
    done = script(tmp_path, small + example, MPLBACKEND="agg")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "boats.png").stat().st_size > 1000


def test_what_cannot_end_well_raises_before_anything_is_computed(place: Path) -> None:
    write_plugin(place, "alpha")
    (place / "file").write_text("")
    with pytest.raises(ArtifactError, match=r"--leaderboard-dir .* is no folder"):
        run(place, "alpha", leaderboard_dir=place / "file" / "boards")
    with pytest.raises(RecipeError, match="distinct whole numbers"):
        run(place, "alpha", seeds=(True,))
    with pytest.raises(DataError, match="'a/b' cannot name"):
        run(place, "alpha", name="a/b")
    assert not (place / "calls.log").exists()
    assert not (place / "work_dirs").exists()
    assert not run(place, "alpha/-/-", rehash=True).failed
