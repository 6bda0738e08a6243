from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from crf_fakes import beliefs, photo
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_fakes import hide_kernel

from wsss_bench.errors import WsssError
from wsss_bench.toolbox import crf
from wsss_bench.toolbox.crf import (
    crf_labels,
    dense_crf,
    dense_crf_shared,
)
from wsss_bench.toolbox.crf_presets import PRESETS, CrfParams
from wsss_bench.toolbox.kernels import meanfield as _meanfield
from wsss_bench.toolbox.kernels import permutohedral as _permutohedral

BACKENDS = ["pydensecrf", "numba"]


def test_published_constants():
    assert PRESETS["psa"] == PRESETS["dsrg"] == CrfParams(10, 3, 3, 80, 13, 10)
    assert PRESETS["irn"] == CrfParams(10, 3, 3, 50, 5, 10)
    assert PRESETS["deeplab"] == CrfParams(10, 1, 3, 67, 3, 4)
    assert PRESETS["vwe2"] == CrfParams(10, 1, 3, 64, 3, 4)


def test_scaling_divides_the_spatial_deviations_only():
    small = PRESETS["dsrg"].scaled(12)
    assert small.bilateral_sxy == pytest.approx(6.67, abs=0.01)
    assert small == CrfParams(10, 0.25, 3, 80 / 12, 13, 10)


def test_label_energies():
    labels = np.array([[0, 2], [1, 255]], np.uint8)
    unary = crf.unary_from_labels(labels, 3)
    assert unary.dtype == np.float32
    found = unary[:, 0, 0].tolist()
    assert found == pytest.approx([0.35667, 1.89712, 1.89712], abs=1e-5)
    found = unary[:, 0, 1].tolist()
    assert found == pytest.approx([1.89712, 1.89712, 0.35667], abs=1e-5)
    assert unary[:, 1, 1].tolist() == pytest.approx([math.log(3)] * 3)


@pytest.mark.parametrize(
    ("labels", "k", "p"),
    [([[3]], 3, 0.7), ([[0]], 1, 0.7), ([[0]], 3, 1.0), ([[-1]], 3, 0.7)],
)
def test_label_energies_refuse_nonsense(labels, k, p):
    with pytest.raises(ValueError, match="unary_from_labels"):
        crf.unary_from_labels(np.array(labels), k, p)


def test_probability_energies_need_no_normalisation_and_have_a_floor():
    unary = crf.unary_from_probabilities(np.array([[[0.0625, 0.0]], [[0.5, 1.0]]]))
    assert unary[:, 0, 0].tolist() == pytest.approx([2.7726, 0.6931], abs=1e-4)
    assert unary[:, 0, 1].tolist() == pytest.approx([-math.log(1e-5), 0])


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("labels", [2, 3, 4, 5, 9])
def test_both_back_ends_give_the_same_marginals(preset, labels):
    rng = np.random.default_rng(labels)
    image, probs = photo(rng, 61, 83), beliefs(rng, labels, 61, 83)
    unary = crf.unary_from_probabilities(probs)
    # Three steps show that both compute the same. Ten amplify rounding where two labels tie: moving an energy by its
    # last bit moves pydensecrf's own marginals by up to 2e-4 on such cells.
    for iterations, tolerance in ((3, 1e-5), (10, 1e-3)):
        theirs, ours = (
            dense_crf(image, unary, replace(PRESETS[preset], iterations=iterations), b)
            for b in BACKENDS
        )
        assert np.array_equal(theirs.argmax(0), ours.argmax(0))
        assert np.abs(theirs - ours).max() <= tolerance
        assert np.quantile(np.abs(theirs - ours), 0.999) <= 2e-5
        assert np.allclose(ours.sum(axis=0), 1, atol=1e-5)
        assert not np.array_equal(ours.argmax(0), probs.argmax(0)), (
            "the CRF changed nothing, so this compares nothing"
        )


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 6),
    st.integers(0, 5),
)
@settings(max_examples=40, deadline=None)
def test_both_back_ends_agree_on_any_size(seed, h, w, labels, iterations):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
    unary = rng.normal(0, 2, (labels, h, w)).astype(np.float32)
    params = CrfParams(iterations, 2.0, 2.0, 10.0, 20.0, 4.0)
    theirs, ours = (dense_crf(image, unary, params, b) for b in BACKENDS)
    assert np.abs(theirs - ours).max() <= 1e-4


@pytest.mark.realdata
def test_both_back_ends_agree_on_photographs():
    root = os.environ.get("WSSS_BENCH_TEST_DATA")
    if not root:
        pytest.skip("WSSS_BENCH_TEST_DATA is not set")
    from PIL import Image

    files = sorted(Path(root).glob("voc-pack/VOCdevkit/VOC2012/JPEGImages/*.jpg"))[
        ::700
    ]
    assert files
    for i, file in enumerate(files):
        image = np.asarray(Image.open(file).convert("RGB"))
        unary = crf.unary_from_probabilities(
            beliefs(np.random.default_rng(i), 3, *image.shape[:2])
        )
        theirs, ours = (dense_crf(image, unary, PRESETS["dsrg"], b) for b in BACKENDS)
        assert np.array_equal(theirs.argmax(0), ours.argmax(0))
        assert np.abs(theirs - ours).max() <= 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
def test_read_only_input_is_accepted_and_input_is_not_changed(backend):
    rng = np.random.default_rng(1)
    image = photo(rng, 20, 30)
    unary = crf.unary_from_probabilities(beliefs(rng, 2, 20, 30))
    copies = image.copy(), unary.copy()
    image.setflags(write=False)
    unary.setflags(write=False)
    dense_crf(image, unary, PRESETS["dsrg"], backend)
    assert np.array_equal(image, copies[0])
    assert np.array_equal(unary, copies[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_constant_per_pixel_in_the_energies_changes_nothing(backend):
    rng = np.random.default_rng(2)
    image = photo(rng, 24, 24)
    unary = crf.unary_from_probabilities(beliefs(rng, 3, 24, 24))
    shifted = unary + rng.normal(0, 5, (1, 24, 24)).astype(np.float32)
    a = dense_crf(image, unary, PRESETS["dsrg"], backend)
    b = dense_crf(image, shifted, PRESETS["dsrg"], backend)
    assert np.abs(a - b).max() < 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_iteration_is_the_softmax(backend):
    rng = np.random.default_rng(3)
    probs = beliefs(rng, 4, 9, 7)
    q = dense_crf(
        photo(rng, 9, 7),
        crf.unary_from_probabilities(probs),
        CrfParams(0, 3, 3, 80, 13, 10),
        backend,
    )
    assert np.abs(q - probs).max() < 1e-5


def test_huge_energies_stay_finite():
    rng = np.random.default_rng(4)
    unary = rng.uniform(5e4, 6e4, (3, 12, 12)).astype(np.float32)
    q = dense_crf(photo(rng, 12, 12), unary, PRESETS["dsrg"], "numba")
    assert np.array_equal(q.argmax(0), unary.argmin(0))
    assert np.allclose(q.sum(0), 1)


def test_absent_classes_that_share_an_energy_are_represented_exactly_by_one(
    monkeypatch,
):
    rng = np.random.default_rng(5)
    image, probs = photo(rng, 50, 60), beliefs(rng, 3, 50, 60) * 0.9
    unary = crf.unary_from_probabilities(probs)
    absent = np.full((50, 60), -math.log(0.1 / 18), np.float32)
    everything = np.concatenate([unary, np.broadcast_to(absent, (18, 50, 60))])
    full = dense_crf(image, everything, PRESETS["dsrg"], "pydensecrf")
    short = dense_crf_shared(image, unary, absent, 18, PRESETS["dsrg"])
    assert np.abs(full[:3] - short).max() <= 1e-4
    left_out = dense_crf(image, unary, PRESETS["dsrg"])
    assert np.abs(full[:3] - left_out).max() > 1e-2, (
        "leaving them out is no different here, so this shows nothing"
    )
    found = dense_crf_shared(image, unary, absent, 0, PRESETS["dsrg"])
    assert np.array_equal(found, left_out)
    hide_kernel(monkeypatch, "meanfield")
    # pydensecrf on both sides now: only the order of sums may differ.
    repeated = dense_crf_shared(image, unary, absent, 18, PRESETS["dsrg"])
    assert np.abs(full[:3] - repeated).max() <= 1e-6


def test_without_numba_auto_takes_pydensecrf_and_asking_for_numba_says_what_to_install(
    monkeypatch,
):
    rng = np.random.default_rng(6)
    image = photo(rng, 10, 10)
    unary = crf.unary_from_probabilities(beliefs(rng, 2, 10, 10))
    expected = dense_crf(image, unary, PRESETS["dsrg"], "pydensecrf")
    hide_kernel(monkeypatch, "meanfield")
    assert np.array_equal(dense_crf(image, unary, PRESETS["dsrg"]), expected)
    with pytest.raises(WsssError, match="pip install numba"):
        dense_crf(image, unary, PRESETS["dsrg"], "numba")


def test_without_pydensecrf_auto_takes_numba_for_any_number_of_labels(monkeypatch):
    rng = np.random.default_rng(7)
    image = photo(rng, 10, 10)
    unary = crf.unary_from_probabilities(beliefs(rng, 21, 10, 10))
    expected = dense_crf(image, unary, PRESETS["dsrg"], "numba")
    monkeypatch.setattr(crf, "_has_pydensecrf", lambda: False)
    assert np.array_equal(dense_crf(image, unary, PRESETS["dsrg"]), expected)
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(WsssError, match="pydensecrf2"):
        dense_crf(image, unary, PRESETS["dsrg"], "pydensecrf")


def test_auto_takes_the_compiled_back_end_for_few_labels_only(monkeypatch):
    used = []
    monkeypatch.setattr(
        _meanfield,
        "infer",
        lambda image, unary, *rest: used.append(len(unary)) or unary,
    )
    monkeypatch.setattr(crf, "_pydensecrf", lambda image, unary, params: unary)
    image = np.zeros((4, 4, 3), np.uint8)
    for labels in (2, crf.FEW_LABELS, crf.FEW_LABELS + 1, 21):
        dense_crf(image, np.zeros((labels, 4, 4), np.float32), PRESETS["dsrg"])
    dense_crf(image, np.zeros((2, 4, 4), np.float32), CrfParams(1, 1, 1, 1, 0.01, 1))
    assert used == [2, crf.FEW_LABELS]


def test_deviations_too_small_for_the_keys_are_refused_not_garbled():
    with pytest.raises(ValueError, match="pydensecrf"):
        dense_crf(
            np.zeros((4, 4, 3), np.uint8),
            np.zeros((2, 4, 4), np.float32),
            CrfParams(1, 1, 1, 1, 0.01, 1),
            "numba",
        )


@pytest.mark.parametrize("d", [2, 5])
def test_lattice_weights_are_barycentric_and_neighbours_are_mutual(d):
    features = (np.random.default_rng(d).random((d, 3000)) * 20).astype(np.float32)
    lattice = _permutohedral.build(features)
    assert np.allclose(lattice.weights.sum(axis=1), 1, atol=1e-5)
    assert lattice.weights.min() > -1e-5
    assert lattice.offsets.min() >= 1
    assert len(np.unique(lattice.offsets)) == lattice.neighbours.shape[1] - 1
    forward, backward = lattice.neighbours[..., 0], lattice.neighbours[..., 1]
    for j in range(d + 1):
        has = np.flatnonzero(forward[j])
        assert np.array_equal(backward[j, forward[j, has]], has)
    assert (lattice.neighbours[:, 0] == 0).all()


def test_threads_do_not_disturb_each_other():
    rng = np.random.default_rng(8)
    image = photo(rng, 60, 70)
    unary = crf.unary_from_probabilities(beliefs(rng, 3, 60, 70))
    expected = dense_crf(image, unary, PRESETS["dsrg"], "numba")
    results: list[np.ndarray] = []
    threads = [
        threading.Thread(
            target=lambda: results.append(
                dense_crf(image, unary, PRESETS["dsrg"], "numba")
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(np.array_equal(r, expected) for r in results)


@pytest.mark.parametrize(
    ("image", "unary", "message"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((2, 4, 4), np.float32), "H, W, 3"),
        (np.zeros((4, 4, 3), np.float32), np.zeros((2, 4, 4), np.float32), "uint8"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((2, 4, 5), np.float32), "grid"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((2, 4, 4), np.float64), "float64"),
        (
            np.zeros((4, 4, 3), np.uint8),
            np.full((2, 4, 4), np.inf, np.float32),
            "finite",
        ),
    ],
)
def test_broken_contracts_are_refused(image, unary, message):
    with pytest.raises(ValueError, match=message):
        dense_crf(image, unary, PRESETS["dsrg"])


def test_unknown_options_are_refused():
    image, unary = np.zeros((4, 4, 3), np.uint8), np.zeros((2, 4, 4), np.float32)
    with pytest.raises(ValueError, match="back end"):
        dense_crf(image, unary, PRESETS["dsrg"], "cuda")
    with pytest.raises(ValueError, match="likely"):
        crf_labels(image, unary, PRESETS["dsrg"], "some")


def test_import_needs_neither_torch_nor_numba_nor_pydensecrf():
    code = """
import sys
import wsss_bench.toolbox.crf
print([m in sys.modules for m in ("torch", "numba", "pydensecrf", "cv2")])
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[False, False, False, False]"
