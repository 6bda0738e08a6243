"""Script and style of the page as the files they are: they parse, and they and the HTML know the same names."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from wsss_bench.boards.page import page as page_module
from wsss_bench.boards.page.page import part

FOLDER = Path(str(page_module.__file__)).parent
SCRIPT, STYLE = FOLDER / "page.js", FOLDER / "page.css"
MORE = FOLDER / "sections.js"
NODE = shutil.which("node")


def script() -> str:
    return SCRIPT.read_text(encoding="utf-8")


def style() -> str:
    return STYLE.read_text(encoding="utf-8")


def skeleton() -> str:
    """The HTML before the script has drawn anything, as the module writes it."""
    return Path(str(page_module.__file__)).read_text(encoding="utf-8")


def without_strings(code: str) -> str:
    """JavaScript or CSS without strings and comments; the page's script has no template literals."""
    return re.sub(
        r"""'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/""",
        "''",
        code,
        flags=re.S,
    )


@pytest.mark.skipif(NODE is None, reason="no Node on this machine")
@pytest.mark.parametrize("strict", [False, True], ids=["as written", "as a module"])
@pytest.mark.parametrize("path", [SCRIPT, MORE], ids=lambda path: path.name)
def test_the_script_parses(path: Path, strict: bool, tmp_path: Path) -> None:
    copy = tmp_path / ("page.mjs" if strict else "page.js")
    copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run(
        [str(NODE), "--check", str(copy)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(NODE is None, reason="no Node on this machine")
def test_a_script_that_does_not_parse_is_noticed(tmp_path: Path) -> None:
    copy = tmp_path / "page.js"
    copy.write_text(script().replace("function draw()", "function draw("))
    done = subprocess.run([str(NODE), "--check", str(copy)], capture_output=True)
    assert done.returncode != 0


@pytest.mark.parametrize("path", [SCRIPT, MORE, STYLE], ids=lambda path: path.name)
def test_brackets_close_and_lines_are_clean(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    assert not text.startswith("\n")
    assert "\r" not in text
    assert not re.search(r"[ \t]+$", text, re.M)
    assert max(map(len, text.splitlines())) <= 160
    code = re.sub(r"/(?![/*])(?:\\.|[^/\\\n ])+/[gimsuy]*", "", without_strings(text))
    open_brackets: list[str] = []
    for character in code:
        if character in "([{":
            open_brackets.append({"(": ")", "[": "]", "{": "}"}[character])
        elif character in ")]}":
            assert open_brackets, f"{path.name}: a {character} too many"
            assert open_brackets.pop() == character, path.name
    assert open_brackets == []


@pytest.mark.parametrize("path", [SCRIPT, MORE], ids=lambda path: path.name)
def test_the_script_is_strict_and_makes_no_markup_from_text(path: Path) -> None:
    code = path.read_text(encoding="utf-8")
    assert code.startswith("'use strict';\n")
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    )
    assert not re.search(forbidden, code)
    assert "`" not in code
    # "</script" anywhere in it, also in a string, would end the script on the page; so would "</style" in the style.
    assert "</script" not in code
    assert "</" not in style()


@pytest.mark.parametrize("path", [SCRIPT, MORE], ids=lambda path: path.name)
def test_every_function_is_used(path: Path) -> None:
    code = without_strings(path.read_text(encoding="utf-8"))
    for name in re.findall(r"^function (\w+)", code, re.M):
        assert len(re.findall(rf"\b{name}\b", code)) > 1, f"{name} is never called"
    for name in re.findall(r"^const (\w+)", code, re.M):
        assert len(re.findall(rf"\b{name}\b", code)) > 1, f"{name} is never read"


def test_the_second_script_names_nothing_that_the_first_has() -> None:
    declared = r"^(?:function|const|let) (\w+)"
    names = [
        set(re.findall(declared, path.read_text(encoding="utf-8"), re.M))
        for path in (SCRIPT, MORE)
    ]
    # Both are scripts of one page and share its names.
    assert names[0] & names[1] == set()


def test_elements_that_the_script_looks_up_are_on_the_page() -> None:
    wanted = set(re.findall(r"byId\('([\w-]+)'\)", script()))
    wanted |= set(re.findall(r"getElementById\('([\w-]+)'\)", script()))
    there = set(re.findall(r'id="([\w-]+)"', skeleton()))
    assert {"board", "heat", "gallery", "data"} <= wanted <= there


def test_links_lead_to_sections() -> None:
    there = set(re.findall(r'id="([\w-]+)"', skeleton()))
    assert set(re.findall(r'href="#([\w-]+)"', skeleton())) <= there


def test_variables_of_the_style_are_defined_in_light_and_dark() -> None:
    used = set(re.findall(r"var\((--[\w-]+)\)", style() + script()))
    light, dark = re.findall(r":root\{(.*?)\}", style(), re.S)[:2]
    defined = set(re.findall(r"(--[\w-]+):", light))
    assert used == defined
    # Shadows and all colours change; nothing new appears in the dark.
    assert set(re.findall(r"(--[\w-]+):", dark)) == defined


def test_classes_and_ids_of_the_style_occur_on_the_page() -> None:
    code = re.sub(r"\{[^{}]*\}", "{}", without_strings(style()))
    elsewhere = script() + skeleton()
    styled = set(re.findall(r"[.#]([a-zA-Z][\w-]*)", code))
    dead = {name for name in styled if not re.search(rf"\b{name}\b", elsewhere)}
    # To take the one dead rule out changes every committed page; it goes with the next change of the style.
    assert dead == {"off"}


def test_the_page_takes_the_files_as_they_are() -> None:
    assert part("page.js") == script()
    assert part("page.css") == style()
    assert part("sections.js") == MORE.read_text(encoding="utf-8")


def test_the_wheel_ships_them() -> None:
    import tomllib

    project = Path(__file__).parents[2] / "pyproject.toml"
    tools = tomllib.loads(project.read_text())["tool"]["setuptools"]
    assert {"*.js", "*.css"} <= set(tools["package-data"]["*"])
    others = [path.suffix for path in FOLDER.iterdir() if path.is_file()]
    assert set(others) == {".py", ".js", ".css"}
