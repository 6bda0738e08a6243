from __future__ import annotations

import numpy as np
import pytest

from wsss_bench.toolbox.cues import (
    background_cues,
    foreground_cues,
    resize_scores,
    stack_cues,
)


def test_a_cue_is_strictly_above_a_fifth_of_its_own_class_maximum():
    scores = np.array([[[10, 2, 2.1, 0]], [[0.5, 0.1, 0.2, -1]]], np.float32)
    found = foreground_cues(scores, [3, 7]).tolist()
    assert found == [
        [[True, False, True, False]],
        [[True, False, True, False]],
    ]
    found = foreground_cues(scores, [3, 7], threshold=0.5).tolist()
    assert found == [
        [[True, False, False, False]],
        [[True, False, False, False]],
    ]


def test_a_class_without_a_positive_score_has_no_cue():
    scores = np.array([[[0, 0]], [[-5, -0.1]]], np.float32)
    assert not foreground_cues(scores, [1, 2]).any()
    assert not foreground_cues(scores, [1, 2], threshold=0.0).any()
    assert foreground_cues(np.zeros((0, 2, 3), np.float32), []).shape == (0, 2, 3)


def test_background_is_the_lowest_tenth_strictly():
    saliency = np.random.default_rng(0).permutation(41 * 41).reshape(41, 41)
    marked = background_cues(saliency)
    assert marked.sum() == 168
    assert saliency[marked].max() == 167
    # Ten equal lowest values: nothing lies strictly below the value at index 2.
    assert not background_cues(np.repeat([0.0, 1.0], 10).reshape(4, 5)).any()
    assert not background_cues(saliency, 0.0).any()


@pytest.mark.parametrize("fraction", [-0.1, 1.0])
def test_a_fraction_outside_the_unit_interval_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction"):
        background_cues(np.zeros((2, 2)), fraction)


def test_where_masks_overlap_the_smallest_area_wins_background_included():
    fg = np.array([[[1, 1, 1, 1, 0]], [[0, 0, 1, 1, 0]]], bool)
    bg = np.array([[0, 0, 0, 1, 0]], bool)
    assert stack_cues(fg, [5, 2], None).tolist() == [[5, 5, 2, 2, 255]]
    assert stack_cues(fg, [5, 2], bg).tolist() == [[5, 5, 2, 0, 255]]


def test_equal_areas_go_to_the_higher_id_so_foreground_beats_background():
    fg = np.array([[[1, 1, 0]], [[0, 1, 1]]], bool)
    bg = np.array([[1, 0, 1]], bool)
    assert stack_cues(fg, [9, 4], bg).tolist() == [[9, 9, 4]]


def test_no_class_at_all_leaves_background_or_nothing():
    empty = np.zeros((0, 1, 2), bool)
    assert stack_cues(empty, []).tolist() == [[255, 255]]
    assert stack_cues(empty, [], np.array([[True, False]])).tolist() == [[0, 255]]


def test_resize_is_bilinear_with_half_pixel_centres():
    scores = np.array([[[0, 4]], [[8, 0]]], np.float32)
    assert resize_scores(scores, (1, 4)).tolist() == [[[0, 1, 3, 4]], [[8, 6, 2, 0]]]
    assert resize_scores(scores, (2, 2)).shape == (2, 2, 2)
    assert resize_scores(np.zeros((0, 3, 3), np.float32), (5, 6)).shape == (0, 5, 6)


@pytest.mark.parametrize("ids", [[1], [1, 1], [0, 1], [1, 255]])
def test_wrong_class_ids_are_refused(ids):
    with pytest.raises(ValueError, match="class ids"):
        foreground_cues(np.zeros((2, 1, 1), np.float32), ids)
    with pytest.raises(ValueError, match="class ids"):
        stack_cues(np.zeros((2, 1, 1), bool), ids)
