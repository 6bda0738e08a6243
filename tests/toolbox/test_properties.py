"""What must hold for any input: evaluator, artifact readers and writers, recipes."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from wsss_bench.contract.artifacts import (
    LabelSet,
    LabelWriter,
    Seed,
    SeedSet,
    SeedWriter,
)
from wsss_bench.contract.view import IGNORE, WeakImage, WeakView
from wsss_bench.data.coco.masks import decode_counts, decode_rle
from wsss_bench.data.masks import read_mask
from wsss_bench.evaluate import Counts, CountsBuilder, CurveBuilder, ThresholdCurve
from wsss_bench.io.files import read_json, write_json
from wsss_bench.io.images import write_mask
from wsss_bench.methods.recipe import Recipe, Slot, parse_recipe
from wsss_bench.results import soundness

few = settings(max_examples=25, deadline=None, derandomize=True, database=None)
CLASSES = ("background", "cat", "dog", "boat")
N = len(CLASSES)


def masks(shape: tuple[int, int]) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.uint8, shape, elements=st.sampled_from([*range(N), IGNORE]))


@st.composite
def scored(draw: st.DrawFn) -> list[tuple[np.ndarray, np.ndarray]]:
    """One to four pairs of prediction and truth."""
    shapes = draw(
        st.lists(
            st.tuples(st.integers(1, 7), st.integers(1, 7)), min_size=1, max_size=4
        )
    )
    return [(draw(masks(shape)), draw(masks(shape))) for shape in shapes]


def counted(
    pairs: list[tuple[np.ndarray, np.ndarray]], order: list[int] | None = None
) -> Counts:
    builder = CountsBuilder(CLASSES)
    for index in order if order is not None else range(len(pairs)):
        builder.add(f"i{index}", *pairs[index])
    return builder.result()


# ---- evaluator


@few
@given(pairs=scored())
def test_counts_are_those_of_a_plain_confusion_matrix(
    pairs: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    plain = np.zeros((N, N + 1), np.int64)
    for pred, truth in pairs:
        for p, t in zip(pred.ravel().tolist(), truth.ravel().tolist(), strict=True):
            if t != IGNORE:
                plain[t, N if p == IGNORE else p] += 1
    counts = counted(pairs)
    assert np.array_equal(counts.confusion, plain)
    assert (
        int(counts.truth.sum())
        == int(plain.sum())
        == sum(int((truth != IGNORE).sum()) for _, truth in pairs)
    )
    for k, iou in enumerate(counts.per_class_iou()):
        union = plain[k].sum() + plain[:, k].sum() - plain[k, k]
        assert (np.isnan(iou) and union == 0) or iou == plain[k, k] / union


@few
@given(pairs=scored())
def test_scores_lie_in_bounds_and_counts_nest(
    pairs: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    counts = counted(pairs)
    assert (counts.intersection <= np.minimum(counts.prediction, counts.truth)).all()
    for value in (counts.miou(), counts.coverage(), *counts.per_class_iou()):
        assert np.isnan(value) or 0 <= value <= 1
    perfect = counted([(truth, truth) for _, truth in pairs])
    assert np.isnan(perfect.miou()) or perfect.miou() == 1


@few
@given(pairs=scored(), data=st.data())
def test_neither_the_order_of_images_nor_of_pixels_nor_of_classes_matters(
    pairs: list[tuple[np.ndarray, np.ndarray]], data: st.DataObject
) -> None:
    counts = counted(pairs)
    order = data.draw(st.permutations(range(len(pairs))))
    other = counted(pairs, list(order))
    assert np.array_equal(counts.rows(counts.ids), other.rows(counts.ids))
    assert np.array_equal(counts.confusion, other.confusion)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    mixed = []
    for pred, truth in pairs:
        places = rng.permutation(pred.size)
        mixed.append(
            (
                pred.ravel()[places].reshape(pred.shape),
                truth.ravel()[places].reshape(truth.shape),
            )
        )
    assert np.array_equal(counted(mixed).rows(counts.ids), counts.rows(counts.ids))
    names = data.draw(st.permutations(range(N)))
    table = np.arange(256, dtype=np.uint8)
    table[:N] = names
    renamed = counted([(table[pred], table[truth]) for pred, truth in pairs])
    assert np.array_equal(
        renamed.per_class_iou()[list(names)], counts.per_class_iou(), equal_nan=True
    )


@few
@given(pairs=scored())
def test_stored_counts_come_back(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    counts = counted(pairs)
    with tempfile.TemporaryDirectory() as place:
        counts.save(Path(place) / "c.npz")
        found = Counts.load(Path(place) / "c.npz")
    assert (found.classes, found.ids) == (counts.classes, counts.ids)
    assert np.array_equal(found.rows(counts.ids), counts.rows(counts.ids))
    assert np.array_equal(found.confusion, counts.confusion)


@st.composite
def seeds(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class ids, scores on the thresholds' own grid (ties included), truth."""
    ids = np.array(sorted(draw(st.sets(st.integers(1, N - 1)))), np.int64)
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    scores = (
        draw(
            hnp.arrays(np.int64, (len(ids), *shape), elements=st.integers(0, 20))
        ).astype(np.float32)
        / 20
    )
    return ids, scores, draw(masks(shape))


@few
@given(found=st.lists(seeds(), min_size=1, max_size=3), at=st.integers(0, 20))
def test_a_curve_counts_at_each_threshold_what_a_full_evaluation_counts(
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]], at: int
) -> None:
    thresholds = np.arange(21) / 20
    curve, plain = CurveBuilder(CLASSES, thresholds), CountsBuilder(CLASSES)
    for index, (ids, scores, truth) in enumerate(found):
        curve.add(f"i{index}", ids, scores, truth)
        label = np.zeros(truth.shape, np.uint8)
        if len(ids):
            label = np.where(
                scores.max(0) > np.float32(thresholds[at]), ids[scores.argmax(0)], 0
            ).astype(np.uint8)
        plain.add(f"i{index}", label, truth)
    one, other = curve.result().counts(float(thresholds[at])), plain.result()
    assert np.array_equal(one.rows(other.ids), other.rows(other.ids))
    assert np.array_equal(one.confusion, other.confusion)
    with tempfile.TemporaryDirectory() as place:
        curve.result().save(Path(place) / "c.npz")
        back = ThresholdCurve.load(Path(place) / "c.npz")
    assert np.array_equal(back.confusion, curve.result().confusion)


# ---- artifacts


def view_of(folder: Path, size: tuple[int, int], labels: tuple[int, ...]) -> WeakView:
    Image.new("RGB", size[::-1]).save(folder / "a.png")
    return WeakView("any", "train", CLASSES, [WeakImage("a", folder / "a.png", labels)])


@st.composite
def stored_seeds(draw: st.DrawFn) -> Seed:
    ids = np.array(sorted(draw(st.sets(st.integers(1, N - 1)))), np.int64)
    grid = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    unit = st.floats(0, 1, width=16)
    scores = draw(hnp.arrays(np.float32, (len(ids), *grid), elements=unit))
    background = draw(st.none() | hnp.arrays(np.float32, grid, elements=unit))
    rank = draw(st.none() | hnp.arrays(np.float32, (len(ids), *grid), elements=unit))
    return Seed(
        ids,
        scores,
        draw(st.tuples(st.integers(1, 9), st.integers(1, 9))),
        background,
        rank,
    )


@few
@given(seed=stored_seeds())
def test_seeds_come_back_as_written(seed: Seed) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        out = SeedWriter(
            folder / "s",
            view_of(folder, seed.size, tuple(seed.class_ids.tolist())),
            "test",
        )
        out.write("a", seed)
        pack = folder / "s" / "items" / "000.npz"
        first = pack.read_bytes()
        out.write("a", seed)
        assert pack.read_bytes() == first
        found: Seed = out.close()["a"]
    assert found.size == seed.size
    assert np.array_equal(found.class_ids, seed.class_ids)
    for name in ("scores", "background", "rank"):
        one, other = getattr(found, name), getattr(seed, name)
        assert (one is None) == (other is None)
        assert one is None or (one.dtype == np.float32 and np.array_equal(one, other))
    assert found.problems(tuple(seed.class_ids.tolist())) == []


@few
@given(data=st.data(), shape=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_label_maps_come_back_as_written(
    data: st.DataObject, shape: tuple[int, int]
) -> None:
    label = data.draw(masks(shape))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        out = LabelWriter(folder / "l", view_of(folder, shape, (1, 2, 3)), "test")
        out.write("a", label)
        found = out.close()["a"]
        write_mask(folder / "m.png", label)
        assert np.array_equal(read_mask(folder / "m.png", folder / "a.png", N), label)
    assert found.dtype == np.uint8
    assert np.array_equal(found, label)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@few
@given(payload=plain)
def test_json_comes_back_as_written(payload: object) -> None:
    with tempfile.TemporaryDirectory() as place:
        write_json(Path(place) / "x.json", payload)
        assert read_json(Path(place) / "x.json") == payload


@few
@given(found=hnp.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8))))
def test_run_lengths_describe_the_region_they_were_made_of(found: np.ndarray) -> None:
    flat = found.T.ravel()
    edges = np.flatnonzero(np.diff(flat.astype(np.int8), prepend=0))
    counts = np.diff([0, *edges.tolist(), flat.size]).tolist()
    rle = {"size": list(found.shape), "counts": counts}
    assert np.array_equal(decode_rle(rle, *found.shape), found)
    text = compress(counts)
    assert decode_counts(text) == counts
    assert np.array_equal(decode_rle({**rle, "counts": text}, *found.shape), found)


def compress(counts: list[int]) -> str:
    """COCO's compressed form, from its description.

    5 bits a character; from the fourth run on the difference to the one two before.
    """
    out = []
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            group = value & 31
            value >>= 5
            more = value != (-1 if group & 16 else 0)
            out.append(chr(48 + (group | 32 if more else group)))
    return "".join(out)


@pytest.mark.parametrize("kind", ["seeds", "labels"])
def test_an_unfinished_folder_is_no_artifact(kind: str, tmp_path: Path) -> None:
    view = view_of(tmp_path, (3, 3), (1,))
    writer, reader = (
        (SeedWriter, SeedSet) if kind == "seeds" else (LabelWriter, LabelSet)
    )
    writer(tmp_path / "x", view, "test")
    with pytest.raises(Exception, match=r"manifest\.json is missing"):
        reader(tmp_path / "x")


# ---- recipes


names = st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True)
params = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True),
    st.integers() | st.text(max_size=8),
    max_size=3,
)
slots = st.builds(lambda name, found: Slot(name, tuple(found.items())), names, params)
picks = slots | st.just(Slot("_"))
threes = st.tuples(picks | st.just(Slot("-")), picks, picks).filter(
    lambda found: any(s.name not in "_-" for s in found)
)
recipes = st.builds(Recipe, st.tuples(slots) | threes)


@few
@given(recipe=recipes)
def test_recipes_come_back_and_name_runs_that_records_accept(recipe: Recipe) -> None:
    assert parse_recipe(str(recipe)) == recipe
    assert soundness._NAME.fullmatch(f"{recipe.slug}-s0-0123abcd")
    assert re.fullmatch(r"[^/\s]+", recipe.slug)
