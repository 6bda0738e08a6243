"""`DatasetKind`: all that the harness knows of a kind of dataset before it opens one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from wsss_bench.data.base import Dataset, Finding, Progress

Loader = Callable[[Path | None, str, Mapping[str, Any]], Dataset]
"""Called as ``loader(root, name, options)``; raises `DataError` where `root` does not hold the dataset."""

Verifier = Callable[[Any, Progress | None], list[Finding]]
"""Called as ``verify(dataset, progress)`` with what the loader has made."""


@dataclass(frozen=True)
class Archive:
    """A file to fetch.

    Attributes:
        url: its address.
        md5: its MD5 digest in hexadecimal, where it is known for certain.
        into: the folder under the data root that it is unpacked into.
    """

    url: str
    md5: str | None = None
    into: str = "."

    @property
    def name(self) -> str:
        """The file name."""
        return PurePosixPath(self.url).name


@dataclass(frozen=True)
class DatasetKind:
    """A kind of dataset: how to open it, how to check it, and what to tell people about it.

    Attributes:
        name: what ``--dataset`` calls it; also the name of its entry point.
        loader: opens a dataset without reading its images; usually a class derived from `Dataset`.
        verify: reads everything and returns what is wrong; None: `wsss_bench.data.verifying.verify_images`.
        options: what ``--data-option`` takes, each with a few words that explain it.
        get: how to come by the data, as a command or a sentence; ``ROOT`` in it stands for the data root. Empty where
            there is nothing to get.
        archives: what ``data prepare --download`` fetches.
        unpacked: called as ``unpacked(root, progress)`` after the archives were unpacked, to convert what needs it.
    """

    name: str
    loader: Loader
    verify: Verifier | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    get: str = ""
    archives: tuple[Archive, ...] = ()
    unpacked: Callable[[Path, Progress | None], None] | None = None

    def how_to_get(self, root: Path | str = "ROOT") -> str:
        """Return `get` with the data root put in."""
        return self.get.replace("ROOT", str(root))
