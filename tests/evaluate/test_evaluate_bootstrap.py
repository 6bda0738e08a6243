"""Bootstrap, Holm and tie groups against plain loops and hand-computed numbers."""

from __future__ import annotations

import numpy as np
import pytest

from wsss_bench.errors import DataError
from wsss_bench.evaluate import Resamples, compare, holm, interval, tie_groups
from wsss_bench.evaluate.protocol import class_iou, mean_iou


def system(
    seed: int, images: int = 50, classes: int = 6, skill: float = 0.6
) -> np.ndarray:
    rng = np.random.default_rng(99)
    shape = (images, classes)
    pixels = rng.integers(0, 500, shape)
    truth = pixels * (rng.random(shape) < 0.3)
    own = np.random.default_rng(seed)
    share = own.uniform(skill - 0.2, skill + 0.2, shape)
    hit = (truth * share).astype(np.int64)
    wrong = own.integers(0, 60, shape) * (truth > 0)
    return np.stack([hit, hit + wrong, truth], 2)


def test_every_resample_equals_the_plain_loop_bit_for_bit() -> None:
    systems = [system(1), system(2)]
    draws = Resamples(50, 300, seed="x")
    fast = draws.class_iou(systems)
    weights = np.concatenate(list(draws.weights()))
    assert weights.shape == (300, 50)
    assert (weights.sum(1) == 50).all()
    for s, rows in enumerate(systems):
        for k in range(300):
            times = weights[k].astype(int)
            total = np.repeat(rows, times, axis=0).sum(0)
            slow = class_iou(total[:, 0], total[:, 1], total[:, 2])
            np.testing.assert_array_equal(fast[s, k], slow)
            assert draws_miou(total) == mean_iou(fast[s, k])


def draws_miou(total: np.ndarray) -> float:
    union = total[:, 1] + total[:, 2] - total[:, 0]
    pairs = zip(total[:, 0], union, strict=True)
    iou = np.asarray([hit / area if area else 0.0 for hit, area in pairs])
    return float(iou.sum() / (union > 0).sum())


def all_weights(seed: int) -> np.ndarray:
    draws = Resamples(20, 100, seed=seed)
    return np.concatenate(list(draws.weights()))


def test_the_same_seed_gives_the_same_draws_in_any_chunking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = all_weights(5)
    np.testing.assert_array_equal(whole, all_weights(5))
    assert not np.array_equal(whole, all_weights(6))
    # Seven resamples a chunk, and two in the last one.
    monkeypatch.setattr("wsss_bench.evaluate.bootstrap._CHUNK_CELLS", 20 * 7)
    np.testing.assert_array_equal(whole, all_weights(5))


def test_an_absent_class_is_left_out_of_a_resample() -> None:
    rows = np.zeros((2, 2, 3), np.int64)
    rows[0, 0] = [10, 10, 10]
    rows[1, 1] = [0, 0, 10]
    values = set(Resamples(2, 200, seed=0).miou([rows])[0].tolist())
    assert values == {1.0, 0.5, 0.0}


def test_the_interval_of_equal_images_has_no_width_and_holds_the_value() -> None:
    rows = np.tile(np.asarray([[[3, 6, 9], [1, 2, 3]]]), (10, 1, 1))
    drawn = Resamples(10, 500, seed=0).miou([rows])[0]
    found = interval(0.25, drawn)
    assert (found.low, found.high) == (0.25, 0.25)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for k in range(200):
        hit = rng.binomial(100, 0.5, 60)
        rows = np.stack([hit, hit, np.full(60, 100)], 1)[:, None, :]
        found = interval(0.0, Resamples(60, 400, seed=k).miou([rows])[0])
        covered += found.low <= 0.5 <= found.high
    assert 178 <= covered <= 198


def test_p_of_equal_systems_is_one_and_of_a_clear_gap_is_the_smallest_possible() -> (
    None
):
    draws = Resamples(50, 999, seed=0)
    a, b = draws.miou([system(1), system(1)])
    assert compare(0.0, a, b).p == 1.0
    low, high = draws.miou([system(1, skill=0.3), system(2, skill=0.8)])
    found = compare(0.5, low, high)
    assert found.p == pytest.approx(2 / 1000)
    assert 0 < found.low <= found.high


def test_pairing_takes_out_how_hard_the_images_are() -> None:
    hard = np.random.default_rng(0).uniform(0.1, 0.9, 60)
    hits = [
        np.round(1000 * np.clip(hard + gain, 0, 1)).astype(np.int64)
        for gain in (0.0, 0.02)
    ]
    systems = [np.stack([hit, hit, np.full(60, 1000)], 1)[:, None, :] for hit in hits]
    draws = Resamples(60, 2000, seed=0)
    a, b = draws.miou(systems)
    alone = interval(0.0, a)
    paired = compare(0.02, a, b)
    assert paired.high - paired.low < 0.05 * (alone.high - alone.low)
    assert paired.low > 0


def test_seeds_are_resampled_too() -> None:
    draws = Resamples(30, 4000, seed=0)
    per_seed = np.repeat(np.asarray([[0.2], [0.4], [0.6]]), 4000, axis=1)
    drawn = draws.over_seeds(per_seed, "m")
    assert drawn.shape == (4000,)
    # mean of three draws with replacement from {.2, .4, .6}: mean .4, variance (.08/3)/3
    assert drawn.mean() == pytest.approx(0.4, abs=0.005)
    assert drawn.var() == pytest.approx(0.08 / 9, rel=0.1)
    np.testing.assert_array_equal(draws.over_seeds(per_seed, "m"), drawn)
    assert not np.array_equal(draws.over_seeds(per_seed, "another method"), drawn)
    np.testing.assert_array_equal(draws.over_seeds(per_seed[:1], "m"), per_seed[0])


def test_per_class_samples_of_several_seeds_keep_absent_classes_apart() -> None:
    draws = Resamples(30, 50, seed=0)
    per_seed = np.full((2, 50, 3), 0.5)
    per_seed[:, :, 2] = np.nan
    assert np.isnan(draws.over_seeds(per_seed)[:, 2]).all()
    assert (draws.over_seeds(per_seed)[:, :2] == 0.5).all()


def test_holm_by_hand() -> None:
    # sorted .005 .01 .03 .04 times 4 3 2 1 = .02 .03 .06 .04 -> monotone .02 .03 .06 .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("n", "different", "letters"),
    [
        (3, set(), ["a", "a", "a"]),
        (3, {(0, 1), (0, 2), (1, 2)}, ["a", "b", "c"]),
        (3, {(0, 2)}, ["a", "ab", "b"]),
        (4, {(0, 2), (0, 3), (1, 3)}, ["a", "ab", "bc", "c"]),
        (4, {(0, 3), (1, 3), (2, 3)}, ["a", "a", "a", "b"]),
        (1, set(), ["a"]),
        (0, set(), []),
    ],
)
def test_tie_letters_by_hand(
    n: int, different: set[tuple[int, int]], letters: list[str]
) -> None:
    assert tie_groups(n, different) == letters


def test_two_share_a_letter_exactly_if_they_do_not_differ() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        n = int(rng.integers(2, 8))
        pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
        different = {pair for pair in pairs if rng.random() < 0.4}
        letters = tie_groups(n, different)
        for i, j in pairs:
            assert bool(set(letters[i]) & set(letters[j])) == ((i, j) not in different)


def test_systems_on_other_images_are_refused() -> None:
    with pytest.raises(DataError, match="cannot be compared"):
        Resamples(50, 10).miou([system(1), system(1, images=50)[:, :5]])
    with pytest.raises(DataError, match="at least one image"):
        Resamples(0)
