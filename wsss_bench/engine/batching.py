"""Inference in batches: images of one size go through a network together, the next ones being read meanwhile.

Which images share a batch follows from the view alone, so a run that was killed gives the same bytes when it is taken
up again: a batch of which one image is missing is computed again whole. Where memory ends, a batch is halved, and a
file remembers that it was.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsss_bench.contract.view import WeakImage
from wsss_bench.errors import WsssError
from wsss_bench.io.files import read_json, write_json
from wsss_bench.io.images import image_size

Photograph = NDArray[np.uint8]
Size = tuple[int, int]
"""Height and width."""

ShapeOf = Callable[[WeakImage], Size]

Prepared = TypeVar("Prepared")
Made = TypeVar("Made")

ON_A_GPU = 16
"""How many images of one size share a batch there, unless told otherwise."""

ON_A_CPU = 1
"""On a processor one photograph fills the cores already; benchmarks/bench_inference.py tells for yours."""

_AT_ONCE = 2**28
"""Floats that a batch's largest result may hold: 1 GiB."""


def batch_size(asked: int, device: str, floats: int = 0) -> int:
    """Return how many images share a batch at most.

    Args:
        asked: the parameter ``test_batch``; 0 leaves it to the device.
        device: where the network is.
        floats: of one image's largest result.
    """
    if asked:
        return asked
    if torch.device(device).type == "cpu":
        return ON_A_CPU
    room = _AT_ONCE // floats if floats else ON_A_GPU
    return max(1, min(ON_A_GPU, room))


@dataclass(frozen=True)
class Batch:
    """Images that go through the network together.

    Attributes:
        shape: what they have in common, a text.
        number: how many batches of that shape come before it.
        images: the images, in the view's order.
    """

    shape: str
    number: int
    images: tuple[WeakImage, ...]


def batches(
    images: Sequence[WeakImage], size: int, shape_of: ShapeOf | None = None
) -> list[Batch]:
    """Return the images in batches of one size in pixels each, in the order of the batches' first images.

    Args:
        images: the whole view, also what is done already.
        size: the largest batch; with 1 no file is looked at.
        shape_of: gives what a batch's images must have in common; None takes the size in pixels.

    Raises:
        DataError: an image cannot be read.
    """
    if size == 1:
        return [Batch("", number, (image,)) for number, image in enumerate(images)]
    filling: dict[Size, list[WeakImage]] = {}
    found: list[Batch] = []
    numbers: dict[Size, int] = {}
    places = {image.id: place for place, image in enumerate(images)}

    def close(shape: Size) -> None:
        number = numbers.get(shape, 0)
        numbers[shape] = number + 1
        name = f"{shape[0]}x{shape[1]}"
        found.append(Batch(name, number, tuple(filling.pop(shape))))

    for image in images:
        shape = image_size(image.path) if shape_of is None else shape_of(image)
        filling.setdefault(shape, []).append(image)
        if len(filling[shape]) == size:
            close(shape)
    for shape in list(filling):
        close(shape)
    return sorted(found, key=lambda batch: places[batch.images[0].id])


class Halvings:
    """How small batches had to become: of each shape, from which image of which batch on how many fit.

    Args:
        path: remembers it beyond this process; None does not.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._known: dict[str, list[list[int]]] = {}
        if path is not None and path.exists():
            self._known = read_json(path)

    def piece(self, batch: Batch, start: int) -> tuple[WeakImage, ...]:
        """Return the images of the batch that go together, from image `start` on."""
        size = len(batch.images)
        for number, place, fitting in self._known.get(batch.shape, []):
            if (number, place) <= (batch.number, start):
                size = min(size, fitting)
        return batch.images[start : start + size]

    def halve(self, batch: Batch, start: int, size: int) -> None:
        """Let half of `size` images go together from here on, in this batch and all later ones of its shape."""
        self._known.setdefault(batch.shape, []).append([batch.number, start, size // 2])
        # Written before anything is computed with it: after a kill the same images must share a batch.
        if self.path is not None:
            write_json(self.path, self._known)


@dataclass(frozen=True)
class InBatches(Generic[Prepared, Made]):
    """What is done to batches, and how.

    Attributes:
        prepare: reads what the network needs of one image; called ahead, in other threads.
        compute: called with images and what was prepared of each; returns what `finish` takes. On a GPU it need not
            wait for the result.
        finish: turns that into one result for each image, on the CPU.
        threads: how many read ahead.
        keep: the file of `Halvings`; None for none.
    """

    prepare: Callable[[WeakImage], Prepared]
    compute: Callable[[Sequence[WeakImage], Sequence[Prepared]], Any]
    finish: Callable[[Sequence[WeakImage], Any], Iterable[Made]]
    threads: int = 1
    keep: Path | None = None

    def over(
        self, todo: Sequence[Batch], done: Callable[[str], bool]
    ) -> Iterator[tuple[WeakImage, Made]]:
        """Yield the result of every image that is not done, in the order of the batches.

        Raises:
            WsssError: the memory does not hold one image.
        """
        halvings = Halvings(self.keep)
        waiting = [batch for batch in todo if not _all_done(batch.images, done)]
        running: tuple[tuple[WeakImage, ...], Any] | None = None
        for batch, prepared in self._ahead(waiting):
            for images, result in self._computed(batch, prepared, halvings, done):
                # The device works on this batch while the last one is brought back and written.
                if running is not None:
                    yield from self._results(*running, done)
                running = images, result
        if running is not None:
            yield from self._results(*running, done)

    def _results(
        self, images: Sequence[WeakImage], result: Any, done: Callable[[str], bool]
    ) -> Iterator[tuple[WeakImage, Made]]:
        for image, made in zip(images, self.finish(images, result), strict=True):
            if not done(image.id):
                yield image, made

    def _ahead(self, todo: Sequence[Batch]) -> Iterator[tuple[Batch, list[Prepared]]]:
        """Yield batches with what was prepared of their images; the next ones are being read meanwhile."""
        pool = ThreadPoolExecutor(max(1, self.threads), "wsss-bench-read")
        coming: deque[tuple[Batch, list[Future[Prepared]]]] = deque()
        rest = iter(todo)
        try:
            while True:
                while _images(coming) < 2 * self.threads or len(coming) < 2:
                    batch = next(rest, None)
                    if batch is None:
                        break
                    read = [pool.submit(self.prepare, i) for i in batch.images]
                    coming.append((batch, read))
                if not coming:
                    return
                batch, futures = coming.popleft()
                yield batch, [future.result() for future in futures]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _computed(
        self,
        batch: Batch,
        prepared: Sequence[Prepared],
        halvings: Halvings,
        done: Callable[[str], bool],
    ) -> Iterator[tuple[tuple[WeakImage, ...], Any]]:
        start = 0
        while start < len(batch.images):
            images = halvings.piece(batch, start)
            given = prepared[start : start + len(images)]
            try:
                result = (
                    None if _all_done(images, done) else self.compute(images, given)
                )
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                if len(images) == 1:
                    raise _too_large(images[0]) from error
                # Outside this block: the error holds on to what filled the memory.
                result = _NO_ROOM
            if result is _NO_ROOM:
                halvings.halve(batch, start, len(images))
                free_memory()
                continue
            if result is not None:
                yield images, result
            start += len(images)


_NO_ROOM = object()


def _images(coming: Iterable[tuple[Batch, Any]]) -> int:
    return sum(len(batch.images) for batch, _ in coming)


def _all_done(images: Sequence[WeakImage], done: Callable[[str], bool]) -> bool:
    return all(done(image.id) for image in images)


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the memory of a device, or of the machine, is full."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # What torch's allocator for the CPU raises has no class of its own.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def free_memory() -> None:
    """Give memory back that nothing uses any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _too_large(image: WeakImage) -> WsssError:
    what = f"image {image.id!r}: the memory does not hold it at the largest scale."
    return WsssError(f"{what} Use smaller scales, or a device with more memory.")


def resized(image: Photograph, size: Size, interpolation: int) -> Tensor:
    """Return a photograph at `size` as ``uint8 [h, w, 3]``, ready to be sent to a device."""
    if image.shape[:2] == size:
        changed = image.copy()
    else:
        # OpenCV takes the width first.
        changed = cv2.resize(image, size[::-1], interpolation=interpolation)  # type: ignore[assignment]
    pixels = torch.from_numpy(np.ascontiguousarray(changed))
    # Only from such memory does a copy to a GPU not wait for what runs there.
    return pixels.pin_memory() if torch.cuda.is_available() else pixels


def stacked(photographs: Sequence[Tensor], device: str) -> Tensor:
    """Return photographs of one size as ``float [B, 3, h, w]`` in 0..255 on `device`."""
    sent = [one.to(device, non_blocking=True) for one in photographs]
    # As bytes: the copy is a quarter of the floats'.
    return torch.stack(sent).permute(0, 3, 1, 2).float()


def scaled(size: Size, scale: float, least: int, step: int = 0) -> Size:
    """Return `scale` times a size.

    Args:
        size: in pixels.
        scale: the factor.
        least: no side becomes smaller.
        step: sides are rounded to a multiple of it, so that photographs of many sizes share few; 0 keeps them.
    """
    if step:
        rows, columns = (max(1, round(side * scale / step)) * step for side in size)
    else:
        rows, columns = (round(side * scale) for side in size)
    return max(least, rows), max(least, columns)
