from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_fakes import SMALL_SEGMENTOR, make_context, make_labels, make_view
from mmengine.config import Config

from wsss_bench.contract.artifacts import LabelWriter
from wsss_bench.engine import segmentor_config
from wsss_bench.engine.heads import DeepLabV1Head, DeepLabV2Head
from wsss_bench.engine.models import WeakSegmentor
from wsss_bench.errors import RecipeError
from wsss_bench.toolbox.prediction import predict
from wsss_bench.toolbox.segmentation import train_segmentor

COMMON: dict[str, Any] = {
    "in_channels": 8,
    "num_classes": 3,
    "in_index": -1,
    "dropout_ratio": 0.5,
    "loss_decode": {"type": "CrossEntropyLoss", "avg_non_ignore": True},
}

FOREIGN = """
norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(type="SegDataPreProcessor"),
    backbone=dict(type="TinyBackbone", width=8),
    decode_head=dict(
        type="FCNHead", in_channels=32, in_index=4, channels=8, num_convs=1, concat_input=False, dropout_ratio=0.1,
        num_classes=19, norm_cfg=norm_cfg, align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0)),
    auxiliary_head=dict(
        type="FCNHead", in_channels=24, in_index=2, channels=8, num_convs=1, concat_input=False,
        num_classes=19, norm_cfg=norm_cfg, align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=0.4)),
    train_cfg=dict(), test_cfg=dict(mode="whole"))
"""


@pytest.mark.parametrize(
    ("kind", "options", "rates"),
    [
        (DeepLabV1Head, {"channels": 6, "rates": (12,)}, [12]),
        (DeepLabV1Head, {"channels": 6}, [6, 12, 18, 24]),
        (DeepLabV2Head, {}, [6, 12, 18, 24]),
        (DeepLabV2Head, {"rates": (3, 6)}, [3, 6]),
        (DeepLabV2Head, {"rates": (1,), "kernel": 1}, [1]),
    ],
)
def test_branches_are_dilated_and_summed(
    kind: Any, options: dict[str, Any], rates: list[int]
) -> None:
    torch.manual_seed(0)
    head = kind(**COMMON, **options).eval()
    x = torch.rand(2, 8, 9, 9)
    with torch.no_grad():
        scores = head([torch.zeros(1), x])
        expected = sum(branch(x) for branch in head.branches)
        one = head.branches[0](x)
    assert scores.shape == (2, 3, 9, 9)
    assert torch.allclose(scores, expected, atol=1e-6)
    assert torch.allclose(scores, one, atol=1e-6) == (len(rates) == 1)
    found = [
        next(m for m in branch if isinstance(m, torch.nn.Conv2d)).dilation[0]
        for branch in head.branches
    ]
    assert found == rates
    assert not hasattr(head, "conv_seg")


def test_classifiers_start_small_and_every_parameter_learns() -> None:
    torch.manual_seed(0)
    head = DeepLabV1Head(**COMMON, channels=64, rates=(1, 2))
    last = head.branches[1][-1]
    assert 0.005 < last.weight.std() < 0.015
    assert last.bias.abs().max() == 0
    head([torch.rand(1, 8, 5, 5)]).square().sum().backward()
    assert all(p.grad is not None for p in head.parameters())


@pytest.mark.parametrize(
    ("network", "branches"),
    [
        ("deeplab_largefov", 1),
        ("deeplab_aspp", 4),
        ("deeplabv2", 4),
        ("deeplab_mobilenet", 1),
        ("tiny", 2),
    ],
)
def test_our_networks_take_classes_backbone_and_rates(
    network: str, branches: int
) -> None:
    config = segmentor_config(
        {**SMALL_SEGMENTOR, "network": network, "backbone": "tiny"}, 7
    )
    assert config.model.decode_head.num_classes == 7
    net = WeakSegmentor(config.model, None, config.normalize).net
    assert len(net.decode_head.branches) == branches
    assert net.decode_head.in_channels == 96
    with torch.no_grad():
        assert net.eval()._forward(torch.zeros(1, 3, 32, 32)).shape == (1, 7, 8, 8)
    changed = segmentor_config(
        {**SMALL_SEGMENTOR, "network": network, "backbone": "tiny", "rates": (2, 3, 5)},
        7,
    )
    assert tuple(changed.model.decode_head.rates) == (2, 3, 5)


def test_photograph_backbones_get_deeplabs_stride_unless_told_otherwise() -> None:
    params = {**SMALL_SEGMENTOR, "network": "deeplabv2", "backbone": "mobilenet_v2"}
    assert segmentor_config(params, 3).model.backbone.output_stride == 8
    told = segmentor_config(
        {**params, "backbone_options": {"output_stride": 16}}, 3
    ).model.backbone
    assert (told.output_stride, told.dilated) == (16, True)
    assert told.weights is None


def test_an_unknown_network_is_refused_with_suggestions() -> None:
    with pytest.raises(RecipeError, match="deeplabv2"):
        segmentor_config({**SMALL_SEGMENTOR, "network": "deeplabv3"}, 3)
    with pytest.raises(RecipeError, match=r"gone\.py"):
        segmentor_config({**SMALL_SEGMENTOR, "network": "gone.py"}, 3)


def test_any_mmseg_config_trains_with_its_own_loss_and_predicts(tmp_path: Path) -> None:
    path = tmp_path / "fcn.py"
    path.write_text(FOREIGN)
    params = {
        **SMALL_SEGMENTOR,
        "network": str(path),
        "loss": "network",
        "iterations": 1,
    }
    config = segmentor_config(params, 3)
    assert (
        config.model.decode_head.num_classes
        == config.model.auxiliary_head.num_classes
        == 3
    )
    assert config.model.decode_head.norm_cfg.type == "BN"
    view = make_view(tmp_path / "images")
    ctx = make_context(tmp_path, params)
    segmentor = train_segmentor(view, make_labels(view), ctx)
    kept = Config.fromfile(segmentor.config).model
    assert kept.decode_head.type == "FCNHead"
    out = LabelWriter(tmp_path / "labels", view, "test", tags=False)
    predict(segmentor, view, out, None, ctx)
    assert out.close()["im0"].shape == (32, 40)


def test_training_starts_from_the_previous_segmentor_even_where_the_network_initialises_itself(
    tmp_path: Path,
) -> None:
    path = tmp_path / "fcn.py"
    path.write_text(FOREIGN)
    params = {
        **SMALL_SEGMENTOR,
        "network": str(path),
        "loss": "network",
        "iterations": 1,
    }
    view = make_view(tmp_path / "images")
    first = train_segmentor(
        view, make_labels(view), make_context(tmp_path / "1", params)
    )
    frozen = {**params, "lr": 0.0}
    second = train_segmentor(
        view,
        make_labels(view),
        make_context(tmp_path / "2", frozen, seed=5),
        start=first,
        name="retrain",
    )
    before, after = (
        torch.load(s.checkpoint, weights_only=True) for s in (first, second)
    )
    for key in ("net.decode_head.conv_seg.weight", "net.backbone.stages.4.0.weight"):
        assert torch.equal(before[key], after[key])
