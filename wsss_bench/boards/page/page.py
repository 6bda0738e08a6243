"""A board as one self-contained page: no network, no fonts, no libraries; script, style and data are part of the file.

Every name reaches the page through ``textContent`` or an escaped attribute, never as markup.
"""

from __future__ import annotations

import html
import json
from pathlib import Path

from wsss_bench.boards.page.payload import payload
from wsss_bench.boards.render.as_json import clean
from wsss_bench.boards.render.footnotes import notes, replaced, truth
from wsss_bench.boards.render.markdown import METRICS
from wsss_bench.boards.rows import Board
from wsss_bench.boards.sections import common_truths
from wsss_bench.evaluate import PROTOCOL

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

_ROLES = {
    "train": "trained on",
    "seeds": "seeds and labels scored on",
    "val": "segmentations scored on",
}

_SECTIONS = """<section id="ranking"><h2>Ranking</h2>
<p class="sub">Click a heading to sort. Rows that share a letter under <i>tie</i> do not differ at 5 %
(paired bootstrap, Holm).</p>
<div class="chips" id="controls"></div><div class="scroll"><table id="board"></table></div>
<p class="sub" id="same"></p><div id="elsewhere"></div></section>
<section id="classes"><h2>Classes</h2><p class="sub">IoU per class of the ranking score, mean over seeds.</p>
<div class="two"><div class="scroll"><table class="heat" id="heat"></table></div>\
<div id="differences"></div></div></section>
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


def page(board: Board) -> str:
    """Return the whole HTML file; the same board and gallery files give the same bytes."""
    name = html.escape(board.name)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="icon" href="data:,">
<title>{name} – weakly-supervised semantic segmentation</title>
<style>
{part("page.css")}</style>
</head>
<body>
<main>
<header class="top">
<h1>{name}</h1>
<p class="lead">{_lead(board)}</p>
<nav><a href="#ranking">Ranking</a><a href="#classes">Classes</a>\
<a href="#thresholds">Thresholds</a><a href="#stages">Stages</a>\
<a href="#pictures">Gallery</a><a href="#notes">Notes</a></nav>
</header>
{_SECTIONS}
<footer id="notes"><section><h2>Notes</h2>{_notes(board)}</section></footer>
</main>
<noscript><main><section>This page draws its tables with JavaScript; the same numbers are in the Markdown and CSV \
files beside it.</section></main></noscript>
<script type="application/json" id="data">{_embedded(board)}</script>
<script>
{part("page.js")}</script>{_more(board)}
</body>
</html>
"""


def part(name: str) -> str:
    """Return the text of a file beside this module, ``page.js`` or ``page.css``."""
    # Encoding and line ends are stated: the page has the same bytes under every locale.
    with (Path(__file__).parent / name).open(encoding="utf-8", newline="\n") as handle:
        return handle.read()


def _more(board: Board) -> str:
    """Return the script for what few boards have: several sections, scores taken elsewhere, replaced defaults."""
    if board.parted or board.marked or any(map(replaced, board.rows)):
        return f"\n<script>\n{part('sections.js')}</script>"
    return ""


def _embedded(board: Board) -> str:
    """Return the page's data as JSON that cannot end the element it stands in."""
    text = json.dumps(
        clean(payload(board)),
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )
    # A method may be called "</script>". In JSON these characters occur in strings only, which allow escapes.
    for character in "&<>":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _lead(board: Board) -> str:
    splits, sizes = board.dataset["splits"], board.dataset["sizes"]
    used = [
        f"{text} {splits[role]} ({sizes.get(role, '?')} images)"
        for role, text in _ROLES.items()
        if role in splits
    ]
    text = (
        f"Weakly-supervised semantic segmentation, {len(board.classes)} classes with background; {', '.join(used)}. "
        f"Ranked by {METRICS[board.metric]}; mIoU in %, protocol {PROTOCOL}{_masks(board)}."
    )
    if board.parted:
        text += " Only rows of one section were scored on the same images and masks, and compare."
    return html.escape(text)


def _masks(board: Board) -> str:
    named = truth(common_truths(board.sections))
    return f", truth of {named}" if named else ""


def _notes(board: Board) -> str:
    items = [
        f"Intervals: 95 %, bootstrap over images ({board.resamples:,} resamples), "
        "over seeds and images where several seeds ran.",
        "A class that is present but missed counts 0, one that occurs nowhere is left out; 255 in the truth "
        "is ignored, 255 in a label is a miss, with the coverage beside it.",
    ]
    items += [f"{row.method}: {notes(row)}." for row in board.rows if notes(row)]
    lines = [f"<li>{html.escape(item)}</li>" for item in items]
    return f"<ul>{''.join(lines)}</ul>"
