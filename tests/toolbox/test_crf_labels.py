"""Label maps after the CRF, and the job that a worker process does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from crf_fakes import beliefs, photo
from PIL import Image

from wsss_bench.toolbox.crf import (
    crf_labels,
    crf_of_job,
    dense_crf,
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


def test_a_job_reads_its_photograph_and_takes_the_crf_of_all_classes(tmp_path):
    path, image, probs = job_case(tmp_path)
    image_id, labels = crf_of_job(("one", path, probs), "irn", restrict=False)
    assert image_id == "one"
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, crf_labels(image, probs, PRESETS["irn"]))


def test_a_restricted_job_knows_only_the_classes_that_were_left(tmp_path):
    path, image, probs = job_case(tmp_path)
    _, labels = crf_of_job(("one", path, probs), "irn", restrict=True)
    two = crf_labels(image, np.ascontiguousarray(probs[[0, 3]]), PRESETS["irn"])
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, np.where(two == 1, 3, 0))
    assert set(np.unique(labels)) == {0, 3}
