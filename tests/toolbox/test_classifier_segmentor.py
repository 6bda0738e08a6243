"""Segmentors with a network of a method's own, and a classifier that is the segmentor itself."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_fakes import (
    SMALL_CLASSIFIER,
    SMALL_SEGMENTOR,
    make_context,
    make_labels,
    make_view,
)
from torch.nn import functional as F

from wsss_bench.contract.artifacts import Segmentor, read_segmentor
from wsss_bench.engine import load_segmentor, predict_probabilities
from wsss_bench.engine.inference import TestSettings
from wsss_bench.errors import RecipeError
from wsss_bench.toolbox.classifier import linear_cam, normalized, train_classifier
from wsss_bench.toolbox.segmentation import classifier_segmentor, train_segmentor
from wsss_bench.toolbox.training import save_state

NETWORK = """
import torch
from mmseg.registry import MODELS
from torch import nn
from wsss_bench.toolbox.training import LinearCamHead

@MODELS.register_module(force=True)
class OneConvolution(nn.Module):
    def __init__(self, num_classes, width=4):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, 2, 1)
        self.last = nn.Conv2d(width, num_classes, 1)

    def _forward(self, images):
        return self.last(self.first(images).relu())

    def loss(self, images, samples):
        labels = torch.stack([sample.gt_sem_seg.data[0] for sample in samples])
        scores = nn.functional.interpolate(self._forward(images), labels.shape[1:])
        return {"loss": nn.functional.cross_entropy(scores, labels, ignore_index=255)}

class Doubled(LinearCamHead):
    def __init__(self, channels, classes, factor=2.0):
        super().__init__(channels, classes)
        self.factor = factor

    def scores(self, features):
        return self.factor * super().scores(features)
"""

LOADED = """
import sys
from pathlib import Path
import torch
from wsss_bench.contract.artifacts import read_segmentor
from wsss_bench.engine import load_segmentor
model = load_segmentor(read_segmentor(Path(sys.argv[1])))
with torch.no_grad():
    torch.save(model(torch.load(sys.argv[2])), sys.argv[3])
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with the module ``own_network``."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "own_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("own_network", None)


def trained(
    folder: Path, loss: str = "ce", modules: tuple[str, ...] = ("own_network",)
) -> Segmentor:
    view = make_view(folder / "images")
    ctx = make_context(folder, {**SMALL_SEGMENTOR, "loss": loss})
    model = {"type": "OneConvolution", "width": 5, "num_classes": 99}
    network = {"model": model, "custom_imports": list(modules)}
    return train_segmentor(view, make_labels(view), ctx, network=network)


def gone(package: Path) -> None:
    """Take the module away, as in a process that does not have its package."""
    (package / "own_network.py").unlink()
    importlib.invalidate_caches()
    del sys.modules["own_network"]


@pytest.mark.parametrize("loss", ["ce", "network"])
def test_a_network_of_ones_own_trains_and_predicts(
    loss: str, package: Path, tmp_path: Path
) -> None:
    segmentor = trained(tmp_path, loss)
    model = load_segmentor(segmentor)
    # The set's number of classes, whatever the config said.
    assert model.net.last.out_channels == 3
    assert model.net.first.out_channels == 5
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 32, 40)).shape == (2, 3, 16, 20)


def test_it_reloads_in_another_process(package: Path, tmp_path: Path) -> None:
    segmentor = trained(tmp_path)
    images = torch.linspace(0, 255, 3 * 16 * 16).view(1, 3, 16, 16)
    given, result = tmp_path / "images.pth", tmp_path / "result.pth"
    torch.save(images, given)
    places = [str(tmp_path / "out"), str(given), str(result)]
    subprocess.run(
        [sys.executable, "-c", LOADED, *places],
        env={**os.environ, "PYTHONPATH": str(package)},
        check=True,
        timeout=300,
    )
    with torch.no_grad():
        here = load_segmentor(segmentor)(images)
    torch.testing.assert_close(torch.load(result), here, rtol=1e-5, atol=1e-6)


def test_a_missing_module_is_named(package: Path, tmp_path: Path) -> None:
    segmentor = trained(tmp_path)
    gone(package)
    what = "module 'own_network', which cannot be imported .*Install the package"
    with pytest.raises(RecipeError, match=what):
        load_segmentor(segmentor)


def test_a_missing_module_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="module 'not_there', which cannot be"):
        trained(tmp_path, modules=("not_there",))
    assert not list(tmp_path.rglob("*.pth"))


def classifier(folder: Path, **options: Any) -> tuple[Any, Any, Path]:
    view = make_view(folder / "images", 6)
    params = {**SMALL_CLASSIFIER, "iterations": 40}
    ctx = make_context(folder / "localize", params)
    model = train_classifier(view, ctx, **options)
    path = folder / "classifier.pth"
    save_state(model.state_dict(), path)
    return view, model, path


def test_a_classifier_labels_pixels_by_its_own_maps(tmp_path: Path) -> None:
    view, model, path = classifier(tmp_path)
    ctx = make_context(tmp_path / "segment", SMALL_CLASSIFIER)
    # From 0 on every class takes part.
    segmentor = classifier_segmentor(path, view, ctx, presence=0.0, background=0.3)
    network = load_segmentor(segmentor)
    image = view[1].read()
    settings = TestSettings.of({})
    found = predict_probabilities(network, image, settings, "cpu").argmax(0)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        maps = normalized(linear_cam(model, pixels, [0, 1]))
    background = torch.full_like(maps[:1], 0.3)
    scores = torch.cat([background, maps]).clamp(min=1e-4)
    # Prediction enlarges logarithms, as it does with every network's logits.
    large = F.interpolate(scores.log()[None], image.shape[:2], mode="bilinear")[0]
    expected = large.argmax(0).numpy()
    assert (found == expected).mean() > 0.999
    assert set(np.unique(found)) > {0}


def test_only_classes_that_it_predicts_take_part(tmp_path: Path) -> None:
    view, model, path = classifier(tmp_path)
    for number, image in enumerate(view):
        pixels = torch.from_numpy(image.read()).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            present = model(pixels).sigmoid()[0]
        between = float(present.mean())
        assert present.min() < between < present.max()
        ctx = make_context(tmp_path / f"segment{number}", SMALL_CLASSIFIER)
        segmentor = classifier_segmentor(path, view, ctx, presence=between)
        with torch.no_grad():
            scores = load_segmentor(segmentor)(pixels)[0]
        absent, there = 1 + int(present.argmin()), 1 + int(present.argmax())
        assert torch.all(scores[absent] == scores.new_tensor(1e-4).log())
        assert scores[there].max() > -0.01


def test_a_higher_background_takes_pixels_away(tmp_path: Path) -> None:
    view, _, path = classifier(tmp_path)
    shares = []
    for background in (0.1, 0.5, 0.9):
        ctx = make_context(tmp_path / f"b{background}", SMALL_CLASSIFIER)
        kept = classifier_segmentor(path, view, ctx, presence=0, background=background)
        network = load_segmentor(kept)
        settings = TestSettings.of({})
        scores = predict_probabilities(network, view[0].read(), settings, "cpu")
        shares.append((scores.argmax(0) > 0).mean())
    assert shares[0] > shares[1] > shares[2] > 0


def test_the_board_says_what_it_is(tmp_path: Path) -> None:
    view, _, path = classifier(tmp_path)
    ctx = make_context(tmp_path / "segment", SMALL_CLASSIFIER)
    classifier_segmentor(path, view, ctx)
    kept = read_segmentor(ctx.out_dir)
    facts = {"network": "the localizer", "backbone": "tiny", "weights": "none"}
    assert kept.facts == facts
    assert kept.test == {}


def test_a_head_of_ones_own_is_imported_where_it_predicts(
    package: Path, tmp_path: Path
) -> None:
    from own_network import Doubled

    view, _, path = classifier(tmp_path, head=Doubled)
    ctx = make_context(tmp_path / "segment", SMALL_CLASSIFIER)
    classifier_segmentor(
        path, view, ctx, "own_network:Doubled", head_options={"factor": 3.0}
    )
    # As in a new process, which has not imported it yet.
    del sys.modules["own_network"]
    kept = read_segmentor(ctx.out_dir)
    assert load_segmentor(kept).net.head.factor == 3.0
    gone(package)
    what = "'own_network:Doubled' cannot be imported .*Install the package"
    with pytest.raises(RecipeError, match=what):
        load_segmentor(kept)
