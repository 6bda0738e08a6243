from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from engine_fakes import SMALL_SEGMENTOR, make_context, make_labels, make_view
from torch import nn

from wsss_bench.engine import load_segmentor
from wsss_bench.errors import RecipeError
from wsss_bench.toolbox.segmentation import (
    BalancedLoss,
    PlainLoss,
    facts_of,
    pretraining,
    train_segmentor,
)

# Two background cells and one foreground cell of class 1; one cell without label.
LABELS = torch.tensor([[[0, 0], [1, 255]]], dtype=torch.uint8)
LOGITS = torch.tensor(
    [[[[math.log(4), 0.0], [math.log(3), 9.0]], [[0.0, 0.0], [0.0, 0.0]]]]
)


def test_plain_loss_is_the_mean_over_labelled_pixels() -> None:
    expected = (-math.log(0.8) - math.log(0.5) - math.log(0.25)) / 3
    assert PlainLoss()(LOGITS, {"labels": LABELS})["loss_seg"].item() == pytest.approx(
        expected, abs=1e-6
    )


def test_balanced_loss_has_a_mean_for_either_side() -> None:
    expected = (-math.log(0.8) - math.log(0.5)) / 2 - math.log(0.25)
    assert BalancedLoss()(LOGITS, {"labels": LABELS})[
        "loss_seg"
    ].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("loss", [PlainLoss(), BalancedLoss()])
def test_a_batch_without_labels_costs_nothing_and_is_no_nan(loss: nn.Module) -> None:
    logits = LOGITS.clone().requires_grad_()
    value = loss(logits, {"labels": torch.full_like(LABELS, 255)})["loss_seg"]
    value.backward()
    assert value.item() == 0
    assert (logits.grad == 0).all()


def test_logits_are_brought_to_the_labels_size() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    logits = torch.zeros(1, 2, 4, 4)
    assert PlainLoss()(logits, {"labels": labels})["loss_seg"].item() == pytest.approx(
        math.log(2), abs=1e-6
    )


def test_a_trained_segmentor_carries_its_settings_and_learns(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images")
    labels = make_labels(view)
    params = {
        **SMALL_SEGMENTOR,
        "iterations": 30,
        "test_scales": (1.0, 1.5),
        "test_flip": True,
        "test_amp": "bf16",
    }
    ctx = make_context(tmp_path, params)
    segmentor = train_segmentor(view, labels, ctx)
    assert segmentor.test == {
        "scales": [1.0, 1.5],
        "flip": True,
        "merge": "probs",
        "warp": 0,
        "crf": "dsrg",
        "amp": "bf16",
    }
    assert segmentor.facts == {
        "network": "tiny",
        "backbone": "network's own",
        "weights": "none",
    }
    model = load_segmentor(segmentor)
    right = 0.0
    with torch.no_grad():
        for image in view:
            pixels = torch.from_numpy(image.read()).permute(2, 0, 1)[None].float()
            scores = nn.functional.interpolate(model(pixels), (32, 40), mode="bilinear")
            right += (scores.argmax(1)[0].numpy() == labels[image.id]).mean() / len(
                view
            )
    assert right > 0.8  # all background would be right on 0.75


def test_a_methods_own_loss_sees_image_tags_and_cues(tmp_path: Path) -> None:
    seen: list[dict[str, tuple[int, ...]]] = []

    class Own(nn.Module):
        """A loss with a parameter of its own."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(
            self, logits: torch.Tensor, batch: dict[str, torch.Tensor]
        ) -> dict[str, torch.Tensor]:
            seen.append(
                {
                    "logits": tuple(logits.shape),
                    **{k: tuple(v.shape) for k, v in batch.items()},
                }
            )
            assert batch["inputs"].max() > 100
            return {"loss_own": logits.square().mean() * self.scale}

    view = make_view(tmp_path / "images")
    params = {**SMALL_SEGMENTOR, "iterations": 1}
    segmentor = train_segmentor(
        view, make_labels(view), make_context(tmp_path, params), Own()
    )
    assert seen == [
        {
            "logits": (2, 3, 8, 8),
            "inputs": (2, 3, 32, 32),
            "tags": (2, 3),
            "labels": (2, 8, 8),
        }
    ]
    # the loss's own parameter is no part of the segmentor
    assert not [
        k
        for k in torch.load(segmentor.checkpoint, weights_only=True)
        if k.startswith("criterion")
    ]
    load_segmentor(segmentor)


def test_label_grids_follow_the_stride(tmp_path: Path) -> None:
    sizes: list[tuple[int, ...]] = []

    class Look(nn.Module):
        def forward(
            self, logits: torch.Tensor, batch: dict[str, torch.Tensor]
        ) -> dict[str, torch.Tensor]:
            sizes.append(tuple(batch["labels"].shape[1:]))
            return {"loss_look": logits.mean()}

    view = make_view(tmp_path / "images", 2)
    for number, (crop, stride) in enumerate(((33, 8), (32, 1))):
        params = {
            **SMALL_SEGMENTOR,
            "crop": crop,
            "label_stride": stride,
            "iterations": 1,
        }
        train_segmentor(
            view,
            make_labels(view),
            make_context(tmp_path / str(number), params),
            Look(),
        )
    assert sizes == [(5, 5), (32, 32)]  # 33 at stride 8 is 5, as 321 is 41


def test_an_unknown_loss_is_refused(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 2)
    with pytest.raises(RecipeError, match="balanced, ce, network"):
        train_segmentor(
            view,
            make_labels(view),
            make_context(tmp_path, {**SMALL_SEGMENTOR, "loss": "focal"}),
        )


def test_pretraining_on_the_board() -> None:
    assert pretraining(None) == pretraining("") == "none"
    assert pretraining("imagenet") == "ImageNet"
    assert pretraining("timm", "timm/resnet18") == "timm's own"
    assert pretraining("imagenet", "timm/vit_small_patch14_dinov2") == "timm's own"
    assert (
        pretraining("some/folder/mobile.pt")
        == pretraining("C:\\folder\\mobile.pt")
        == "file mobile.pt"
    )
    assert facts_of({**SMALL_SEGMENTOR, "backbone": "vgg16"})["backbone"] == "vgg16"
