"""The contract, through the harness's own kit; and the method's rule, on numbers done by hand."""

from __future__ import annotations

from wsss_bench.testing import check_method


def test_keeps_the_contract() -> None:
    check_method("@NAME@").require()


def test_scores_are_averaged_over_like_pixels() -> None:
    import numpy as np

    from wsss_template.plugin import groups, smooth

    image = np.array([[[10, 0, 0], [12, 0, 0], [250, 0, 0], [250, 0, 0]]], np.uint8)
    group = groups(image, levels=4, cells=1)
    assert group.tolist() == [[0, 0, 1, 1]]
    np.testing.assert_allclose(
        smooth(np.array([[[1.0, 0.0, 0.25, 0.25]]]), group), [[[0.5, 0.5, 0.25, 0.25]]]
    )
