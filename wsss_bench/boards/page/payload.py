"""What the page's script is given: the board's JSON, and per image what the gallery and the class view show."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.boards.render.as_json import as_json
from wsss_bench.boards.rows import Board, Row
from wsss_bench.evaluate.counts import Counts
from wsss_bench.evaluate.protocol import class_iou, mean_iou
from wsss_bench.io.images import voc_palette

GALLERY = "gallery"
"""The folder of pictures beside a run's record."""

_COMMON = ("image", "truth")
_KINDS = (*_COMMON, "seeds", "labels", "prediction")
_SPREAD = 8
"""How many images the page lists for a class."""

_Floats = NDArray[np.float64]
_Seen = Sequence[Counts | None]
"""Per row, the first seed's counts of what the board is ranked by."""

_Ious = Mapping[str, _Floats]
"""IoU of each class, ``float64 [C+1]``, by image id."""

_Spread = list[list[tuple[str, list[float]]]]
_Case = dict[str, Any]
_Maps = dict[str, dict[str, str]]
"""Digests of a row's maps, by image id and by kind."""


def payload(board: Board) -> dict[str, Any]:
    """Return all that the script reads; NaN stands for a class that an image does not have."""
    counts = [_ranked(board, row) for row in board.rows]
    pictures: dict[str, str] = {}
    cases, galleries = _gallery(board, counts, pictures)
    board_json = as_json(board)
    rows = board_json["rows"]
    for entry, gallery in zip(rows, galleries, strict=True):
        entry["gallery"] = gallery
    return {
        "classes": board_json["classes"],
        "metric": board_json["metric"],
        "rows": rows,
        "reported": board_json["reported"],
        "colours": _colours(len(board.classes)),
        "spread": _spread(board, counts),
        "gallery": cases,
        "pictures": pictures,
        **_apart(board_json),
    }


def _apart(board_json: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections where there are several; pages of one section do not have them."""
    return {key: board_json[key] for key in ("sections",) if key in board_json}


def _ranked(board: Board, row: Row) -> Counts | None:
    if board.metric not in row.scores:
        return None
    return row.first.load_counts(board.metric)


def _colours(number: int) -> list[list[int]]:
    """Return the first colours of VOC's palette, as red, green, blue in 0..255."""
    palette = np.asarray(voc_palette()).reshape(256, 3)
    colours: list[list[int]] = palette[:number].tolist()
    return colours


def _spread(board: Board, counts: _Seen) -> _Spread:
    """Return, per class, the images on which the rows' IoU lies furthest apart, each with every row's value."""
    iou, ids = _stacked(board, counts)
    # With fewer than two rows on the same images there is nothing to set apart.
    if iou is None:
        return [[] for _ in board.classes]
    gap = _gaps(iou)
    out = []
    for klass in range(len(board.classes)):
        # A stable order, so that ties give the same page on every machine.
        order = np.argsort(-gap[:, klass], kind="stable")[:_SPREAD]
        widest = []
        for i in order:
            if gap[i, klass] > 0:
                widest.append((ids[i], iou[:, i, klass].tolist()))
        out.append(widest)
    return out


def _stacked(board: Board, counts: _Seen) -> tuple[_Floats | None, Sequence[str]]:
    """Return ``float64 [R, N, C+1]`` of all rows, and the ids of the images; None where no two rows share them.

    A row that was scored on other images or masks than the main section is NaN everywhere.
    """
    same = {}
    for place in board.sections[0].rows:
        found = counts[place]
        if found is not None:
            same[place] = found
    ids = next(iter(same.values())).ids if same else ()
    if len(same) < 2:
        return None, ids
    iou = np.full((len(counts), len(ids), len(board.classes)), np.nan)
    for place, found in same.items():
        iou[place] = _present_iou(found, ids)
    return iou, ids


def _present_iou(counts: Counts, ids: Sequence[str]) -> _Floats:
    """Return ``float64 [N, C+1]``: IoU of each class within each image, NaN where the truth does not hold it."""
    hit, predicted, true = np.moveaxis(counts.rows(ids), -1, 0)
    iou = class_iou(hit, predicted, true)
    return np.where(true > 0, iou, np.nan)


def _gaps(iou: _Floats) -> _Floats:
    """Return best minus worst IoU over the rows, ``float64 [N, C+1]``; -1 where no row has a value."""
    known = ~np.isnan(iou)
    # IoU lies in 0..1, so these never win against a value: nanmax without its warning for empty columns.
    best = np.where(known, iou, -1.0).max(0)
    worst = np.where(known, iou, 2.0).min(0)
    return np.where(known.any(0), best - worst, -1.0)


def _gallery(
    board: Board, counts: _Seen, pictures: dict[str, str]
) -> tuple[list[_Case], list[_Maps]]:
    """Return the images to show, and per row its maps; adds the pictures themselves to `pictures`, by digest.

    Photograph and truth are the same for every row, so they belong to the image, not to the row.
    """
    cases: dict[str, _Case] = {}
    galleries = []
    for row in board.rows:
        own: _Maps = {}
        for path in _files(row):
            image_id, _, kind = path.stem.rpartition("_")
            case = cases.setdefault(image_id, _case(image_id))
            # Rows of other sections may have been scored on other masks: those of the main one, which is first, stand.
            if kind in _COMMON and case[kind] is not None:
                continue
            digest = _embed(path, pictures)
            if kind in _COMMON:
                case[kind] = digest
            else:
                own.setdefault(image_id, {})[kind] = digest
            if kind == "truth" and not case["classes"]:
                case["classes"] = _classes(path, len(board.classes))
        galleries.append(own)
    ious = [_by_image(found) for found in counts]
    for image_id, case in cases.items():
        case["iou"], case["miou"] = _scores(image_id, ious)
    return [cases[image_id] for image_id in sorted(cases)], galleries


def _case(image_id: str) -> dict[str, Any]:
    return {
        "id": image_id,
        "image": None,
        "truth": None,
        "classes": [],
        "iou": [],
        "miou": [],
    }


def _by_image(counts: Counts | None) -> _Ious:
    if counts is None:
        return {}
    iou = class_iou(counts.intersection, counts.prediction, counts.truth)
    return dict(zip(counts.ids, iou, strict=True))


def _scores(image_id: str, rows: Sequence[_Ious]) -> tuple[list[Any], list[Any]]:
    """Return, per row, the IoU of each class within an image and their mean; None for a row that has no such image."""
    per_class: list[list[float] | None] = []
    means: list[float | None] = []
    for ious in rows:
        iou = ious.get(image_id)
        per_class.append(None if iou is None else iou.tolist())
        means.append(None if iou is None else float(mean_iou(iou)))
    return per_class, means


def _files(row: Row) -> list[Path]:
    """Return the gallery's pictures of the row's first seed, in order of their names."""
    record = row.first
    # Photographs of other datasets are not ours to hand on; only drawn images are ever embedded.
    if record.folder is None or record.dataset["kind"] != "shapes":
        return []
    found = []
    for path in sorted((record.folder / GALLERY).glob("*.png")):
        kind = path.stem.rpartition("_")[2]
        if kind in _KINDS and path.is_file():
            found.append(path)
    return found


def _embed(path: Path, pictures: dict[str, str]) -> str:
    """Add a picture to `pictures`, once however often it occurs, and return its digest."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    encoded = base64.b64encode(content).decode()
    pictures.setdefault(digest, f"data:image/png;base64,{encoded}")
    return digest


def _classes(path: Path, number: int) -> list[int]:
    """Return the mask ids below `number` that occur in a mask."""
    from PIL import Image

    with Image.open(path) as handle:
        values = np.unique(np.asarray(handle))
    return [int(v) for v in values if v < number]
