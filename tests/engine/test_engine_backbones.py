from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models as tv
from torch import nn

from wsss_bench.engine.backbones.names import BACKBONES, backbone_config
from wsss_bench.engine.backbones.staged import StagedBackbone
from wsss_bench.engine.backbones.tiny import TinyBackbone
from wsss_bench.engine.backbones.torchvision import (
    TorchvisionMobileNetV2,
    TorchvisionResNet,
    TorchvisionVGG16,
    _SamePad,
)
from wsss_bench.engine.registry import build, register
from wsss_bench.errors import ArtifactError, RecipeError

torch.set_num_threads(1)


def bare(kind: Any, *args: Any, **options: Any) -> StagedBackbone:
    """The network without storage: shapes and wiring cost nothing."""
    with torch.device("meta"):
        return kind(*args, weights=None, **options)


def shapes(net: nn.Module, height: int = 64, width: int = 64) -> list[tuple[int, ...]]:
    device = next(net.parameters()).device
    with torch.no_grad():
        return [
            tuple(f.shape[1:])
            for f in net.eval()(torch.zeros(1, 3, height, width, device=device))
        ]


def rates(stage: nn.Module) -> list[int]:
    return [
        m.dilation[0]
        for m in stage.modules()
        if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)
    ]


def test_resnet_of_irn_has_strides_2_2_2_1_and_no_dilation() -> None:
    net = bare(TorchvisionResNet, 50)
    assert shapes(net) == [
        (64, 16, 16),
        (256, 16, 16),
        (512, 8, 8),
        (1024, 4, 4),
        (2048, 4, 4),
    ]
    assert {r for stage in net.stages for r in rates(stage)} == {1}
    assert shapes(net, 65, 33)[-1] == (2048, 5, 3)


def test_resnet_of_deeplab_has_stride_8_and_dilations_2_and_4() -> None:
    net = bare(TorchvisionResNet, 101, output_stride=8, dilated=True, frozen_stages=1)
    assert shapes(net, 32, 32) == [
        (64, 8, 8),
        (256, 8, 8),
        (512, 4, 4),
        (1024, 4, 4),
        (2048, 4, 4),
    ]
    assert rates(net.stages[3]) == [1] + [2] * 22
    assert rates(net.stages[4]) == [2, 4, 4]


def test_resnet_dilations_are_torchvisions_own() -> None:
    ours = bare(TorchvisionResNet, 50, output_stride=8, dilated=True, frozen_stages=0)
    with torch.device("meta"):
        theirs = tv.resnet50(replace_stride_with_dilation=[False, True, True])
    for index, layer in ((3, theirs.layer3), (4, theirs.layer4)):
        assert rates(ours.stages[index]) == rates(layer)


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("kind", [TorchvisionResNet, TorchvisionMobileNetV2])
def test_output_strides(kind: type[StagedBackbone], stride: int) -> None:
    net = bare(kind, output_stride=stride)
    assert shapes(net)[-1] == (net.channels[-1], 64 // stride, 64 // stride)


def test_an_output_stride_that_is_not_offered_is_refused() -> None:
    with pytest.raises(RecipeError, match="output_stride=4"):
        bare(TorchvisionResNet, 50, output_stride=4)
    with pytest.raises(RecipeError, match="depth 18"):
        bare(TorchvisionResNet, 18)


def test_mobilenet_strides_and_dilations() -> None:
    net = bare(TorchvisionMobileNetV2, output_stride=16, dilated=True)
    assert shapes(net) == [
        (16, 32, 32),
        (24, 16, 16),
        (32, 8, 8),
        (96, 4, 4),
        (1280, 4, 4),
    ]
    assert rates(net.stages[4]) == [1, 2, 2, 2]
    net = bare(TorchvisionMobileNetV2, output_stride=8, dilated=True)
    assert shapes(net)[-1] == (1280, 8, 8)
    assert rates(net.stages[3]) == [1, 2, 2, 2, 2, 2, 2]
    assert rates(net.stages[4]) == [2, 4, 4, 4]


def test_mobilenet_same_padding_keeps_shapes_and_shifts_what_is_seen() -> None:
    torch.manual_seed(0)
    plain, same = (
        TorchvisionMobileNetV2(weights=None),
        TorchvisionMobileNetV2(weights=None, padding="same"),
    )
    for size in ((64, 64), (65, 47)):
        assert shapes(plain, *size) == shapes(same, *size)
    source = dict(zip(same.state_dict(), plain.state_dict().values(), strict=True))
    same.load_state_dict(source)
    odd, even = torch.rand(1, 3, 33, 33), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        # On odd sizes TensorFlow pads both sides by one, as PyTorch does; on even sizes it does not.
        assert torch.allclose(
            plain.eval().stages[0](odd), same.eval().stages[0](odd), atol=1e-6
        )
        assert not torch.allclose(
            plain.stages[0](even), same.stages[0](even), atol=1e-3
        )


def test_same_padding_by_hand() -> None:
    conv = nn.Conv2d(1, 1, 3, 2, bias=False)
    nn.init.ones_(conv.weight)
    even = torch.arange(1.0, 17).view(1, 1, 4, 4)
    # TensorFlow, n = 4: one row and column after, none before, so the first window starts at cell 0.
    assert conv(_SamePad()(even)).flatten().tolist() == [54, 45, 72, 54]
    odd = torch.arange(1.0, 10).view(1, 1, 3, 3)
    # n = 3: one on each side.
    assert conv(_SamePad()(odd)).flatten().tolist() == [12, 16, 24, 28]
    mixed = torch.ones(1, 1, 4, 3)
    assert conv(_SamePad()(mixed)).flatten().tolist() == [6, 6, 4, 4]


def test_vgg_layouts() -> None:
    deeplab = bare(TorchvisionVGG16)
    assert shapes(deeplab, 321, 321)[-1] == (512, 41, 41)
    assert rates(deeplab.stages[4]) == [2, 2, 2]
    cam = bare(TorchvisionVGG16, layout="cam")
    assert shapes(cam, 64, 64) == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 8, 8),
        (512, 8, 8),
    ]
    assert rates(cam.stages[4]) == [1, 1, 1]
    pools = [
        type(m).__name__ for m in cam.stages[3:].modules() if "Pool" in type(m).__name__
    ]
    assert pools == []


def test_channels_by_short_name_are_true() -> None:
    register()
    from mmseg.registry import MODELS

    for name, known in BACKBONES.items():
        with torch.device("meta"):
            net = MODELS.build(backbone_config(name, None))
        assert net.channels == known.channels
    with pytest.raises(RecipeError, match="resnet50"):
        backbone_config("resnet5O", None)


@pytest.mark.parametrize("name", BACKBONES)
def test_channels_and_strides_of_every_stage_are_true(name: str) -> None:
    net = build(backbone_config(name, None)).eval()
    with torch.no_grad():
        stages = net(torch.zeros(1, 3, 64, 64))
    known = BACKBONES[name]
    assert tuple(stage.shape[1] for stage in stages) == known.channels
    assert tuple(64 // stage.shape[3] for stage in stages) == known.strides


def test_frozen_stages_learn_nothing_and_stay_in_eval() -> None:
    net = TinyBackbone(width=4, frozen_stages=2)
    net.train()
    net(torch.rand(2, 3, 16, 16))[-1].sum().backward()
    frozen, learning = (
        list(net.stages[:2].parameters()),
        list(net.stages[2:].parameters()),
    )
    assert all(p.grad is None and not p.requires_grad for p in frozen)
    assert all(p.grad is not None for p in learning)
    assert [stage.training for stage in net.stages] == [False, False, True, True, True]
    assert net.stages[2][1].training
    assert not net.stages[0][1].training


def test_bn_eval_keeps_running_statistics_while_affine_parameters_learn() -> None:
    net = TinyBackbone(width=4, bn_eval=True)
    net.train()
    before = net.stages[0][1].running_mean.clone()
    net(torch.rand(2, 3, 16, 16))[-1].sum().backward()
    assert torch.equal(net.stages[0][1].running_mean, before)
    assert net.stages[0][1].weight.grad is not None
    learning = TinyBackbone(width=4, bn_eval=False)
    learning.train()
    learning(torch.rand(2, 3, 16, 16))
    assert not torch.equal(learning.stages[0][1].running_mean, before)


def test_weights_load_from_a_file_in_torchvisions_layout(tmp_path: Path) -> None:
    source = tv.mobilenet_v2()
    for key in (None, "state_dict"):
        path = tmp_path / f"{key}.pth"
        torch.save({key: source.state_dict()} if key else source.state_dict(), path)
        net = TorchvisionMobileNetV2(weights=str(path))
        assert torch.equal(net.stages[0][0][0].weight, source.features[0][0].weight)
        assert torch.equal(net.stages[4][-1][0].weight, source.features[18][0].weight)


def test_the_classifier_of_the_weights_may_be_missing_or_of_another_size(
    tmp_path: Path,
) -> None:
    state = tv.mobilenet_v2(num_classes=7).state_dict()
    torch.save(state, tmp_path / "seven.pth")
    TorchvisionMobileNetV2(weights=str(tmp_path / "seven.pth"))
    torch.save(
        {k: v for k, v in state.items() if not k.startswith("classifier")},
        tmp_path / "none.pth",
    )
    TorchvisionMobileNetV2(weights=str(tmp_path / "none.pth"))


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('code in a pickle was run')",))


def test_bad_weights_are_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"MobileNetV2: weights .*gone\.pth.* is no file"
    ):
        TorchvisionMobileNetV2(weights=str(tmp_path / "gone.pth"))
    torch.save(tv.squeezenet1_1().state_dict(), tmp_path / "other.pth")
    with pytest.raises(
        ArtifactError, match=r"lacks \d+ of \d+ tensors.*torchvision's key layout"
    ):
        TorchvisionMobileNetV2(weights=str(tmp_path / "other.pth"))
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(ArtifactError, match="lacks"):
        TorchvisionMobileNetV2(weights=str(tmp_path / "tensor.pth"))
    torch.save({"features.0.0.weight": 3}, tmp_path / "numbers.pth")
    with pytest.raises(ArtifactError, match="lacks"):
        TorchvisionMobileNetV2(weights=str(tmp_path / "numbers.pth"))


def test_weights_with_code_inside_are_not_run(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    torch.save({"features.0.0.weight": Bomb()}, path)
    with pytest.raises(ArtifactError, match="plain weights"):
        TorchvisionMobileNetV2(weights=str(path))
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ArtifactError, match="plain weights"):
        TorchvisionMobileNetV2(weights=str(path))
    path.write_bytes(b"")
    with pytest.raises(ArtifactError, match="plain weights"):
        TorchvisionMobileNetV2(weights=str(path))


def test_the_tiny_backbone_has_no_pretrained_weights() -> None:
    with pytest.raises(RecipeError, match="weights=None"):
        TinyBackbone(weights="imagenet")
    assert shapes(TinyBackbone(), 32, 40) == [
        (24, 16, 20),
        (48, 8, 10),
        (72, 8, 10),
        (96, 8, 10),
        (96, 8, 10),
    ]
