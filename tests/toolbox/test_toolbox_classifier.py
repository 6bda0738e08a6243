from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_fakes import SMALL_CLASSIFIER, make_context, make_view
from torch import nn

from wsss_bench.contract.artifacts import SeedSet, SeedWriter
from wsss_bench.engine.models import LinearCamHead, MultiLabelClassifier
from wsss_bench.engine.training import seeded
from wsss_bench.errors import RecipeError
from wsss_bench.toolbox.classifier import (
    build_classifier,
    grad_cam,
    linear_cam,
    multi_scale,
    normalized,
    pixels_of,
    train_classifier,
    write_seeds,
)
from wsss_bench.toolbox.saliency import (
    background_cue,
    external_background,
    gradient_saliency,
)

HSPP = {
    "encoder": False,
    "pooling": "hspp",
    "gamma": 2.0,
    "levels": (1, 2, 4),
    "hist": "sum",
    "word_feat": "hspp",
    "fuse": "none",
}


def model_of(head: Any = LinearCamHead) -> MultiLabelClassifier:
    return seeded(lambda: build_classifier(SMALL_CLASSIFIER, 3, head), 0, "test").eval()


def image(height: int = 48, width: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(
        0, 255, (height, width, 3), dtype=np.uint8
    )


def test_maps_are_divided_by_their_maximum_plus_epsilon() -> None:
    maps = torch.tensor([[[0.0, 2.0, 4.0]], [[0.0, 0.0, 0.0]]])
    assert normalized(maps)[0, 0].tolist() == pytest.approx(
        [0, 0.49999875, 0.9999975], abs=1e-7
    )
    assert normalized(maps)[1].tolist() == [[0, 0, 0]]


def test_logits_of_the_linear_head_are_the_mean_of_its_map() -> None:
    model = model_of()
    with torch.no_grad():
        features = model.features(pixels_of(image(), (48, 40), "cpu"))
        assert torch.allclose(
            model.head.scores(features),
            model.head.cam(features).mean((2, 3)),
            atol=1e-6,
        )
        loss = model.head.loss(features, torch.tensor([[1.0, 0.0, 1.0]]))["loss_cls"]
        p = model.head.scores(features).sigmoid()[0]
    assert loss.item() == pytest.approx(
        -(p[0].log() + (1 - p[1]).log() + p[2].log()).item() / 3, abs=1e-5
    )


def test_gradcam_is_cam_for_pool_then_linear_heads() -> None:
    from wsss_plugins.vwe.head import VweHead

    def hspp(channels: int, classes: int) -> nn.Module:
        return VweHead(channels, classes, HSPP)

    for head in (LinearCamHead, hspp):
        model = model_of(head)
        pixels = pixels_of(image(), (48, 40), "cpu")
        with torch.no_grad():
            cam, grad = (
                linear_cam(model, pixels, [0, 2]),
                grad_cam(model, pixels, [0, 2]),
            )
        assert cam.max() > 0
        assert torch.allclose(cam, grad, atol=1e-5 * cam.max().item())
        assert torch.allclose(normalized(cam), normalized(grad), atol=1e-4)


def test_an_image_has_the_same_map_alone_and_in_a_batch() -> None:
    model = model_of()
    batch = torch.cat([pixels_of(image(seed=n), (48, 40), "cpu") for n in range(3)])
    with torch.no_grad():
        together = model.head.cam(model.features(batch))
        alone = torch.cat([model.head.cam(model.features(one[None])) for one in batch])
    assert torch.allclose(together, alone, atol=1e-5)


def test_maps_of_some_classes_are_those_of_all() -> None:
    model = model_of()
    with torch.no_grad():
        everything = multi_scale(model, image(), [0, 1, 2], (1.0, 0.5), "cpu")
        some = multi_scale(model, image(), [2], (1.0, 0.5), "cpu")
    assert torch.allclose(everything[2:], some, atol=1e-6)


def test_scales_and_mirror_are_summed_on_a_quarter_of_the_size() -> None:
    seen = []

    def maps(model: Any, pixels: torch.Tensor, classes: list[int]) -> torch.Tensor:
        seen.append(tuple(pixels.shape[2:]))
        plane = torch.zeros(1, 2, 2)
        plane[0, 0, 0] = float(len(seen))
        return plane

    found = multi_scale(None, image(41, 50), [0], (1.0, 0.5), "cpu", maps)  # type: ignore[arg-type]
    assert seen == [(41, 50), (41, 50), (20, 25), (20, 25)]
    assert found.shape == (1, 11, 13)
    # pass 1 left + its mirror (pass 2) right: 1 + 3 on the left, 2 + 4 on the right
    assert found[0, 0, 0] / found[0, 0, -1] == pytest.approx(4 / 6, abs=1e-5)
    seen.clear()
    largest = multi_scale(
        None, image(41, 50), [0], (1.0,), "cpu", maps, flip_merge="max", warp=32
    )  # type: ignore[arg-type]
    assert seen == [(32, 32), (32, 32)]
    assert largest.shape == (1, 8, 8)
    seen.clear()
    multi_scale(None, image(41, 50), [0], (1.0,), "cpu", maps, flip=False)  # type: ignore[arg-type]
    assert len(seen) == 1


def test_an_image_without_tags_has_no_maps_and_is_no_error(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 2, tags=lambda n: (1,) if n else ())
    ctx = make_context(tmp_path, {**SMALL_CLASSIFIER, "warp": 0, "saliency_stage": 1})
    model = model_of()
    for name, maps in (("cam", linear_cam), ("gradcam", grad_cam)):
        out = SeedWriter(tmp_path / name, view, "test")
        seeds = write_seeds(model, view, out, ctx, maps)
        assert seeds["im0"].scores.shape == (0, 8, 10)
        assert seeds["im1"].scores.shape == (1, 8, 10)


def test_training_leaves_tagless_images_out_and_learns(tmp_path: Path) -> None:
    view = make_view(
        tmp_path / "images", 5, tags=lambda n: (1 + n % 2,) if n < 4 else ()
    )
    losses: list[float] = []

    class Watched(LinearCamHead):
        def loss(
            self, features: torch.Tensor, targets: torch.Tensor
        ) -> dict[str, torch.Tensor]:
            assert (targets.sum(1) > 0).all()
            found = super().loss(features, targets)
            losses.append(found["loss_cls"].item())
            return found

    params = {**SMALL_CLASSIFIER, "iterations": 25, "new_mult": 1.0, "batch": 4}
    model = train_classifier(view, make_context(tmp_path, params), Watched)
    assert not model.training
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_epochs_set_steps_and_lengths_are_counted_in_tagged_images(
    tmp_path: Path,
) -> None:
    view = make_view(tmp_path / "images", 5, tags=lambda n: (1,) if n else ())
    seen: list[int] = []
    params = {
        **SMALL_CLASSIFIER,
        "iterations": 0,
        "epochs": 3,
        "schedule": "step",
        "step_epochs": 1,
        "step_factor": 0.1,
    }
    ctx = make_context(
        tmp_path, params, progress=lambda what, done, total: seen.append(total)
    )
    train_classifier(view, ctx)
    assert seen == [6] * 6


def test_seeds_keep_the_contract_and_only_missing_ones_are_made(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 3, tags=lambda n: (1, 2) if n == 2 else (1,))
    model = model_of()
    ctx = make_context(tmp_path, SMALL_CLASSIFIER)
    seeds = write_seeds(model, view, SeedWriter(tmp_path / "seeds", view, "test"), ctx)
    seed = seeds["im2"]
    assert seed.class_ids.tolist() == [1, 2]
    assert seed.size == (32, 40)
    assert seed.scores.shape == (2, 8, 10)
    assert seed.scores.min() >= 0
    assert seed.scores.max() == pytest.approx(1, abs=1e-2)
    assert seed.problems((1, 2)) == []
    assert seed.background is None
    calls = []

    def maps(m: Any, pixels: torch.Tensor, classes: list[int]) -> torch.Tensor:
        calls.append(classes)
        return linear_cam(m, pixels, classes)

    pack = tmp_path / "seeds" / "items" / "000.npz"
    before = pack.read_bytes()
    fresh = SeedWriter(tmp_path / "fresh", view, "test")
    for image in view:
        if image.id != "im1":
            fresh.write(image.id, seeds[image.id])
    write_seeds(model, view, fresh, ctx, maps)
    assert len(calls) == 4  # two scales, mirrored, of one image
    assert (tmp_path / "fresh" / "items" / "000.npz").read_bytes() == before


def test_background_is_where_no_class_listens(tmp_path: Path) -> None:
    model = model_of()
    pixels = pixels_of(image(64, 64), (64, 64), "cpu")
    saliency = gradient_saliency(model, pixels, 1)
    assert saliency.shape == (16, 16)
    assert saliency.min() >= 0
    assert saliency.max() > 0
    # the definition, through the whole network at once
    features: list[torch.Tensor] = []
    x = model.normalize(pixels)
    for index, stage in enumerate(model.backbone.stages):
        x = stage(x)
        if index == 1:
            x = x.detach().requires_grad_()
            features.append(x)
            x = x * 1.0
    (gradient,) = torch.autograd.grad(model.head.scores(x).sum(), features[0])
    import cv2

    assert np.allclose(
        saliency, cv2.medianBlur(gradient[0].abs().amax(0).numpy(), 3), atol=1e-7
    )
    cue = background_cue(model, image(64, 64), (8, 10), 0, 1, "cpu")
    assert cue.shape == (8, 10)
    assert cue.dtype == np.float32
    assert 0 <= cue.min() <= cue.max() <= 1


def test_background_from_a_folder_of_saliency_maps(tmp_path: Path) -> None:
    from PIL import Image

    from wsss_bench.errors import DataError

    grey = np.zeros((8, 8), np.uint8)
    grey[:, 4:] = 255
    Image.fromarray(grey).save(tmp_path / "a.png")
    found = external_background(tmp_path, "a", (4, 4))
    assert found[:, 0].tolist() == [1] * 4
    assert found[:, 3].tolist() == [0] * 4
    with pytest.raises(DataError, match=r"b\.png is missing.*saliency_dir"):
        external_background(tmp_path, "b", (4, 4))


def test_seeds_in_bfloat16_are_nearly_those_in_full_precision(tmp_path: Path) -> None:
    view, model = make_view(tmp_path / "images", 2), model_of()

    def seeds_in(precision: str) -> SeedSet:
        ctx = make_context(tmp_path, {**SMALL_CLASSIFIER, "test_amp": precision})
        return write_seeds(
            model, view, SeedWriter(tmp_path / f"seeds-{precision}", view, "test"), ctx
        )

    full, half = seeds_in(""), seeds_in("bf16")
    for image in view:
        one, other = full[image.id].scores, half[image.id].scores
        assert not np.array_equal(one, other)
        assert np.abs(one - other).max() < 0.05
    with pytest.raises(
        RecipeError, match="test_amp='fp8' is not known; use bf16, fp16"
    ):
        seeds_in("fp8")
    with pytest.raises(RecipeError, match="test_amp=fp16 needs a GPU"):
        seeds_in("fp16")
