"""Packs of arrays: the same bytes in whatever order and with whatever interruption they were written."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_bench.errors import ArtifactError
from wsss_bench.io import packs
from wsss_bench.io.packs import Pack, Packs, PackWriter, member_of


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "SIZE", 4)


IDS = [f"2007_{number:06d}" for number in range(10)]


def arrays_of(image_id: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(int(image_id[-6:]))
    shape = (int(rng.integers(0, 4)), 5, 6)
    return {
        "scores": rng.random(shape).astype(np.float16),
        "class_ids": np.arange(shape[0]),
        "size": np.array([20, 24]),
    }


def written(folder: Path, order: list[str]) -> dict[str, bytes]:
    folder.mkdir(parents=True)
    out = PackWriter(folder, IDS)
    for image_id in order:
        out.write(image_id, arrays_of(image_id))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_packs_are_plain_archives_in_the_order_of_the_images(tmp_path: Path) -> None:
    files = written(tmp_path / "a", IDS)
    assert sorted(files) == ["000.npz", "001.npz", "002.npz"]
    with np.load(tmp_path / "a" / "001.npz", allow_pickle=False) as data:
        names = list(data.files)
        assert names[:3] == [f"{IDS[4]}/{n}" for n in ("class_ids", "scores", "size")]
        assert np.array_equal(data[f"{IDS[5]}/scores"], arrays_of(IDS[5])["scores"])
    assert written(tmp_path / "b", IDS[::-1]) == files
    reader = pickle.loads(pickle.dumps(Packs(tmp_path / "a")))
    for position, image_id in enumerate(IDS):
        found = reader.read(position, image_id)
        assert set(found) == {"scores", "class_ids", "size"}
        assert np.array_equal(found["scores"], arrays_of(image_id)["scores"])
    member = member_of(tmp_path / "a" / "000.npz" / f"{IDS[1]}.npz")
    assert member is not None
    assert np.array_equal(member["scores"], arrays_of(IDS[1])["scores"])
    assert member_of(tmp_path / "a" / "000.npz") is None


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_kills_at_any_byte_lose_one_image_at_most_and_change_nothing(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("packs")
    expected = written(place / "whole", IDS)
    folder = place / "killed"
    folder.mkdir()
    while True:
        out = PackWriter(folder, IDS)
        missing = [image_id for image_id in IDS if not out.done(image_id)]
        if not missing:
            break
        order = data.draw(st.permutations(missing))
        count = data.draw(st.integers(1, len(order)))
        for image_id in order[:count]:
            out.write(image_id, arrays_of(image_id))
        # The kill came while the last one was appended.
        journals = sorted(folder.glob("*.part"))
        if journals and data.draw(st.booleans()):
            torn = data.draw(st.sampled_from(journals))
            cut = data.draw(st.integers(0, 200))
            os.truncate(torn, max(0, torn.stat().st_size - cut))
            again = PackWriter(folder, IDS)
            done = [i for i in IDS if again.done(i)]
            assert len(done) >= len(IDS) - len(missing) + count - 1 - cut // 150 - 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected


def test_a_journal_of_a_finished_pack_is_dropped(tmp_path: Path) -> None:
    written(tmp_path / "a", IDS)
    (tmp_path / "a" / "000.part").write_bytes(b"left by a kill")
    assert PackWriter(tmp_path / "a", IDS).done(IDS[0])
    assert not (tmp_path / "a" / "000.part").exists()


def test_an_image_may_be_written_again(tmp_path: Path) -> None:
    expected = written(tmp_path / "a", IDS)
    out = PackWriter(tmp_path / "a", IDS)
    out.write(IDS[2], arrays_of(IDS[3]))
    found = Packs(tmp_path / "a").read(2, IDS[2])
    assert np.array_equal(found["scores"], arrays_of(IDS[3])["scores"])
    out.write(IDS[2], arrays_of(IDS[2]))
    files = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert files == expected


def test_a_full_disk_is_told_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = written(tmp_path / "whole", IDS)
    folder = tmp_path / "full"
    folder.mkdir()
    out = PackWriter(folder, IDS)
    out.write(IDS[0], arrays_of(IDS[0]))
    size = (folder / "000.part").stat().st_size

    def half(journal: Any, data: bytes) -> None:
        journal.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(packs, "_write_all", half)
        with pytest.raises(ArtifactError, match=r"000\.part: No space left on device"):
            out.write(IDS[1], arrays_of(IDS[1]))
    assert (folder / "000.part").stat().st_size == size
    assert not out.done(IDS[1])
    for image_id in IDS[1:]:
        out.write(image_id, arrays_of(image_id))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected


def test_damage_is_noticed(tmp_path: Path) -> None:
    written(tmp_path / "a", IDS)
    path = tmp_path / "a" / "000.npz"
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{IDS[3]}/size.npy")
    content[info.header_offset + 60] ^= 0xFF
    path.write_bytes(content)
    pack = Pack(path)
    assert pack.ids == tuple(IDS[:4])
    pack.read(IDS[0])
    with pytest.raises(ValueError, match=f"{IDS[3]}/size.npy is damaged"):
        pack.read(IDS[3])
