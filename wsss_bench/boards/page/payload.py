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

_Ious = Sequence[Mapping[str, NDArray[np.float64]]]


def payload(board: Board) -> dict[str, Any]:
    """Return all that the script reads; NaN stands for a class that an image does not have."""
    board_json = as_json(board)
    palette = np.asarray(voc_palette()).reshape(256, 3)[: len(board.classes)]
    counts = [_ranked(board, row) for row in board.rows]
    pictures: dict[str, str] = {}
    cases, galleries = _gallery(board, counts, pictures)
    for entry, gallery in zip(board_json["rows"], galleries, strict=True):
        entry["gallery"] = gallery
    keep = {k: board_json[k] for k in ("classes", "metric", "rows", "reported")}
    return keep | {
        "colours": palette.tolist(),
        "spread": _spread(board, counts),
        "gallery": cases,
        "pictures": pictures,
    }


def _ranked(board: Board, row: Row) -> Counts | None:
    """Return the first seed's counts of what the board is ranked by."""
    if board.metric not in row.scores:
        return None
    return row.first.load_counts(board.metric)


def _spread(
    board: Board, counts: Sequence[Counts | None]
) -> list[list[tuple[str, list[float]]]]:
    """Return, per class, the images on which the rows' IoU lies furthest apart, each with every row's value."""
    ids = next((c.ids for c in counts if c is not None), ())
    alike = [c is not None and set(c.ids) == set(ids) for c in counts]
    if sum(alike) < 2:
        return [[] for _ in board.classes]
    iou = np.full((len(counts), len(ids), len(board.classes)), np.nan)
    for row, found in enumerate(counts):
        if found is not None and alike[row]:
            iou[row] = _present_iou(found, ids)
    gap = _gaps(iou[np.asarray(alike)])
    out = []
    for klass in range(len(board.classes)):
        # A stable order, so that ties give the same page on every machine.
        order = np.argsort(-gap[:, klass], kind="stable")[:_SPREAD]
        chosen = [i for i in order if gap[i, klass] > 0]
        out.append([(ids[i], list(map(float, iou[:, i, klass]))) for i in chosen])
    return out


def _present_iou(counts: Counts, ids: Sequence[str]) -> NDArray[np.float64]:
    """Return ``float64 [N, C+1]``: IoU of each class within each image, NaN where the truth does not hold it."""
    rows = counts.rows(ids)
    iou = class_iou(rows[..., 0], rows[..., 1], rows[..., 2])
    return np.where(rows[..., 2] > 0, iou, np.nan)


def _gaps(iou: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return best minus worst IoU over the rows, ``float64 [N, C+1]``; -1 where no row has a value."""
    filled = np.nan_to_num(iou, nan=-1.0)
    # IoU ends at 1, so 2 never is the smallest of a column with a value: nanmin without its warning for empty columns.
    worst = np.where(filled < 0, 2.0, filled).min(0)
    return np.where((filled >= 0).any(0), filled.max(0) - worst, -1.0)


def _gallery(
    board: Board, counts: Sequence[Counts | None], pictures: dict[str, str]
) -> tuple[list[dict[str, Any]], list[dict[str, dict[str, str]]]]:
    """Return the images to show, and per row the digests of its maps by image id; adds to `pictures` by digest.

    Photograph and truth are the same for every row, so they belong to the image, not to the row.
    """
    cases: dict[str, dict[str, Any]] = {}
    galleries: list[dict[str, dict[str, str]]] = []
    for row in board.rows:
        own: dict[str, dict[str, str]] = {}
        for path in _files(row):
            image_id, _, kind = path.stem.rpartition("_")
            digest = _embed(path, pictures)
            case = cases.setdefault(image_id, _case(image_id))
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


def _by_image(counts: Counts | None) -> dict[str, NDArray[np.float64]]:
    if counts is None:
        return {}
    iou = class_iou(counts.intersection, counts.prediction, counts.truth)
    return dict(zip(counts.ids, iou, strict=True))


def _scores(image_id: str, ious: _Ious) -> tuple[list[Any], list[Any]]:
    """Return, per row, the IoU of each class within an image and their mean; None for a row that has no such image."""
    found = [of_row.get(image_id) for of_row in ious]
    per_class = [None if iou is None else iou.tolist() for iou in found]
    means = [None if iou is None else float(mean_iou(iou)) for iou in found]
    return per_class, means


def _files(row: Row) -> list[Path]:
    """Return the gallery's pictures of the row's first seed, in order of their names."""
    record = row.first
    # Photographs of other datasets are not ours to hand on; only drawn images are ever embedded.
    if record.folder is None or record.dataset["kind"] != "shapes":
        return []
    found = sorted((record.folder / GALLERY).glob("*.png"))
    return [p for p in found if p.stem.rpartition("_")[2] in _KINDS and p.is_file()]


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
