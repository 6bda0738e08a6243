"""The contract, through the harness's own kit; and the method's rule, on numbers done by hand."""

from __future__ import annotations

from wsss_bench.testing import check_method


def test_keeps_the_contract() -> None:
    check_method("@NAME@").require()


def test_the_hardest_share_counts() -> None:
    import torch

    from wsss_template.plugin import hardest

    losses = torch.tensor([4.0, 1.0, 2.0, 3.0])
    assert hardest(losses, 0.5).item() == 3.5
    assert hardest(losses, 0.01).item() == 4.0
    assert hardest(losses[:0], 0.5).item() == 0.0
