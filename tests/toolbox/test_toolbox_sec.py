from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from engine_fakes import make_context
from torch import nn

from wsss_bench.contract.artifacts import Seed
from wsss_bench.engine.models import LinearCamHead
from wsss_bench.toolbox.sec import (
    SecHead,
    background_mask,
    background_of,
    cue_function,
    cue_label,
    to_image_size,
)

PARAMS = {
    "grid": 4,
    "foreground": 0.2,
    "background_fraction": 0.25,
    "background_max": 0.06,
}


def seed_of(
    scores: list[list[list[float]]],
    background: np.ndarray | None = None,
    size: tuple[int, int] = (4, 4),
) -> Seed:
    array = np.array(scores, np.float32)
    return Seed(np.arange(1, len(array) + 1), array, size, background)


def test_the_head_is_secs_released_net() -> None:
    head = SecHead(8, 3, 16)
    kinds = [type(m).__name__ for m in head.body]
    assert kinds == [
        "Conv2d",
        "ReLU",
        "Dropout",
        "Conv2d",
        "Dropout",
    ]  # no ReLU after the second convolution
    assert [tuple(m.weight.shape) for m in head.body if isinstance(m, nn.Conv2d)] == [
        (16, 8, 3, 3),
        (16, 16, 3, 3),
    ]
    assert head.classifier.bias is None
    head.eval()
    x = torch.rand(2, 8, 5, 5)
    with torch.no_grad():
        assert head.cam(x).shape == (2, 3, 5, 5)
        assert torch.allclose(head.scores(x), head.cam(x).mean((2, 3)), atol=1e-6)
        assert head.loss(x, torch.ones(2, 3))["loss_cls"] == pytest.approx(
            -torch.nn.functional.logsigmoid(head.scores(x)).mean().item(), abs=1e-6
        )


def test_width_zero_classifies_the_features_themselves() -> None:
    torch.manual_seed(0)
    head, plain = SecHead(8, 3, 0), LinearCamHead(8, 3)
    plain.load_state_dict(head.state_dict())
    x = torch.rand(1, 8, 5, 5)
    with torch.no_grad():
        assert torch.equal(head.scores(x), plain.scores(x))


def test_foreground_is_above_a_fifth_of_the_maximum() -> None:
    scores = [[[1.0, 0.21, 0.2, 0.0], [0.1, 0.0, 0.0, 0.0], [0.0] * 4, [0.0] * 4]]
    label = cue_label(seed_of(scores), PARAMS, False)
    assert label[0].tolist() == [1, 1, 255, 255]
    assert (label[1:] == 255).all()
    assert cue_label(seed_of(scores), {**PARAMS, "foreground": 0.05}, False)[
        :2, :2
    ].tolist() == [[1, 1], [1, 255]]


def test_the_smaller_class_wins_an_overlap() -> None:
    large, small = np.zeros((4, 4)), np.zeros((4, 4))
    large[:, :3] = 1
    small[1:3, 2:4] = 1
    label = cue_label(seed_of([large.tolist(), small.tolist()]), PARAMS, False)
    assert label.tolist() == [
        [1, 1, 1, 255],
        [1, 1, 2, 2],
        [1, 1, 2, 2],
        [1, 1, 1, 255],
    ]


def test_background_is_the_least_salient_fraction_or_below_a_maximum() -> None:
    saliency = np.linspace(0, 0.3, 16, dtype=np.float32).reshape(4, 4)
    seed = seed_of([np.zeros((4, 4)).tolist()], 1 - saliency)
    by_fraction = background_mask(seed, (4, 4), PARAMS, False)
    assert by_fraction is not None
    assert by_fraction.sum() == 4
    assert by_fraction[0].all()
    by_value = background_mask(seed, (4, 4), PARAMS, True)
    assert by_value is not None
    assert (
        by_value.ravel().tolist() == [True] * 3 + [False] * 13
    )  # 0.00, 0.02, 0.04 < 0.06
    label = cue_label(seed, PARAMS, False)
    assert label[0].tolist() == [0, 0, 0, 0]
    assert (label[1:] == 255).all()
    assert (
        background_mask(seed_of([np.zeros((4, 4)).tolist()]), (4, 4), PARAMS, False)
        is None
    )


def test_background_takes_part_in_the_overlap_rule() -> None:
    saliency = np.ones((4, 4), np.float32)
    saliency[0, :2] = (0.0, 0.1)
    foreground = np.zeros((4, 4))
    foreground[:2] = 1
    params = {**PARAMS, "background_fraction": 2 / 16}
    label = cue_label(seed_of([foreground.tolist()], 1 - saliency), params, False)
    assert label[0].tolist() == [
        0,
        0,
        1,
        1,
    ]  # two cells of background against eight of the class


def test_no_tag_leaves_background_alone() -> None:
    saliency = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    seed = Seed(
        np.zeros(0, np.int64), np.zeros((0, 4, 4), np.float32), (8, 8), 1 - saliency
    )
    label = cue_label(seed, PARAMS, False)
    assert label.shape == (8, 8)
    assert set(np.unique(label)) == {0, 255}
    assert (label == 0).sum() == 16


def test_cues_are_enlarged_by_nearest_neighbour() -> None:
    grid = np.array([[0, 1], [2, 255]], np.uint8)
    assert (
        to_image_size(grid, (4, 6)).tolist()
        == [[0] * 3 + [1] * 3] * 2 + [[2] * 3 + [255] * 3] * 2
    )
    assert to_image_size(grid, (3, 2)).tolist() == [
        [0, 1],
        [2, 255],
        [2, 255],
    ]  # by pixel centres


def test_the_cue_function_travels_to_worker_processes() -> None:
    scores = [[[1.0, 0.0], [0.0, 0.0]]]
    fn = pickle.loads(pickle.dumps(cue_function({**PARAMS, "grid": 2}, False)))
    assert (
        fn(seed_of(scores)).tolist()
        == cue_label(seed_of(scores), {**PARAMS, "grid": 2}, False).tolist()
    )


def test_saliency_maps_are_taken_from_the_folder_that_is_named(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    import cv2
    from engine_fakes import make_view

    view = make_view(tmp_path / "images", 1)
    cv2.imwrite(str(tmp_path / "im0.png"), np.full((4, 4), 51, np.uint8))
    cue = background_of(make_context(tmp_path, {"saliency_dir": str(tmp_path)}))
    assert cue(None, view[0], view[0].read(), (3, 3)) == pytest.approx(
        np.full((3, 3), 0.8)
    )  # type: ignore[arg-type]
