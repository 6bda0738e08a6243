"""The page in a real browser: draws, sorts, filters, shows the gallery, asks the network for nothing, escapes names."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from boards_fakes import CLASSES, add_run

from wsss_bench.boards import build

BROWSER = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
EVIL = "<img src=x onerror=alert(1)>&\"'"
browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    add_run(folder, "dsrg", error=0.3, gallery=True)
    add_run(
        folder,
        "vwe/irn",
        error=0.25,
        gallery=True,
        columns=columns(supervision="image labels + saliency"),
    )
    add_run(folder, EVIL, run_id="evil", error=0.5)
    build(folder)
    return folder / "shapes.html"


def columns(**changes: str) -> dict[str, str]:
    names = (
        "supervision",
        "extra_data",
        "backbone",
        "segmentor",
        "pretraining",
        "crf",
        "multi_scale",
        "rounds",
    )
    return dict.fromkeys(names, "same") | changes


def dom(page: Path, tmp_path: Path, script: str = "", *flags: str) -> str:
    """The page's final DOM after `script` ran in it."""
    copy = tmp_path / "page.html"
    copy.write_text(
        page.read_text().replace("</body>", f"<script>{script}</script></body>")
    )
    assert BROWSER is not None
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
    ]
    command += [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--virtual-time-budget=3000",
    ]
    command += [
        f"--user-data-dir={tmp_path / 'profile'}",
        *flags,
        "--dump-dom",
        copy.as_uri(),
    ]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120
    ).stdout


def answer(page: Path, tmp_path: Path, expression: str, before: str = "") -> object:
    """What a JavaScript expression gives after `before` was done on the page."""
    script = f"{before};document.body.setAttribute('data-answer', encodeURIComponent(JSON.stringify({expression})))"
    found = re.search(r'data-answer="([^"]*)"', dom(page, tmp_path, script))
    assert found, "the script on the page failed"
    from urllib.parse import unquote

    return json.loads(unquote(found.group(1)))


METHODS = "[...document.querySelectorAll('#board tbody .method')].map(cell => cell.childNodes[1].textContent)"


@browser
def test_it_draws_every_section_and_ends_well(page: Path, tmp_path: Path) -> None:
    found = answer(
        page,
        tmp_path,
        "[document.documentElement.dataset.ready, document.querySelectorAll('#board tbody tr').length,"
        "document.querySelectorAll('#heat tbody tr').length, document.querySelectorAll('#curves polyline').length,"
        "document.querySelectorAll('#falls figure').length, document.querySelectorAll('#gallery .case').length]",
    )
    assert found == ["yes", 3, len(CLASSES) + 1, 3, 3, 4]


@browser
def test_clicking_a_heading_sorts_both_ways(page: Path, tmp_path: Path) -> None:
    click = "document.querySelector('[data-sort=val]').click()"
    assert answer(page, tmp_path, METHODS, click) == ["vwe/irn", "dsrg", EVIL]
    assert answer(page, tmp_path, METHODS, f"{click};{click}") == [
        EVIL,
        "dsrg",
        "vwe/irn",
    ]


@browser
def test_filters_and_search_leave_only_what_fits(page: Path, tmp_path: Path) -> None:
    pick = (
        "const s = document.getElementById('filter-supervision'); s.value = 'image labels + saliency';"
        "s.dispatchEvent(new Event('change'))"
    )
    assert answer(page, tmp_path, METHODS, pick) == ["vwe/irn"]
    assert (
        answer(
            page, tmp_path, "document.querySelectorAll('#curves polyline').length", pick
        )
        == 1
    )
    search = "const q = document.getElementById('search'); q.value = 'DSR'; q.dispatchEvent(new Event('input'))"
    assert answer(page, tmp_path, METHODS, search) == ["dsrg"]


@browser
def test_clicking_a_class_shows_where_methods_differ_and_sorts_the_gallery(
    page: Path, tmp_path: Path
) -> None:
    click = "document.querySelector('[data-class=\"2\"]').click()"
    found = answer(
        page,
        tmp_path,
        "[document.querySelectorAll('#differences .bars').length, document.querySelectorAll('#gallery .case').length,"
        "[...document.querySelectorAll('#gallery img')].every(img => img.complete && img.naturalWidth > 0)]",
        click,
    )
    assert isinstance(found, list)
    assert found[0] == 8
    assert 0 < found[1] <= 4


@browser
def test_pictures_are_real_pictures(page: Path, tmp_path: Path) -> None:
    found = answer(
        page,
        tmp_path,
        "[...document.querySelectorAll('#gallery img')].map(img => img.getAttribute('src').slice(0, 22))",
    )
    assert isinstance(found, list)
    assert len(found) == 4 * 2 + 2 * (2 * 2 + 2 * 1)
    assert set(found) == {"data:image/png;base64,"}


@browser
def test_names_are_text_never_markup(page: Path, tmp_path: Path) -> None:
    found = answer(
        page,
        tmp_path,
        "[document.querySelectorAll('img[src=x]').length, typeof window.alerted]",
    )
    assert found == [0, "undefined"]
    assert EVIL not in page.read_text()


def requests(page: Path, tmp_path: Path, script: str = "") -> list[str]:
    """Addresses that the page (not the browser of its own accord) asked the network for, from the browser's log."""
    log = tmp_path / "net.json"
    dom(page, tmp_path, script, f"--log-net-log={log}")
    params = [
        event.get("params", {}) for event in json.loads(log.read_text())["events"]
    ]
    own = {
        p["url"]
        for p in params
        if "url" in p
        and str(p.get("initiator", "")).startswith(("file", "null", "opaque"))
    }
    return sorted(url for url in own if url.startswith(("http", "ws", "ftp")))


@browser
def test_the_network_is_asked_for_nothing(page: Path, tmp_path: Path) -> None:
    control = tmp_path / "control.html"
    control.write_text('<html><body><img src="http://127.0.0.1:9/x.png"></body></html>')
    assert requests(control, tmp_path) == ["http://127.0.0.1:9/x.png"]
    every = "document.querySelectorAll('button').forEach(button => button.click())"
    assert requests(page, tmp_path, every) == []


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sections, one row whose profile replaced a default, and names that look like markup."""
    folder = tmp_path_factory.mktemp("parted")
    add_run(folder, "one", images=8, error=0.3, gallery=True)
    add_run(
        folder,
        "two",
        images=8,
        error=0.2,
        gallery=True,
        overridden={"localize": {"network": [EVIL, "tiny"]}},
    )
    splits = {"train": "train", "seeds": "train", "val": EVIL}
    add_run(folder, "few", images=5, error=0.1, dataset={"splits": splits})
    build(folder)
    return folder / "shapes.html"


LINES = "[...document.querySelectorAll('#board tbody tr')].map(line => line.cells[0].childNodes.length === 1 || \
line.className === 'section' ? line.textContent : line.cells[0].childNodes[1].textContent)"


@browser
def test_sections_have_headings_and_stay_apart_when_sorted(
    parted: Path, tmp_path: Path
) -> None:
    main, other = "Scored on 8 images of val", f"Scored on 5 images of {EVIL}"
    note = ": a part of the 8 of the main section not ranked against the main section"
    wanted = [main, "two", "one", other + note, "few"]
    assert answer(parted, tmp_path, LINES) == wanted
    click = "document.querySelector('[data-sort=val]').click()"
    # Upwards the best of all, which is in the other section, would come last but in its section alone.
    upwards = [main, "one", "two", other + note, "few"]
    assert answer(parted, tmp_path, LINES, f"{click};{click}") == upwards
    search = "const q = document.getElementById('search'); q.value = 'few'; q.dispatchEvent(new Event('input'))"
    assert answer(parted, tmp_path, LINES, search) == [other + note, "few"]


@browser
def test_badges_tell_of_replaced_defaults_and_of_the_section(
    parted: Path, tmp_path: Path
) -> None:
    badges = "[...document.querySelectorAll('.badge.warn')].map(e => [e.textContent, e.title])"
    found = answer(parted, tmp_path, badges)
    assert isinstance(found, list)
    replaced = f"profile quick replaces localize.network: {EVIL} → tiny"
    assert ["defaults replaced", replaced] in found
    assert [text for text, _ in found].count("section 2") == 2
    assert (
        answer(parted, tmp_path, "document.querySelectorAll('img[src=x]').length") == 0
    )


@browser
def test_a_class_compares_rows_of_the_main_section_alone(
    parted: Path, tmp_path: Path
) -> None:
    click = "document.querySelector('[data-class=\"2\"]').click()"
    bars = (
        "[...document.querySelectorAll('#differences .bars')]"
        ".map(line => [...line.querySelectorAll('span')].map(one => one.textContent))"
    )
    found = answer(parted, tmp_path, bars, click)
    assert isinstance(found, list)
    assert found
    assert all(line[2] == "–" for line in found)


def test_pages_of_one_section_carry_no_second_script(page: Path, parted: Path) -> None:
    assert page.read_text().count("<script") == 2
    assert parted.read_text().count("<script") == 3
    assert "partLines" not in page.read_text()


class Links(HTMLParser):
    """Collects everything that could make a browser fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            str(value)
            for name, value in attrs
            if name in ("src", "href", "srcset", "action", "data", "poster")
        ]


def test_the_file_refers_to_nothing_outside_itself(page: Path) -> None:
    text = page.read_text()
    links = Links()
    links.feed(text)
    assert all(link.startswith(("#", "data:")) for link in links.found)
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", text)


def test_the_data_cannot_close_their_script_element(tmp_path: Path) -> None:
    add_run(tmp_path, "</script><script>alert(1)</script>", run_id="x", images=3)
    build(tmp_path)
    text = (tmp_path / "shapes.html").read_text()
    assert text.count("<script") == 2
    assert "alert(1)" in text
    assert "<script>alert" not in text


def test_photographs_that_are_not_ours_are_never_embedded(tmp_path: Path) -> None:
    add_run(
        tmp_path,
        "dsrg",
        images=5,
        gallery=True,
        dataset={"name": "voc2012", "kind": "voc2012"},
    )
    build(tmp_path)
    assert "data:image" not in (tmp_path / "voc2012.html").read_text()
    add_run(tmp_path, "dsrg", images=5, gallery=True)
    build(tmp_path)
    assert "data:image/png" in (tmp_path / "shapes.html").read_text()
