"""A board as one self-contained page: no network, no fonts, no libraries; the data are embedded as JSON.

Every name reaches the page through ``textContent`` or an escaped attribute, never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.boards.page import charts as page_charts
from wsss_bench.boards.page import script as page_script
from wsss_bench.boards.page import style as page_style
from wsss_bench.boards.render.as_json import as_json, clean
from wsss_bench.boards.render.columns import notes
from wsss_bench.boards.render.markdown import METRICS
from wsss_bench.boards.rows import Board, Row
from wsss_bench.evaluate.counts import Counts
from wsss_bench.evaluate.protocol import class_iou, mean_iou
from wsss_bench.io.images import voc_palette

GALLERY = "gallery"
_KINDS = ("image", "truth", "seeds", "labels", "prediction")
_SPREAD = 8
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page(board: Board) -> str:
    """The whole HTML file; the same board and gallery files give the same bytes."""
    payload = json.dumps(
        clean(_payload(board)),
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )
    safe = (
        payload.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    )
    name = html.escape(board.name)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="icon" href="data:,">
<title>{name} – weakly-supervised semantic segmentation</title>
<style>{page_style.CSS}</style>
</head>
<body>
<main>
<header class="top">
<h1>{name}</h1>
<p class="lead">{_lead(board)}</p>
<nav><a href="#ranking">Ranking</a><a href="#classes">Classes</a><a href="#thresholds">Thresholds</a><a href="#stages">Stages</a>\
<a href="#pictures">Gallery</a><a href="#notes">Notes</a></nav>
</header>
{_sections()}
<footer id="notes"><section><h2>Notes</h2>{_notes(board)}</section></footer>
</main>
<noscript><main><section>This page draws its tables with JavaScript; the same numbers are in the Markdown and CSV files \
beside it.</section></main></noscript>
<script type="application/json" id="data">{safe}</script>
<script>{page_script.JS}{page_charts.JS}</script>
</body>
</html>
"""


def _lead(board: Board) -> str:
    splits, sizes = board.dataset["splits"], board.dataset["sizes"]
    roles = {
        "train": "trained on",
        "seeds": "seeds and labels scored on",
        "val": "segmentations scored on",
    }
    parts = [
        f"{text} {splits[role]} ({sizes.get(role, '?')} images)"
        for role, text in roles.items()
        if role in splits
    ]
    text = f"Weakly-supervised semantic segmentation, {len(board.classes)} classes with background; {', '.join(parts)}. "
    return html.escape(
        text + f"Ranked by {METRICS[board.metric]}; mIoU in %, protocol iou-v1."
    )


def _sections() -> str:
    return """<section id="ranking"><h2>Ranking</h2>
<p class="sub">Click a heading to sort. Rows that share a letter under <i>tie</i> do not differ at 5 %
(paired bootstrap, Holm).</p>
<div class="chips" id="controls"></div><div class="scroll"><table id="board"></table></div>
<p class="sub" id="same"></p><div id="elsewhere"></div></section>
<section id="classes"><h2>Classes</h2><p class="sub">IoU per class of the ranking score, mean over seeds.</p>
<div class="two"><div class="scroll"><table class="heat" id="heat"></table></div><div id="differences"></div></div></section>
<section id="thresholds"><h2>Seeds at every threshold</h2>
<p class="sub">mIoU, over-activation and under-activation add up to 100 at every threshold.
The oracle was chosen while looking at the masks.
Thin lines are further seeds.</p><div id="curves"></div></section>
<section id="stages"><h2>What each stage gains</h2>
<p class="sub">Seeds and labels are scored on training images whose image-level labels are known; val is scored on
unseen images.</p>
<div class="falls" id="falls"></div></section>
<section id="pictures"><h2>Gallery</h2><p class="sub">First seed of every method.
Click a class above to sort by where methods differ.</p>
<div id="gallery"></div></section>"""


def _notes(board: Board) -> str:
    items = [
        f"Intervals: 95 %, bootstrap over images ({board.resamples:,} resamples), over seeds and images where several seeds ran.",
        "A class that is present but missed counts 0, one that occurs nowhere is left out; 255 in the truth is ignored, "
        "255 in a label is a miss, with the coverage beside it.",
        *(f"{row.method}: {notes(row)}." for row in board.rows if notes(row)),
    ]
    return "<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in items) + "</ul>"


def _payload(board: Board) -> dict[str, Any]:
    payload = as_json(board)
    palette = np.asarray(voc_palette()).reshape(256, 3)[: len(board.classes)]
    counts = [
        row.first.load_counts(board.metric) if board.metric in row.scores else None
        for row in board.rows
    ]
    pictures: dict[str, str] = {}
    cases, galleries = _gallery(board, counts, pictures)
    for entry, gallery in zip(payload["rows"], galleries, strict=True):
        entry["gallery"] = gallery
    keep = {k: payload[k] for k in ("classes", "metric", "rows", "reported")}
    return keep | {
        "colours": palette.tolist(),
        "spread": _spread(board, counts),
        "gallery": cases,
        "pictures": pictures,
    }


def _image_iou(counts: Counts) -> NDArray[np.float64]:
    return class_iou(counts.intersection, counts.prediction, counts.truth)


def _spread(
    board: Board, counts: Sequence[Counts | None]
) -> list[list[tuple[str, list[float]]]]:
    """Per class, the images that hold it on which the rows' IoU lies furthest apart, with every row's value."""
    ids = next((c.ids for c in counts if c is not None), ())
    alike = [c is not None and set(c.ids) == set(ids) for c in counts]
    if sum(alike) < 2:
        return [[] for _ in board.classes]
    stacked = np.full((len(counts), len(ids), len(board.classes)), np.nan)
    for row, (found, same) in enumerate(zip(counts, alike, strict=True)):
        if found is not None and same:
            rows = found.rows(ids)
            iou = class_iou(rows[..., 0], rows[..., 1], rows[..., 2])
            stacked[row] = np.where(rows[..., 2] > 0, iou, np.nan)
    filled = np.nan_to_num(stacked[np.asarray(alike)], nan=-1.0)
    gap = np.where(
        (filled >= 0).any(0),
        filled.max(0) - np.where(filled < 0, 2.0, filled).min(0),
        -1.0,
    )
    out = []
    for klass in range(len(board.classes)):
        order = np.argsort(-gap[:, klass], kind="stable")[:_SPREAD]
        out.append(
            [
                (ids[i], [float(v) for v in stacked[:, i, klass]])
                for i in order
                if gap[i, klass] > 0
            ]
        )
    return out


def _gallery(
    board: Board, counts: Sequence[Counts | None], pictures: dict[str, str]
) -> tuple[list[dict[str, Any]], list[dict[str, dict[str, str]]]]:
    """Cases (image and truth once each) and, per row, digests of its maps; the pictures themselves by digest."""
    cases: dict[str, dict[str, Any]] = {}
    galleries: list[dict[str, dict[str, str]]] = []
    for row in board.rows:
        own: dict[str, dict[str, str]] = {}
        for path in _files(row):
            image_id, _, kind = path.stem.rpartition("_")
            digest = _embed(path, pictures)
            case = cases.setdefault(
                image_id,
                {
                    "id": image_id,
                    "image": None,
                    "truth": None,
                    "classes": [],
                    "iou": [],
                    "miou": [],
                },
            )
            if kind not in ("image", "truth"):
                own.setdefault(image_id, {})[kind] = digest
                continue
            case[kind] = digest
            if kind == "truth" and not case["classes"]:
                case["classes"] = _classes(path, len(board.classes))
        galleries.append(own)
    for image_id, case in cases.items():
        for found in counts:
            at = (
                found.ids.index(image_id)
                if found is not None and image_id in found.ids
                else None
            )
            iou = None if found is None or at is None else _image_iou(found)[at]
            case["iou"].append(None if iou is None else iou.tolist())
            case["miou"].append(None if iou is None else float(mean_iou(iou)))
    return [cases[image_id] for image_id in sorted(cases)], galleries


def _files(row: Row) -> list[Path]:
    """The gallery's pictures of the row's first seed; only data that may be shown are ever embedded."""
    record = row.first
    if record.folder is None or record.dataset["kind"] != "shapes":
        return []
    return [
        p
        for p in sorted((record.folder / GALLERY).glob("*.png"))
        if p.stem.rpartition("_")[2] in _KINDS and p.is_file()
    ]


def _embed(path: Path, pictures: dict[str, str]) -> str:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    pictures.setdefault(
        digest, "data:image/png;base64," + base64.b64encode(content).decode()
    )
    return digest


def _classes(path: Path, number: int) -> list[int]:
    from PIL import Image

    with Image.open(path) as handle:
        values = np.unique(np.asarray(handle))
    return [int(v) for v in values if v < number]
