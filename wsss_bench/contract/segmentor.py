"""`Segmentor`: a trained network that predicts every pixel, and the file that describes it in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import inside, read_json, write_json

SEGMENTOR = "segmentor.json"
"""The file that describes a segmentor in its folder."""


@dataclass(frozen=True)
class Segmentor:
    """A trained segmentor: an mmengine config and a checkpoint, plus how it predicts.

    Attributes:
        config: path of the dumped mmengine config whose ``model`` builds the network.
        checkpoint: path of the weights (loads with ``weights_only=True``).
        test: prediction settings, e.g. ``{"scales": [1.0], "flip": False}``. Settings that the method declares as
            ``test_settings`` of ``segment`` come before them.
        facts: columns for the board, e.g. backbone and pre-training.
        plugin: whose it is, so that its network is found again: ``name`` of the method, ``distribution`` or ``file``
            that brings it, ``module``, and ``modules``, the names of all modules of the plugin's own. The harness
            fills it in.
    """

    config: Path
    checkpoint: Path
    test: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    plugin: Mapping[str, Any] = field(default_factory=dict)


_FORM: Mapping[str, type] = {
    "config": str,
    "checkpoint": str,
    "test": dict,
    "facts": dict,
}


def write_segmentor(segmentor: Segmentor, folder: Path) -> None:
    """Describe a segmentor whose files lie in `folder`, in ``folder/segmentor.json``."""
    content: dict[str, Any] = {
        "config": _relative(segmentor.config, folder),
        "checkpoint": _relative(segmentor.checkpoint, folder),
        "test": dict(segmentor.test),
        "facts": dict(segmentor.facts),
    }
    if segmentor.plugin:
        content["plugin"] = dict(segmentor.plugin)
    write_json(folder / SEGMENTOR, content)


def _relative(path: Path, folder: Path) -> str:
    # A work dir may be moved, or mounted elsewhere on another machine.
    return Path(path).resolve().relative_to(folder.resolve()).as_posix()


def read_segmentor(folder: Path) -> Segmentor:
    """Return the segmentor that `write_segmentor` described in `folder`.

    Raises:
        ArtifactError: the file is missing or malformed, or names files outside the folder.
    """
    content = read_json(folder / SEGMENTOR)
    if not _well_formed(content):
        what = f"{folder / SEGMENTOR} lacks {', '.join(_FORM)}."
        raise ArtifactError(f"{what} Delete its folder and run the command again.")
    config = inside(folder, content["config"])
    checkpoint = inside(folder, content["checkpoint"])
    # Segmentors of an earlier version do not say whose they are.
    plugin = content.get("plugin", {})
    return Segmentor(config, checkpoint, content["test"], content["facts"], plugin)


def _well_formed(content: object) -> bool:
    if not isinstance(content, dict):
        return False
    if not isinstance(content.get("plugin", {}), dict):
        return False
    return all(isinstance(content.get(key), kind) for key, kind in _FORM.items())
