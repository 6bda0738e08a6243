"""PNGs of class indices: which palettes count, and what is said of those that do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.exchange.labels import read_label
from wsss_bench.exchange.listing import listing
from wsss_bench.io.images import voc_palette, write_mask
from wsss_bench.io.palettes import indices

LABEL = np.asarray([[0, 1, 2], [7, 20, 255]], np.uint8)
COLOURS = np.asarray(voc_palette(), np.uint8).reshape(-1, 3)


def palette_png(path: Path, palette: list[int]) -> Path:
    image = Image.fromarray(LABEL)
    image.putpalette(palette)
    image.save(path)
    return path


def test_indices_in_vocs_colours_or_grey_are_read(tmp_path: Path) -> None:
    write_mask(tmp_path / "voc.png", LABEL)
    ramp = [value for value in range(256) for _ in range(3)]
    palette_png(tmp_path / "ramp.png", ramp)
    # The border is drawn in any colour.
    palette_png(tmp_path / "border.png", [*voc_palette()[:-3], 255, 255, 255])
    Image.fromarray(LABEL).save(tmp_path / "grey.png")
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(read_label(path), LABEL)


def test_colours_of_indices_that_do_not_occur_mean_nothing(tmp_path: Path) -> None:
    palette = voc_palette()
    palette[9:12] = [1, 2, 3]
    np.testing.assert_array_equal(
        read_label(palette_png(tmp_path / "a.png", palette)), LABEL
    )
    palette[6:9] = [1, 2, 3]
    path = palette_png(tmp_path / "b.png", palette)
    with pytest.raises(ArtifactError) as raised:
        read_label(path)
    assert f"{path} has a foreign palette: index 2 is drawn (1, 2, 3)" in str(
        raised.value
    )


def test_every_index_is_found_again_from_its_colour() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(indices(COLOURS[every]), every)
    strange = COLOURS[every].copy()
    strange[3, 4] = [1, 2, 3]
    with pytest.raises(ValueError, match=r"the colour \(1, 2, 3\) is none of VOC's"):
        indices(strange)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("RGB", "They are VOC's: look them up"),
        ("RGBA", "is a RGBA image: colours"),
        ("1", "is a 1 image: not 8 bits"),
        ("I;16", "is a I;16 image: not 8 bits"),
    ],
)
def test_other_pixels_are_refused(tmp_path: Path, mode: str, message: str) -> None:
    image = Image.fromarray(COLOURS[LABEL])
    wide = Image.fromarray(LABEL.astype(np.uint16))
    made = wide if mode == "I;16" else image.convert(mode)
    made.save(tmp_path / "a.png")
    with pytest.raises(ArtifactError, match=message):
        read_label(tmp_path / "a.png")


def test_a_photograph_is_no_label_map(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    with pytest.raises(ArtifactError, match="They are not VOC's: the colour"):
        read_label(tmp_path / "a.png")


def test_suffixes_count_in_any_case_and_lower_case_first(tmp_path: Path) -> None:
    for name in ("a.PNG", "b.png", "b.PNG", "c.Png", "d.npy"):
        (tmp_path / name).touch()
    found = listing(tmp_path, "prediction")
    assert {key: path.name for key, path in found.files.items()} == {
        "a": "a.PNG",
        "b": "b.png",
        "c": "c.Png",
    }
    assert found.unused(found.of(["a", "b"])) == 1
    for name in ("e.npy", "e.npz", "f.NPY"):
        (tmp_path / name).touch()
    seeds = listing(tmp_path, "seeds").of(["d", "e", "f"])
    assert [path.name for path in seeds.values()] == ["d.npy", "e.npz", "f.NPY"]
    with pytest.raises(DataError, match=r"1 of 2 images have no \.npz or \.npy file"):
        listing(tmp_path, "seeds").of(["d", "x"])


def test_images_of_coco_are_found_by_their_number(tmp_path: Path) -> None:
    start = "COCO_val2014_"
    for name in (f"{start}000000000139", "000000000802", "5001", "000000000139"):
        (tmp_path / f"{name}.png").touch()
    ids = [f"{start}{number:012}" for number in (139, 802, 5001)]
    found = listing(tmp_path, "labels")
    used = found.of(ids)
    names = [path.stem for path in used.values()]
    # The id itself comes first.
    assert names == [ids[0], "000000000802", "5001"]
    assert found.unused(used) == 1
    with pytest.raises(DataError, match="1 of 1 images"):
        found.of(["000000000802_x"])
