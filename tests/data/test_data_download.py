from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsss_bench.data.download import download, fetch, unpack
from wsss_bench.data.kind import Archive
from wsss_bench.data.masks import read_mask
from wsss_bench.data.voc.lists import read_ids
from wsss_bench.data.voc.sbd import convert_sbd
from wsss_bench.errors import DataError
from wsss_bench.io.images import write_mask


class Server:
    """A loopback server that honours ranges, counts bytes, and can hang up early."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.sent = 0
        self.hang_up_after: int | None = None
        self.ranges = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = outer.files.get(self.path.lstrip("/"))
                if body is None:
                    self.send_error(404)
                    return
                asked = self.headers.get("Range") if outer.ranges else None
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
                if asked and start >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.end_headers()
                    return
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                part = body[
                    start : None
                    if outer.hang_up_after is None
                    else start + outer.hang_up_after
                ]
                outer.sent += len(part)
                self.wfile.write(part)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def tar_bytes(files: dict[str, bytes], **special: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
        for info in special.values():
            tar.addfile(info)
    return out.getvalue()


def zip_bytes(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return out.getvalue()


BODY = bytes(range(256)) * 5000


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def test_fetch_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.files["big.bin"] = BODY
    archive = Archive(f"{server.url}/big.bin", md5(BODY))
    server.hang_up_after = 500_000
    with pytest.raises(DataError, match="Run the same command again"):
        fetch(archive, tmp_path)
    assert (tmp_path / "big.bin.part").stat().st_size == 500_000
    assert not (tmp_path / "big.bin").exists()
    server.hang_up_after = None
    assert fetch(archive, tmp_path).read_bytes() == BODY
    assert server.sent == len(BODY)


def test_fetch_starts_anew_where_the_server_knows_no_ranges(
    server: Server, tmp_path: Path
) -> None:
    server.files["big.bin"], server.ranges = BODY, False
    (tmp_path / "big.bin.part").write_bytes(b"xx")
    assert (
        fetch(Archive(f"{server.url}/big.bin", md5(BODY)), tmp_path).read_bytes()
        == BODY
    )


def test_a_complete_part_is_accepted_and_a_wrong_checksum_is_not(
    server: Server, tmp_path: Path
) -> None:
    server.files["big.bin"] = BODY
    (tmp_path / "big.bin.part").write_bytes(BODY)
    assert (
        fetch(Archive(f"{server.url}/big.bin", md5(BODY)), tmp_path).read_bytes()
        == BODY
    )
    assert server.sent == 0
    with pytest.raises(DataError, match="MD5 differs"):
        fetch(Archive(f"{server.url}/big.bin", "0" * 32), tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


def test_an_unknown_address_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.tar cannot be fetched .*404"):
        fetch(Archive(f"{server.url}/nothing.tar"), tmp_path)


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "/etc/evil.txt",
        "a/../../evil.txt",
        "a\\..\\evil.txt",
        "c:/evil.txt",
    ],
)
def test_members_may_not_leave_the_root_and_nothing_is_unpacked(
    tmp_path: Path, pack: Any, name: str
) -> None:
    (tmp_path / "x.archive").write_bytes(pack({"fine.txt": b"1", name: b"2"}))
    with pytest.raises(DataError, match="would land outside"):
        unpack(tmp_path / "x.archive", tmp_path / "root")
    assert not (tmp_path / "root").exists()
    assert not list(tmp_path.glob("**/evil.txt"))


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    (tmp_path / "x.tgz").write_bytes(tar_bytes({"fine.txt": b"1"}, link=link))
    with pytest.raises(DataError, match="'link' is a link or a device"):
        unpack(tmp_path / "x.tgz", tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_link_that_lies_in_the_root_is_not_followed_out(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "root" / "images").symlink_to(tmp_path / "outside")
    (tmp_path / "x.zip").write_bytes(zip_bytes({"images/a.jpg": b"1"}))
    with pytest.raises(DataError, match="through a link"):
        unpack(tmp_path / "x.zip", tmp_path / "root")
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(
    "body",
    [
        b"not an archive",
        tar_bytes({"a": b"1" * 9999})[:40],
        zip_bytes({"a": b"1"})[:20],
        b"",
    ],
)
def test_damaged_archives(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "x").write_bytes(body)
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(tmp_path / "x", tmp_path / "root")


def test_download_unpacks_once(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["a.zip"] = zip_bytes({"annotations/x.json": b"{}"})
    archives = [Archive(f"{server.url}/a.zip", md5(server.files["a.zip"]))]
    seen: list[str] = []
    download(
        "coco2014", tmp_path, archives, lambda what, done, total: seen.append(what)
    )
    assert (tmp_path / "annotations" / "x.json").read_text() == "{}"
    assert "unpacking a.zip" in seen
    assert not (tmp_path / "archives" / "a.zip").exists()
    server.files.clear()
    download("coco2014", tmp_path, archives)
    download("shapes", None)
    monkeypatch.delenv("WSSS_BENCH_DATA_ROOT", raising=False)
    with pytest.raises(DataError, match="pass --data-root"):
        download("coco2014", None)


def sbd_mat(mask: Any) -> bytes:
    from scipy.io import savemat

    out = io.BytesIO()
    savemat(out, {"GTcls": {"Segmentation": mask}})
    return out.getvalue()


def voc_archive() -> bytes:
    photo, mask = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (5, 4)).save(photo, "JPEG")
    write_mask(mask, np.zeros((4, 5), np.uint8))
    base = "VOCdevkit/VOC2012"
    files = {f"{base}/JPEGImages/{i}.jpg": photo.getvalue() for i in "abcd"}
    files |= {f"{base}/SegmentationClass/{i}.png": mask.getvalue() for i in "ab"}
    files |= {
        f"{base}/ImageSets/Segmentation/train.txt": b"a\n",
        f"{base}/ImageSets/Segmentation/val.txt": b"b\n",
    }
    return tar_bytes(files)


def test_voc_download_ends_with_the_augmented_list(
    server: Server, tmp_path: Path
) -> None:
    mask = np.full((4, 5), 7, np.uint8)
    base = "benchmark_RELEASE/dataset"
    lists = {f"{base}/train.txt": b"d\na\n", f"{base}/val.txt": b"b\nc\n"}
    server.files = {
        "voc.tar": voc_archive(),
        "sbd.tgz": tar_bytes(
            {**lists, **{f"{base}/cls/{i}.mat": sbd_mat(mask) for i in "abcd"}}
        ),
    }
    archives = [
        Archive(f"{server.url}/voc.tar"),
        Archive(f"{server.url}/sbd.tgz", into="sbd"),
    ]
    download("voc2012", tmp_path, archives)
    voc = tmp_path / "VOCdevkit" / "VOC2012"
    assert read_ids(voc / "ImageSets" / "Segmentation" / "train_aug.txt") == (
        "a",
        "c",
        "d",
    )
    assert sorted(p.name for p in (voc / "SegmentationClassAug").iterdir()) == [
        "c.png",
        "d.png",
    ]
    assert (
        read_mask(
            voc / "SegmentationClassAug" / "c.png", voc / "JPEGImages" / "c.jpg", 21
        )
        == 7
    ).all()


def test_a_broken_sbd_mask_is_named_and_leaves_no_list(tmp_path: Path) -> None:
    (tmp_path / "voc.tar").write_bytes(voc_archive())
    unpack(tmp_path / "voc.tar", tmp_path)
    dataset = tmp_path / "sbd" / "benchmark_RELEASE" / "dataset"
    (dataset / "cls").mkdir(parents=True)
    (dataset / "train.txt").write_text("c\n")
    (dataset / "val.txt").write_text("b\n")
    for body in (b"junk", sbd_mat(np.full((4, 5), 21, np.uint8))):
        (dataset / "cls" / "c.mat").write_bytes(body)
        with pytest.raises(DataError, match=r"c\.mat"):
            convert_sbd(tmp_path)
    assert not (
        tmp_path
        / "VOCdevkit"
        / "VOC2012"
        / "ImageSets"
        / "Segmentation"
        / "train_aug.txt"
    ).exists()
