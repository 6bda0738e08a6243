from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_fakes import CLASSES, make_context, make_view

from wsss_bench.contract.artifacts import LabelWriter, Segmentor
from wsss_bench.engine.inference import TestSettings as Settings
from wsss_bench.engine.inference import predict_probabilities
from wsss_bench.toolbox import prediction
from wsss_bench.toolbox.prediction import predict

SEGMENTOR = Segmentor(Path("c.py"), Path("w.pth"), {"scales": [1.0], "crf": "dsrg"})


class Fake:
    """Logits that depend on how often it was called; remembers what it saw."""

    def __init__(self, *logits: list[float]) -> None:
        self.logits, self.seen = list(logits), []  # type: ignore[var-annotated]

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        self.seen.append(pixels.clone())
        chosen = torch.tensor(self.logits[min(len(self.seen), len(self.logits)) - 1])
        return chosen.view(1, -1, 1, 1).expand(
            1, len(chosen), max(1, pixels.shape[2] // 4), max(1, pixels.shape[3] // 4)
        )

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        return [tuple(p.shape[2:]) for p in self.seen]


class Bright:
    """Cat where red is bright, dog where green is; also the image's left third is a little more of a cat."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        grey = torch.full_like(pixels[:, :1], 5.0)
        return torch.cat(
            [grey, (pixels[:, :1] - 150) / 10, (pixels[:, 1:2] - 150) / 10], 1
        )


def of(fake: Any, image: np.ndarray, **settings: Any) -> np.ndarray:
    return predict_probabilities(fake, image, Settings(**settings), "cpu")


IMAGE = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)


def test_one_scale_is_the_softmax_at_the_photographs_size() -> None:
    fake = Fake([2.0, 0.0, 0.0])
    found = of(fake, IMAGE)
    assert found.shape == (3, 20, 30)
    assert found.dtype == np.float32
    assert fake.sizes == [(20, 30)]
    assert torch.equal(
        fake.seen[0][0].permute(1, 2, 0), torch.from_numpy(IMAGE).float()
    )
    # card of DSRG: [2, 0, 0] is 0.787
    assert found[0] == pytest.approx(0.787, abs=5e-4)


def test_scales_and_mirror_multiply_the_passes() -> None:
    fake = Fake([1.0, 0.0])
    of(fake, IMAGE, scales=(0.5, 1.0, 2.0), flip=True)
    assert fake.sizes == [(10, 15), (10, 15), (20, 30), (20, 30), (40, 60), (40, 60)]
    assert torch.equal(fake.seen[2].flip(3), fake.seen[3])


def test_a_tiny_scale_keeps_eight_pixels() -> None:
    fake = Fake([1.0, 0.0])
    of(fake, IMAGE, scales=(0.1,))
    assert fake.sizes == [(8, 8)]


def test_warping_ignores_the_aspect_and_comes_back() -> None:
    fake = Fake([1.0, 0.0])
    assert of(fake, IMAGE, scales=(0.75, 1.0, 1.25), warp=32).shape == (2, 20, 30)
    assert fake.sizes == [(24, 24), (32, 32), (40, 40)]


def test_merging_probabilities_averages_and_merging_logits_sums() -> None:
    e = np.exp
    averaged = of(Fake([2.0, 0.0], [0.0, 0.0]), IMAGE, scales=(1.0, 2.0))
    assert averaged[0] == pytest.approx((e(2) / (e(2) + 1) + 0.5) / 2, abs=1e-5)
    # card of DSRG: three logit maps [2, 0, 0] summed are 0.995
    summed = of(Fake([2.0, 0.0, 0.0]), IMAGE, scales=(0.75, 1.0, 1.25), merge="logits")
    assert summed[0] == pytest.approx(0.995, abs=5e-4)
    assert summed.sum(0) == pytest.approx(1, abs=1e-5)


def test_the_mirrored_pass_is_mirrored_back() -> None:
    class Left:
        """Class 1 where the given pixels are bright: follows the image through the mirror."""

        def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.zeros_like(pixels[:, :1]), pixels[:, :1] - 100], 1)

    image = np.zeros((8, 12, 3), np.uint8)
    image[:, :3] = 200
    found = of(Left(), image, flip=True)
    assert (found[1, :, :3] > 0.99).all()
    assert (found[1, :, 3:] < 0.01).all()


def test_precision_is_that_of_the_settings() -> None:
    seen = []

    class Watched(Fake):
        def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().__call__(pixels)

    for amp in ("", "bf16"):
        assert of(Watched([1.0, 0.0]), IMAGE, amp=amp).dtype == np.float32
    assert seen == [False, True]


def test_settings_of_an_artifact_with_keys_of_another_version() -> None:
    found = Settings.of({"scales": [1, 2], "flip": True, "sharpness": 3})
    assert found == Settings((1.0, 2.0), True, "probs", 0, "dsrg")


def writers(
    folder: Path, view: Any, crf: bool = True
) -> tuple[LabelWriter, LabelWriter | None]:
    return (
        LabelWriter(folder / "raw", view, "test", tags=False),
        LabelWriter(folder / "crf", view, "test", tags=False) if crf else None,
    )


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> Bright:
    model = Bright()
    monkeypatch.setattr(prediction, "load_segmentor", lambda segmentor, device: model)
    return model


def test_raw_and_crf_labels_are_written_in_one_pass(
    tmp_path: Path, bright: Bright
) -> None:
    view = make_view(tmp_path / "images", 3)
    out, out_crf = writers(tmp_path, view)
    seen: list[tuple[int, int]] = []
    ctx = make_context(
        tmp_path, progress=lambda what, done, total: seen.append((done, total))
    )
    predict(SEGMENTOR, view, out, out_crf, ctx)
    assert out_crf is not None
    raw, crf = out.close(), out_crf.close()
    assert bright.calls == 3
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert raw["im0"][16, 15] == 1
    assert raw["im1"][16, 15] == 2
    assert raw["im0"][2, 2] == 0
    assert crf["im0"].shape == raw["im0"].shape == (32, 40)
    assert crf["im0"][16, 15] == 1


def test_predicting_again_does_only_what_is_missing(
    tmp_path: Path, bright: Bright
) -> None:
    view = make_view(tmp_path / "images", 3)
    out, out_crf = writers(tmp_path, view)
    assert out_crf is not None
    ctx = make_context(tmp_path)
    predict(SEGMENTOR, view, out, out_crf, ctx)
    predict(SEGMENTOR, view, out, out_crf, ctx)
    assert bright.calls == 3
    out_crf.file("im1").unlink()
    stamp = out.file("im1").stat().st_mtime_ns
    predict(SEGMENTOR, view, out, out_crf, ctx)
    assert bright.calls == 4
    assert out.file("im1").stat().st_mtime_ns == stamp
    assert out_crf.done("im1")
    predict(SEGMENTOR, view, out, None, ctx)
    assert bright.calls == 4


def test_a_finished_prediction_loads_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bright: Bright
) -> None:
    view = make_view(tmp_path / "images", 1)
    out, _ = writers(tmp_path, view, crf=False)
    predict(SEGMENTOR, view, out, None, make_context(tmp_path))
    monkeypatch.setattr(prediction, "load_segmentor", lambda *_: pytest.fail("loaded"))
    predict(SEGMENTOR, view, out, None, make_context(tmp_path))


def test_restricted_to_tags(tmp_path: Path, bright: Bright) -> None:
    # every photograph is said to hold a dog only, though half of them show cats
    view = make_view(tmp_path / "images", 2, tags=lambda n: (2,))
    out, out_crf = writers(tmp_path, view)
    assert out_crf is not None
    predict(SEGMENTOR, view, out, out_crf, make_context(tmp_path), restrict=True)
    raw, crf = out.close(), out_crf.close()
    assert set(np.unique(raw["im0"])) <= {0, 2}
    assert set(np.unique(crf["im0"])) <= {0, 2}
    assert raw["im1"][16, 15] == crf["im1"][16, 15] == 2


def test_restricted_without_any_tag_is_background(
    tmp_path: Path, bright: Bright
) -> None:
    view = make_view(tmp_path / "images", 1, tags=lambda n: ())
    out, out_crf = writers(tmp_path, view)
    assert out_crf is not None
    predict(SEGMENTOR, view, out, out_crf, make_context(tmp_path), restrict=True)
    assert (out.close()["im0"] == 0).all()
    assert (out_crf.close()["im0"] == 0).all()


def test_probabilities_can_be_transformed_first(tmp_path: Path, bright: Bright) -> None:
    view = make_view(tmp_path / "images", 1)
    out, _ = writers(tmp_path, view, crf=False)
    predict(
        SEGMENTOR,
        view,
        out,
        None,
        make_context(tmp_path),
        transform=lambda p: p[[0, 2, 1]],
    )
    assert out.close()["im0"][16, 15] == 2


def test_hidden_labels_are_no_obstacle_unless_restricted(
    tmp_path: Path, bright: Bright
) -> None:
    from wsss_bench.errors import DataError

    view = make_view(tmp_path / "images", 1, tags=lambda n: None)
    out, _ = writers(tmp_path, view, crf=False)
    with pytest.raises(DataError, match="hidden"):
        predict(SEGMENTOR, view, out, None, make_context(tmp_path), restrict=True)
    predict(SEGMENTOR, view, out, None, make_context(tmp_path))
    assert out.close().manifest["classes"] == list(CLASSES)
