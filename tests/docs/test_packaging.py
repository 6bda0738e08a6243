"""What the wheel must hold, told from the files."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PLACES = {
    "wsss_bench": "wsss_bench",
    "plugins": "wsss_plugins",
    "configs": "wsss_bench.configs",
}


def _packages() -> set[str]:
    found = {"wsss_bench.leaderboards"}  # data only: the published numbers
    for folder, name in PLACES.items():
        for path in [ROOT / folder, *(ROOT / folder).rglob("*")]:
            if path.is_dir() and path.name != "__pycache__" and any(path.glob("*.py")):
                found.add(".".join([name, *path.relative_to(ROOT / folder).parts]))
    return found


def test_every_package_is_installed() -> None:
    code = "import setup; print(*setup.packages())"
    listed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert set(listed) == _packages()


def test_every_bundled_method_is_an_entry_point_and_has_a_page() -> None:
    methods = PROJECT["project"]["entry-points"]["wsss_bench.methods"]
    folders = {path.parent.name for path in (ROOT / "plugins").glob("*/plugin.py")}
    assert set(methods) == folders
    for name in methods:
        folder = ROOT / "plugins" / name
        assert (folder / "README.md").read_text().startswith(f"# {name}")
        # The upper bound has no parameters of its own.
        assert (folder / "config.py").exists() or name == "supervised"


def test_the_readme_has_exactly_two_commands_to_paste_that_set_up_and_run() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    complete = [block for block in blocks if "apt-get install" in block]
    assert len(complete) == 2
    assert all(
        "python3.11 -m venv" in block and "pip install" in block for block in complete
    )
    assert "wsss-bench run --methods dsrg,vwe,ficklenet" in complete[0]
    assert "pytest" in complete[1]
