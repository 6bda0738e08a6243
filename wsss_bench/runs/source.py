"""A prepared dataset as a run sees it: views, masks, fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.errors import DataError
from wsss_bench.io.files import canonical

if TYPE_CHECKING:
    from wsss_bench.contract.view import WeakView
    from wsss_bench.data.base import Dataset
    from wsss_bench.data.masks import SealedMasks


Parts = Mapping[str, str]
"""Digests by the name of what they are of."""


class Source:
    """A prepared dataset with its views and fingerprints, each made once."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    @cached_property
    def train(self) -> WeakView:
        """The weak view that plugins get."""
        return self.dataset.weak_view(self.dataset.splits.train)

    @cached_property
    def val(self) -> WeakView:
        """The images that are predicted, without labels."""
        return self.dataset.image_view(self.dataset.splits.val)

    @cached_property
    def scored(self) -> tuple[str, ...]:
        """Ids on which seeds and pseudo-labels are scored: the seeds split as far as it is in the training split.

        Raises:
            DataError: they have no image in common.
        """
        splits = self.dataset.splits
        view = self.dataset.image_view(splits.seeds)
        # Methods make seeds and labels of training images only, and a skip list may have taken some away.
        ids = [image.id for image in view if image.id in self.train]
        if not ids:
            what = f"no image of split {splits.seeds!r} is in {splits.train!r}."
            fix = "Choose another seeds split."
            raise DataError(f"{self.dataset.name}: {what} {fix}")
        return tuple(ids)

    @cached_property
    def seeds_masks(self) -> SealedMasks:
        """Masks of the split that seeds and pseudo-labels are scored on."""
        return self.dataset.masks(self.dataset.splits.seeds)

    @cached_property
    def val_masks(self) -> SealedMasks:
        """Masks that predictions are scored against."""
        return self.dataset.masks(self.dataset.splits.val)

    @cached_property
    def train_masks(self) -> SealedMasks:
        """Masks of the training split, for methods whose card declares them."""
        return self.dataset.masks(self.dataset.splits.train)

    def sealed(self, supervision: Collection[str]) -> tuple[Path, ...]:
        """Return the files and folders that a method that declares `supervision` must not open."""
        # Boxes can be had from masks, so there is nothing left to hide from who may see these.
        if "masks" in supervision:
            return ()
        found: list[Path] = []
        for kind, paths in self.dataset.sealed().items():
            if kind not in supervision:
                found += paths
        return tuple(found)

    @cached_property
    def scored_parts(self) -> Parts:
        """Digests of what seeds and labels are scored against: the scored ids, and the masks."""
        ids = _digest(self.scored)
        return {"ids": ids, "masks": self.seeds_masks.fingerprint}

    @cached_property
    def val_parts(self) -> Parts:
        """Digests of what predictions are scored against: the masks."""
        return {"masks": self.val_masks.fingerprint}

    @cached_property
    def predicted_parts(self) -> Parts:
        """Digests of what is predicted on: classes, ids and images; nobody has its labels."""
        parts = dict(self.val.parts)
        del parts["labels"]
        return parts

    @cached_property
    def train_masks_fingerprint(self) -> str:
        """Digest of the training masks."""
        return self.train_masks.fingerprint

    def changed(self) -> list[str]:
        """Return the names (as in `inputs`) of what is not as it was when the run was planned; reads what changed."""
        fresh = Source(self.dataset)
        # Ids and labels were taken into memory then; only files can have changed under the run.
        fresh.train, fresh.val = self.train[:], self.val[:]
        now = fresh.inputs
        return [name for name, digest in self.inputs.items() if now[name] != digest]

    @property
    def inputs(self) -> dict[str, str]:
        """Digests of everything that is read, by name: ``data.train.images``, ``data.val.masks``, …."""
        found = {}
        by_role = {
            "train": self.train.parts,
            "seeds": self.scored_parts,
            "val": {**self.predicted_parts, **self.val_parts},
        }
        for role, parts in by_role.items():
            for name, digest in parts.items():
                found[f"data.{role}.{name}"] = digest
        return found

    @cached_property
    def fingerprint(self) -> str:
        """One digest over everything that the run reads."""
        return _digest(self.inputs)


def _digest(parts: object) -> str:
    text = canonical(parts)
    return hashlib.sha256(text.encode()).hexdigest()
