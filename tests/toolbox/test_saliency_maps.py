from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss_bench.errors import DataError
from wsss_bench.io.images import write_mask
from wsss_bench.toolbox.saliency_maps import read_saliency

SIZE = (6, 8)


def grey(height: int = 6, width: int = 8) -> np.ndarray:
    found = np.zeros((height, width), np.uint8)
    found[:, width // 2 :] = 255
    return found


def save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    "name",
    ["a.png", "a.PNG", "a_DRFI.png", "a_sal.png", "a_saliency.Png"],
)
def test_names(tmp_path: Path, name: str) -> None:
    save(tmp_path / name, grey())
    found = read_saliency(tmp_path, "a", SIZE)
    assert found.dtype == np.float32
    assert found[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_two_maps_of_one_image(tmp_path: Path) -> None:
    save(tmp_path / "a.png", grey())
    save(tmp_path / "a_DRFI.png", grey())
    with pytest.raises(DataError, match=r"a\.png and a_DRFI\.png, of which one"):
        read_saliency(tmp_path, "a")


def test_pixel_formats(tmp_path: Path) -> None:
    half = np.full(SIZE, 100, np.uint8)
    save(tmp_path / "grey.png", half)
    save(tmp_path / "rgb.png", np.stack([half] * 3, axis=2))
    save(tmp_path / "rgba.png", np.stack([half] * 4, axis=2))
    save(tmp_path / "deep.png", half.astype(np.uint16) * 257)
    save(tmp_path / "jpeg.jpg", half)
    for name in ("grey", "rgb", "rgba", "deep", "jpeg"):
        found = read_saliency(tmp_path, name, SIZE)
        assert np.allclose(found, 100 / 255, atol=0.01), name
    Image.fromarray(grey()).convert("1").save(tmp_path / "bits.png")
    assert read_saliency(tmp_path, "bits").max() == 1


def test_colours_are_no_saliency(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    save(tmp_path / "photo.png", noise)
    write_mask(tmp_path / "mask.png", np.full(SIZE, 15, np.uint8))
    for name in ("photo", "mask"):
        with pytest.raises(DataError, match=rf"{name}\.png has colours.*saliency_dir"):
            read_saliency(tmp_path, name)


def test_maps_saved_without_their_factor(tmp_path: Path) -> None:
    save(tmp_path / "a.png", grey() // 255)
    with pytest.raises(DataError, match=r"a\.png holds 0 and 1 only.*by 255"):
        read_saliency(tmp_path, "a")
    save(tmp_path / "a.png", grey())
    assert read_saliency(tmp_path, "a").max() == 1
    # Nothing salient is an answer too.
    save(tmp_path / "b.png", np.zeros(SIZE, np.uint8))
    assert read_saliency(tmp_path, "b").max() == 0


@pytest.mark.parametrize("shape", [(6, 8), (12, 16), (3, 4), (5, 7), (32, 32)])
def test_sizes_that_are_taken(tmp_path: Path, shape: tuple[int, int]) -> None:
    save(tmp_path / "a.png", grey(*shape))
    assert read_saliency(tmp_path, "a", SIZE).shape == shape


def test_sizes_of_other_images(tmp_path: Path) -> None:
    save(tmp_path / "a.png", grey(80, 60))
    with pytest.raises(DataError, match=r"is 80x60 .* 60x80\. It is turned"):
        read_saliency(tmp_path, "a", (60, 80))
    save(tmp_path / "a.png", grey(60, 200))
    with pytest.raises(DataError, match=r"60x200 .* 60x80\. Its proportions"):
        read_saliency(tmp_path, "a", (60, 80))


def test_missing_and_damaged(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"saliency_dir=.*none is no folder"):
        read_saliency(tmp_path / "none", "a")
    with pytest.raises(DataError, match=r"a\.png is missing.*saliency_dir needs"):
        read_saliency(tmp_path, "a")
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        read_saliency(tmp_path, "a")
