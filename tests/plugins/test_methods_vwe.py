from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_fakes import SMALL_CLASSIFIER, make_context, make_view, stage_params
from torch.nn import functional as F

from wsss_bench.contract.artifacts import SeedWriter
from wsss_bench.engine.training import seeded
from wsss_bench.errors import RecipeError
from wsss_bench.toolbox.classifier import build_classifier
from wsss_plugins.vwe.head import VweHead, fused_cam
from wsss_plugins.vwe.maths import assign_words, normalise_maps
from wsss_plugins.vwe.plugin import plugin

OWN = {
    "encoder": True,
    "words": 6,
    "pooling": "hspp",
    "gamma": 2.0,
    "levels": (1, 2, 4),
    "hist": "sum",
    "word_feat": "hspp",
}
PARAMS = {
    **SMALL_CLASSIFIER,
    **OWN,
    "fuse": "max",
    "flip_merge": "max",
    "threshold": 0.14,
}
TARGETS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


def head_of(**changes: Any) -> VweHead:
    return seeded(lambda: VweHead(5, 3, {**PARAMS, **changes}), 0, "test")


def features() -> torch.Tensor:
    return torch.rand(
        2, 5, 8, 8, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()


def test_three_losses_each_a_binary_cross_entropy() -> None:
    head, x = head_of(), features()
    losses = head.loss(x, TARGETS)
    assert list(losses) == ["loss_cls", "loss_word", "loss_word_to_image"]
    with torch.no_grad():
        p = assign_words(x, head.codebook)
        words = F.one_hot(p.argmax(1), 6).flatten(1, 2).amax(1).float()
        pooled = head.pooled(x, "hspp")
        bce = F.binary_cross_entropy_with_logits
        assert losses["loss_cls"].item() == pytest.approx(
            bce(pooled @ head.classifier.weight.flatten(1).T, TARGETS).item()
        )
        assert losses["loss_word"].item() == pytest.approx(
            bce(head.word_classifier(pooled), words).item()
        )
        assert losses["loss_word_to_image"].item() == pytest.approx(
            bce(head.word_to_image(p.sum((2, 3))), TARGETS).item()
        )


def test_the_word_to_image_loss_trains_the_codebook_and_no_feature() -> None:
    head, x = head_of(), features()
    losses = head.loss(x, TARGETS)
    losses["loss_word_to_image"].backward(retain_graph=True)
    assert x.grad is None or x.grad.abs().max() == 0
    assert head.codebook.grad.abs().max() > 0
    assert head.word_to_image.weight.grad.abs().max() > 0
    assert head.classifier.weight.grad is None
    head.codebook.grad = None
    (losses["loss_cls"] + losses["loss_word"]).backward()
    assert x.grad.abs().max() > 0
    assert head.codebook.grad is None  # which words occur is a target, not a prediction


def test_without_the_encoder_nothing_of_it_is_left() -> None:
    head = head_of(encoder=False)
    assert [name for name, _ in head.named_parameters()] == ["classifier.weight"]
    assert list(head.loss(features(), TARGETS)) == ["loss_cls"]
    with_encoder = {name for name, _ in head_of().named_parameters()}
    assert with_encoder == {
        "classifier.weight",
        "codebook",
        "word_classifier.weight",
        "word_to_image.weight",
    }


def test_the_baseline_is_global_average_pooling() -> None:
    head, x = head_of(encoder=False, pooling="gap"), features()
    expected = head.cam(x).mean((2, 3))
    assert torch.allclose(head.scores(x), expected, atol=1e-6)
    assert not torch.allclose(head_of(encoder=False).scores(x), expected, atol=1e-3)


def test_paper_and_release_differ_in_histogram_and_word_feature() -> None:
    x = features()
    base = head_of().loss(x, TARGETS)
    mean = head_of(hist="mean").loss(x, TARGETS)
    gap = head_of(word_feat="gap").loss(x, TARGETS)
    assert mean["loss_word_to_image"] != base["loss_word_to_image"]
    assert mean["loss_word"] == base["loss_word"]
    assert gap["loss_word"] != base["loss_word"]
    assert gap["loss_cls"] == base["loss_cls"]


def test_fusion() -> None:
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 255
    maps = {}
    for fuse in ("none", "max"):
        head = partial(VweHead, params=PARAMS)
        model = seeded(
            lambda head=head: build_classifier(SMALL_CLASSIFIER, 3, head), 0, "x"
        ).eval()
        with torch.no_grad():
            maps[fuse] = fused_cam(model, pixels, [2, 0], fuse)
            image_maps = model.head.cam(model.features(pixels))[:, [2, 0]]
            word_maps = model.head.word_maps(model.features(pixels))[:, [2, 0]]
    assert torch.equal(maps["none"], image_maps[0].relu())
    expected = torch.maximum(normalise_maps(image_maps), normalise_maps(word_maps))[0]
    assert torch.equal(maps["max"], expected)
    assert (maps["max"] >= normalise_maps(image_maps)[0]).all()
    with torch.no_grad():
        assert fused_cam(model, pixels, []).shape[0] == 0


@pytest.mark.parametrize(
    "changed",
    [{"pooling": "max"}, {"hist": "median"}, {"word_feat": "cls"}],
)
def test_unknown_choices_are_refused(changed: dict[str, str]) -> None:
    ((key, value),) = changed.items()
    with pytest.raises(RecipeError, match=f"vwe: {key}='{value}' is not known; use"):
        head_of(**changed)


def test_an_unknown_fusion_is_refused_before_the_training(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 3)
    ctx = make_context(tmp_path, {**PARAMS, "fuse": "mean"})
    with pytest.raises(RecipeError, match="vwe: fuse='mean' is not known; use"):
        plugin.localize(view, SeedWriter(tmp_path / "out", view, "vwe"), ctx)
    assert not (ctx.scratch / "classifier").exists()


@pytest.mark.parametrize("changes", [{}, {"encoder": False, "pooling": "gap"}])
def test_localize_trains_and_writes_seeds(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    view = make_view(tmp_path / "images", 3)
    params = {**PARAMS, "iterations": 2, **changes}
    seeds = plugin.localize(
        view, SeedWriter(tmp_path / "out", view, "vwe"), make_context(tmp_path, params)
    )
    assert all(seeds[image.id].problems(image.labels) == [] for image in view)


def test_the_rows_of_its_table_1_are_parameters() -> None:
    baseline = stage_params("vwe[encoder=False,pooling=gap]", "localize", "paper")
    assert (baseline["encoder"], baseline["pooling"]) == (False, "gap")
    assert stage_params("vwe[pooling=gap]", "localize", "paper")["encoder"] is True
