"""Networks of timm at their edges: what they refuse, what freezing and folding must not touch, where tokens lie."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_fakes import SMALL_CLASSIFIER
from torch import nn

from wsss_bench.engine.backbones.names import backbone_config, backbone_of
from wsss_bench.engine.folding import folded
from wsss_bench.engine.registry import build
from wsss_bench.errors import ArtifactError, RecipeError
from wsss_bench.toolbox.classifier import build_classifier
from wsss_bench.toolbox.training import seeded

timm = pytest.importorskip("timm", reason="timm is an optional extra")

CNN = "timm/mobilenetv3_small_050"
VIT = "timm/vit_tiny_patch16_224"


def made(name: str, weights: str | None = None, **options: Any) -> Any:
    return build(backbone_config(name, weights, **options))


def learning(net: Any) -> list[str]:
    return [name for name, item in net.named_parameters() if item.requires_grad]


def test_a_token_lies_where_its_patch_does() -> None:
    net = made(VIT).eval()
    images = torch.zeros(1, 3, 64, 96)
    changed = images.clone()
    changed[:, :, 16:32, 48:64] = 3
    with torch.no_grad():
        moved = (net(changed)[0] - net(images)[0]).abs().sum(1)[0]
    assert divmod(int(moved.argmax()), 6) == (1, 3)


def test_an_image_smaller_than_a_patch_is_one_token() -> None:
    with torch.no_grad():
        assert made(VIT).eval()(torch.zeros(1, 3, 5, 5))[-1].shape == (1, 192, 1, 1)


def test_what_is_remembered_of_a_network_does_not_change_new_layers() -> None:
    params = {**SMALL_CLASSIFIER, "backbone": "timm/resnet10t"}

    def first() -> Any:
        return seeded(lambda: build_classifier(params, 2), 0, "classifier")

    # The first call builds the network to describe it as well, the second remembers.
    one, two = first().state_dict(), first().state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("weights", ["imagenet", "timm"])
def test_weights_that_cannot_be_fetched_are_an_error_of_ours(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = timm.create_model

    def offline(*args: Any, pretrained: bool = False, **options: Any) -> Any:
        if pretrained:
            raise OSError("no network")
        return real(*args, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ArtifactError, match=r"no network.*weights=PATH"):
        made(CNN, weights)


def test_a_tag_that_timm_does_not_know_is_refused() -> None:
    assert backbone_of("timm/resnet18.a1_in1k").channels[-1] == 512
    with pytest.raises(RecipeError, match=r"knows no weights 'resnet18\.none'"):
        backbone_of("timm/resnet18.none")


@pytest.mark.parametrize("name", ["mixer_s16_224", "hrnet_w18_small"])
def test_a_network_for_certain_sizes_of_images_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=f"{name}: it does not take images of any"):
        backbone_of(f"timm/{name}")


def test_an_output_stride_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(RecipeError, match="output_stride=7 is not offered"):
        made("timm/resnet10t", output_stride=7)


def test_frozen_stages_begin_at_the_first_layer() -> None:
    """The first stage of a ResNet ends in an activation, which has no weights of its own."""
    stem = learning(made("timm/resnet10t", frozen_stages=1))
    assert not [name for name in stem if name.startswith("net.model.conv1")]
    assert [name for name in stem if name.startswith("net.model.layer1")]


def test_a_transformers_embeddings_are_frozen_with_its_first_stage() -> None:
    names = learning(made(VIT, frozen_stages=1))
    assert not [name for name in names if "pos_embed" in name or "patch_embed" in name]
    assert not [name for name in names if "cls_token" in name]


def test_layers_between_are_refused() -> None:
    net = made(CNN).eval()
    images = torch.rand(1, 3, 64, 64)
    assert net.run(images, 0, 0) is images
    assert net.run(images, 0, 1).shape == (1, 288, 2, 2)
    with pytest.raises(RecipeError, match="use layers 0 or 1"):
        net.run(images, 0, 2)


@pytest.mark.parametrize("name", [CNN, VIT, "timm/densenet121"])
def test_folding_keeps_the_function(name: str) -> None:
    """The batch norms of densenet121 also activate, so they must not be folded away."""
    torch.manual_seed(0)
    net = made(name).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    x = torch.randn(1, 3, 64, 80)
    with torch.no_grad():
        expected, found = net(x)[-1], folded(net)(x)[-1]
    error = (expected - found).abs().max() / expected.abs().max()
    assert error < 1e-4
