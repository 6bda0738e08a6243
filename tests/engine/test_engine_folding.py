"""Folding batch norms must change speed, not the function."""

from __future__ import annotations

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from wsss_bench.engine.backbones.names import backbone_config
from wsss_bench.engine.folding import folded
from wsss_bench.engine.registry import register

CASES = {
    "resnet50": ({}, 0),
    "mobilenet_v2": ({"padding": "same", "output_stride": 16, "dilated": True}, 0),
    "mobilenet_v2 plain": ({}, 0),
    "tiny": ({}, 0),
    "vgg16": ({}, 0),  # has none
}


def norms(model: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())


@pytest.mark.parametrize("case", CASES)
def test_the_folded_network_is_the_same_function(case: str) -> None:
    register()
    options, left = CASES[case]
    torch.manual_seed(0)
    model = MODELS.build(backbone_config(case.split()[0], None, **options))
    for module in (
        model.modules()
    ):  # as if trained: fresh statistics would fold to almost nothing
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    model.eval()
    before = norms(model)
    fast = folded(model)
    x = torch.randn(2, 3, 63, 80)
    with torch.no_grad():
        for one, other in zip(model(x), fast(x), strict=True):
            assert one.abs().max() > 1e-3
            torch.testing.assert_close(
                other, one, rtol=1e-3, atol=1e-4 * float(one.abs().max())
            )
    assert norms(fast) == left
    for module in fast.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.is_contiguous(memory_format=torch.channels_last)
    assert norms(model) == before  # the original is untouched
    assert (before > 0) == (case != "vgg16")


def test_a_batch_norm_that_follows_no_convolution_stays() -> None:
    model = nn.Sequential(
        nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)
    )
    assert norms(folded(model)) == 2
