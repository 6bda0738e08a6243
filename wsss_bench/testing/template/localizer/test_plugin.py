"""The contract, through the harness's own kit; and the method's rule, on numbers done by hand."""

from __future__ import annotations

from wsss_bench.testing import check_method


def test_keeps_the_contract() -> None:
    check_method("@NAME@").require()


def test_pooling_lies_between_mean_and_maximum() -> None:
    import math

    import torch

    from wsss_template.plugin import pool

    maps = torch.tensor([[[[0.0, 1.0]]]])
    assert math.isclose(
        pool(maps, 2.0).item(), math.log((1 + math.e**2) / 2) / 2, rel_tol=1e-6
    )
    assert abs(pool(maps, 1e-3).item() - 0.5) < 1e-3
    assert abs(pool(maps, 1e3).item() - 1.0) < 1e-3
