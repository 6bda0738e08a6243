from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from engine_fakes import make_context, make_view

from wsss_bench.contract.artifacts import LabelWriter
from wsss_bench.toolbox import parallel
from wsss_bench.toolbox.parallel import imap, per_image
from wsss_bench.toolbox.pool import stream


def square(number: int) -> int:
    return number * number


def whoami(number: int) -> tuple[int, str | None]:
    return os.getpid(), os.environ.get("OMP_NUM_THREADS")


def refuse_seven(number: int) -> int:
    if number == 7:
        raise ValueError("seven")
    return number


def paint(value: int) -> np.ndarray:
    return np.full((32, 40), value, np.uint8)


@pytest.mark.parametrize("workers", [0, 1])
def test_without_workers_all_happens_here_in_order_and_lazily(workers: int) -> None:
    taken: list[int] = []

    def items() -> object:
        for number in range(100):
            taken.append(number)
            yield number

    results = imap(square, items(), workers, 100)  # type: ignore[arg-type]
    assert next(results) == 0
    assert taken == [0]
    assert list(results) == [n * n for n in range(1, 100)]


def test_few_items_start_no_process() -> None:
    assert {pid for pid, _ in imap(whoami, range(47), 4, 47)} == {os.getpid()}


def test_processes_give_every_result_with_one_thread_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "_MIN_FOR_POOL", 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    found = list(imap(whoami, range(6), 2, 6))
    assert os.getpid() not in {pid for pid, _ in found}
    assert {threads for _, threads in found} == {"1"}
    assert len(found) == 6
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in os.environ


def test_an_error_in_a_worker_reaches_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "_MIN_FOR_POOL", 2)
    with pytest.raises(ValueError, match="seven"):
        list(imap(refuse_seven, range(12), 2, 12))
    with pytest.raises(ValueError, match="seven"):
        list(imap(refuse_seven, range(12), 1, 12))


class Slow:
    """Finishes the oldest job when the next but seven is taken, and counts what is in flight."""

    held = 0

    def __init__(self, room: int) -> None:
        self.room = room
        self.most = 0
        self.flying: list[tuple[Future[int], int]] = []

    def submit(self, item: int) -> Future[int]:
        future: Future[int] = Future()
        self.flying.append((future, item))
        self.most = max(self.most, len(self.flying))
        if len(self.flying) == self.room:
            self.finish()
        return future

    def finish(self) -> None:
        future, item = self.flying.pop(0)
        future.set_result(item * item)


def test_only_so_many_items_are_in_flight() -> None:
    pool = Slow(8)
    seen = []

    def items() -> Iterator[int]:
        yield from range(50)
        while pool.flying:
            pool.finish()

    for result in stream(pool, items(), 8):
        seen.append(result)
    assert sorted(seen) == [n * n for n in range(50)]
    assert pool.most == 8


def test_the_next_item_is_taken_while_no_result_is_ready() -> None:
    pool = Slow(99)
    taken = []

    def items() -> Iterator[int]:
        for number in range(5):
            taken.append(number)
            yield number
        pool.finish()

    results = stream(pool, items(), 8)
    assert next(results) == 0
    assert taken == [0, 1, 2, 3, 4]


def test_per_image_writes_closes_and_reports(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 3)
    progress: list[tuple[str, int, int]] = []
    ctx = make_context(tmp_path, progress=lambda *report: progress.append(report))
    labels = per_image(
        paint,
        view,
        LabelWriter(tmp_path / "out", view, "test"),
        ctx,
        lambda image: image.present[0],
    )
    assert [int(labels[i.id][0, 0]) for i in view] == [1, 2, 1]
    assert progress == [("images", 1, 3), ("images", 2, 3), ("images", 3, 3)]


def test_per_image_does_only_what_is_missing(tmp_path: Path) -> None:
    view = make_view(tmp_path / "images", 3)
    out = LabelWriter(tmp_path / "out", view, "test")
    out.write("im1", paint(0))
    jobs: list[str] = []

    def job(image: object) -> int:
        jobs.append(image.id)  # type: ignore[attr-defined]
        return image.present[0]  # type: ignore[attr-defined,no-any-return]

    progress: list[int] = []
    ctx = make_context(
        tmp_path, progress=lambda what, done, total: progress.append(done)
    )
    labels = per_image(paint, view, out, ctx, job)
    assert jobs == ["im0", "im2"]
    assert progress == [2, 3]
    assert labels["im1"].max() == 0
