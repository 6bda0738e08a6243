"""During a run the sealed masks stay shut: a plugin that opens one fails by name, and nothing else is held up."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import plugin_fakes
import pytest
from run_fakes import fake_predict, write_plugin

from wsss_bench.cli import main
from wsss_bench.errors import LeakError
from wsss_bench.io.sealing import Seal, armed, shut
from wsss_bench.runs import pipeline
from wsss_bench.runs.source import Source

SHAPES = [
    "--data-option",
    "train=4",
    "--data-option",
    "val=2",
    "--data-option",
    "size=48",
]
SWALLOWED = "import contextlib\n            with contextlib.suppress(Exception):\n                "
IN_WORKERS = """
from wsss_bench import MethodCard, hookimpl
from wsss_bench.toolbox.parallel import per_image
import numpy as np


class Method:
    @hookimpl
    def method_card(self):
        return MethodCard(name="pooled", version="1", stages=("refine",))

    @hookimpl
    def refine(self, view, out, ctx):
        return per_image(label, view, out, ctx, lambda image: image.path)


def label(path):
    try:
        open(path.parent.parent / "SegmentationClass" / (path.stem + ".png"))
    except Exception:
        pass
    return np.zeros((48, 48), np.uint8)


plugin = Method()
"""


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    folder = tmp_path / "SegmentationClass"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"secret")
    return folder


def test_what_is_shut_can_be_opened_before_and_after(
    masks: Path, tmp_path: Path
) -> None:
    (masks / "a.png").read_bytes()
    (tmp_path / "link").symlink_to(masks)
    attempts = [
        lambda: (masks / "a.png").read_bytes(),
        lambda: os.listdir(masks),
        lambda: os.open(tmp_path / "link" / "a.png", os.O_RDONLY),
        lambda: (masks / "a.png").rename(tmp_path / "taken"),
    ]
    for attempt in attempts:
        message = r"^m \(d 1\): refine: SegmentationClass(/a\.png)? is a sealed mask\. A method may look at the images"
        with (
            pytest.raises(LeakError, match=message),
            shut([masks], tmp_path / "log", "m (d 1): refine"),
        ):
            attempt()
    with shut([masks], tmp_path / "log", "m"):
        (tmp_path / "beside").write_text("x")
    assert not (tmp_path / "log").exists()
    assert armed() == ()
    assert (masks / "a.png").read_bytes() == b"secret"


def test_a_refusal_that_is_swallowed_or_turned_into_another_error_fails_all_the_same(
    masks: Path, tmp_path: Path
) -> None:
    def swallow(then: Exception | None = None) -> None:
        try:
            (masks / "a.png").read_bytes()
        except LeakError:
            if then is not None:
                raise then from None

    with (
        pytest.raises(LeakError, match=r"m: SegmentationClass/a\.png"),
        shut([masks], tmp_path / "log", "m"),
    ):
        swallow()
    with (
        pytest.raises(LeakError, match=r"m: SegmentationClass/a\.png") as caught,
        shut([masks], tmp_path / "log", "m"),
    ):
        swallow(ValueError("cannot go on"))
    assert isinstance(caught.value.__cause__, ValueError)
    with (
        pytest.raises(ValueError, match="nothing to do"),
        shut([masks], tmp_path / "log", "m"),
    ):
        raise ValueError("nothing to do with masks")


def test_a_seal_can_be_sent_to_another_process_and_shuts_single_files(
    tmp_path: Path,
) -> None:
    (tmp_path / "instances.json").write_text("{}")
    (tmp_path / "captions.json").write_text("{}")
    with shut([tmp_path / "instances.json"], tmp_path / "log", "m"):
        assert pickle.loads(pickle.dumps(armed())) == armed()
        assert isinstance(armed()[0], Seal)
        (tmp_path / "captions.json").read_text()
    sealed = shut([tmp_path / "instances.json"], tmp_path / "log", "m")
    with (
        pytest.raises(LeakError, match=r"m: instances\.json is a sealed annotation"),
        sealed,
    ):
        (tmp_path / "instances.json").read_text()


def test_a_card_opens_what_it_declares() -> None:
    class Data:
        def sealed(self) -> dict[str, tuple[Path, ...]]:
            return {"masks": (Path("m"),), "boxes": (Path("b"),)}

    source = Source(Data())  # type: ignore[arg-type]
    assert source.sealed(("image labels",)) == (Path("m"), Path("b"))
    assert source.sealed(("image labels", "boxes")) == (Path("m"),)
    assert source.sealed(("image labels", "masks")) == ()


def test_every_dataset_says_where_its_truth_lies(tmp_path: Path) -> None:
    from wsss_bench.data.opening import open_dataset

    dataset = open_dataset("shapes", tmp_path, train=2, val=2, size=48)
    dataset.prepare()
    masks = [
        dataset.masks(split).path(i)
        for split in ("train", "val")
        for i in dataset.masks(split).ids
    ]
    assert masks
    assert {path.parent for path in masks} <= set(dataset.sealed()["masks"])


def bench(folder: Path, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run on a few drawn photographs; the status, and every cell's failure by its recipe."""
    data = ["--data-root", str(folder / "data"), *SHAPES, "--profile", "paper"]
    code = main(
        ["run", *words, *data, "--work-dir", str(folder / "work"), "--device", "cpu"]
    )
    cells = [
        json.loads(path.read_text())
        for path in (folder / "work" / "cells").glob("*.json")
    ]
    return code, {cell["recipe"]: cell["failure"] for cell in cells}


@pytest.fixture
def fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(pipeline, "predict_images", fake_predict)
    return ["--plugin", str(write_plugin(tmp_path, "fine"))]


def test_a_plugin_that_opens_a_mask_fails_by_name_and_the_others_run(
    tmp_path: Path, fine: list[str]
) -> None:
    peeks = plugin_fakes.write(tmp_path, "peeks", plugin_fakes.BROKEN)
    sly = plugin_fakes.write(tmp_path, "sly")
    swallowed = f"{plugin_fakes.READ}; {SWALLOWED}open({plugin_fakes.MASK})"
    sly.write_text(sly.read_text().replace(plugin_fakes.READ, swallowed))
    recipes = "peeks/peeks/fine,sly/sly/fine,fine,-/supervised/fine"
    code, failures = bench(
        tmp_path,
        "--methods",
        recipes,
        *fine,
        "--plugin",
        str(peeks),
        "--plugin",
        str(sly),
        "--workers",
        "1",
    )
    assert code == 1
    for name in ("peeks", "sly"):
        failure = failures[f"{name}/{name}/fine"]
        assert failure["kind"] == "LeakError"
        assert failure["step"] == "localize"
        expected = f"{name} ({name}.py local): localize: SegmentationClass/train_00000.png is a sealed mask."
        assert failure["error"].startswith(expected)
    assert failures["fine"] is None
    assert failures["-/supervised/fine"] is None


def test_worker_processes_are_watched_too(
    tmp_path: Path, fine: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsss_bench.toolbox import parallel

    monkeypatch.setattr(parallel, "_MIN_FOR_POOL", 2)
    (tmp_path / "pooled.py").write_text(IN_WORKERS)
    words = [
        "--methods",
        "fine/pooled/fine",
        *fine,
        "--plugin",
        str(tmp_path / "pooled.py"),
        "--workers",
        "2",
    ]
    code, failures = bench(tmp_path, *words)
    assert code == 1
    failure = failures["fine/pooled/fine"]
    assert failure["kind"] == "LeakError"
    assert failure["error"].startswith(
        "pooled (pooled.py local): refine: SegmentationClass/train_0000"
    )


def test_the_network_of_a_plugin_predicts_behind_the_seal(
    tmp_path: Path, fine: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def peek(segmentor: Any, view: Any, out: Any, out_crf: Any, ctx: Any) -> None:
        (
            view[0].path.parent.parent / "SegmentationClass" / f"{view[0].id}.png"
        ).read_bytes()

    monkeypatch.setattr(pipeline, "predict_images", peek)
    code, failures = bench(tmp_path, "--methods", "fine", *fine, "--workers", "1")
    assert code == 1
    assert failures["fine"]["kind"] == "LeakError"
    assert failures["fine"]["error"].startswith(
        "fine (fine.py local): prediction: SegmentationClass/val_00000.png"
    )
