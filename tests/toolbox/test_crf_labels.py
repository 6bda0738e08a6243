"""Label maps after the CRF, and the job that a worker process does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from crf_fakes import beliefs, photo
from PIL import Image

from wsss_bench.toolbox.crf import (
    crf_job,
    crf_labels,
    crf_of_job,
    dense_crf,
    likely_classes,
    unary_from_probabilities,
)
from wsss_bench.toolbox.crf_presets import PRESETS


def test_labels_keep_their_class_ids_when_unlikely_classes_are_left_out():
    rng = np.random.default_rng(9)
    image, three = photo(rng, 40, 40), beliefs(rng, 3, 40, 40)
    probs = np.zeros((21, 40, 40), np.float32)
    probs[[0, 7, 15]] = three
    everything = crf_labels(image, probs, PRESETS["dsrg"])
    assert everything.dtype == np.uint8
    assert set(np.unique(everything)) <= {0, 7, 15}
    likely = crf_labels(image, probs, PRESETS["dsrg"], classes="likely")
    assert np.array_equal(likely, everything)
    ids = np.array([0, 7, 15])
    unary = unary_from_probabilities(three)
    winners = dense_crf(image, unary, PRESETS["dsrg"]).argmax(0)
    assert np.array_equal(likely, ids[winners])
    only_one = np.zeros((3, 40, 40), np.float32)
    only_one[2] = 1
    assert (crf_labels(image, only_one, PRESETS["dsrg"], classes="likely") == 2).all()


def job_case(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A photograph on disk, its pixels, and beliefs of four classes, two of them ruled out."""
    rng = np.random.default_rng(21)
    image = photo(rng, 30, 40)
    path = tmp_path / "one.png"
    Image.fromarray(image).save(path)
    probs = beliefs(rng, 4, 30, 40)
    probs[[1, 2]] = 0
    # So near the floor of energies that classes ruled out would count if they took part.
    probs *= np.float32(3e-5)
    return path, image, probs


def test_a_job_reads_its_photograph_and_takes_the_crf_of_the_likely_classes(tmp_path):
    path, image, _ = job_case(tmp_path)
    probs = beliefs(np.random.default_rng(5), 4, 30, 40)
    # Somewhere a pixel gives the second one less than a thousandth, and no other pixel more.
    probs[1] = 9e-4
    job = crf_job("one", path, probs, restrict=False)
    assert job[2].tolist() == [0, 2, 3]
    assert job[3].shape == (3, 30, 40)
    image_id, labels = crf_of_job(job, "irn")
    assert image_id == "one"
    assert labels.dtype == np.uint8
    expected = crf_labels(image, probs, PRESETS["irn"], classes="likely")
    assert np.array_equal(labels, expected)


def test_a_restricted_job_knows_only_the_classes_that_were_left(tmp_path):
    path, image, probs = job_case(tmp_path)
    _, labels = crf_of_job(crf_job("one", path, probs, restrict=True), "irn")
    two = crf_labels(image, np.ascontiguousarray(probs[[0, 3]]), PRESETS["irn"])
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, np.where(two == 1, 3, 0))
    assert set(np.unique(labels)) == {0, 3}


def test_of_many_likely_classes_the_twenty_likeliest_take_part():
    probs = np.full((81, 4, 5), 2e-3, np.float32)
    probs[0] = 0
    # Peaks of 60 classes, rising with the id; the others are equal.
    for number in range(21, 81):
        probs[number, 1, 2] = number / 100
    assert likely_classes(probs).tolist() == [0, *range(62, 81)]
    probs[21:] = 2e-3
    # Of equal ones those of the lowest ids, and background, which no pixel believes in.
    assert likely_classes(probs).tolist() == list(range(20))
    probs[:] = 0
    assert likely_classes(probs).tolist() == [0]
