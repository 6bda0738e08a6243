"""A method is one folder: adding a bundled one touches that folder and one line of ``pyproject.toml``, nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("wsss_bench", "plugins", "configs", "leaderboards/published.csv")
LINE = 'newone = "wsss_plugins.newone.plugin:plugin"\n'
TABLE = '[project.entry-points."wsss_bench.methods"]\n'

COMMAND = "from wsss_bench.cli import main; raise SystemExit(main())"

PLUGIN = '''"""A localizer for this test."""

from __future__ import annotations

from pathlib import Path

from wsss_bench import MethodCard, hookimpl


class NewOne:
    """Maps that nobody needs."""

    @hookimpl
    def method_card(self):
        """The card."""
        return MethodCard(
            name="newone",
            version="1.0",
            stages=("localize",),
            paper="Nobody et al., A New One, Nowhere 2026",
            defaults=Path(__file__).with_name("config.py"),
        )

    @hookimpl
    def localize(self, view, out, ctx):
        """Never run here."""
        raise RuntimeError("not in this test")


plugin = NewOne()
'''
CONFIG = '''"""What the test's method inherits, and what it sets of its own."""

inherit = ["methods/classifier.py"]
localize = dict(novelty=3)
profiles = dict(shapes=dict(localize=dict(novelty=7, scales=(0.5,))))
'''


def lay_out_distribution(root: Path) -> None:
    """Make the copy look installed: its entry points are those of its own pyproject.toml."""
    content = (root / "pyproject.toml").read_text()
    lines = content.partition(TABLE)[2].partition("\n\n")[0].replace('"', "")
    info = root / "wsss_bench-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: wsss-bench\nVersion: 0.1.0\n"
    )
    (info / "entry_points.txt").write_text(f"[wsss_bench.methods]\n{lines}\n")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout with one more method."""
    root = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        source, target = ROOT / name, root / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            unwanted = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target, ignore=unwanted)
        else:
            shutil.copy(source, target)
    for name in ("pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, root / name)
    folder = root / "plugins" / "newone"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "plugin.py").write_text(PLUGIN)
    (folder / "config.py").write_text(CONFIG)
    (folder / "README.md").write_text("# newone\n\nA method that a test adds.\n")
    project = root / "pyproject.toml"
    text = project.read_text()
    assert text.count(TABLE) == 1
    project.write_text(text.replace(TABLE, TABLE + LINE))
    # In a checkout the plugins' folder is installed under another name.
    (root / "wsss_plugins").symlink_to(root / "plugins", target_is_directory=True)
    lay_out_distribution(root)
    return root


def run(checkout: Path, *words: str) -> str:
    """Run the copy's own command; it must find itself and none of this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    environment.pop("WSSS_BENCH_PLUGINS", None)
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_listed_and_described(checkout: Path) -> None:
    listed = run(checkout, "plugin", "list")
    assert "newone" in listed
    # The bundled ones are there once: the copy's, not this checkout's beside them.
    assert "claimed by" not in listed
    described = run(checkout, "plugin", "info", "newone")
    assert "A New One, Nowhere 2026" in described


def test_the_page_of_methods_has_it(checkout: Path) -> None:
    page = run(checkout, "plugin", "info", "--markdown")
    assert "newone" in page
    assert "A New One, Nowhere 2026" in page


def test_a_run_takes_its_parameters_and_those_of_the_profile(checkout: Path) -> None:
    words = ["run", "--methods", "newone", "--dataset", "shapes", "--dry-run", "--json"]
    plan = run(checkout, *words)
    assert "newone" in plan
    code = (
        "from wsss_bench.methods.catalog import Catalog\n"
        "from wsss_bench.methods.profiles import load_profile, with_profiles\n"
        "method = Catalog().load('newone')\n"
        "for name in ('paper', 'shapes', 'check'):\n"
        "    params = with_profiles(method, 'localize', [load_profile(name)])\n"
        "    print(name, params['novelty'], params['backbone'], params['scales'][0])\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert found == [
        "paper 3 resnet50 1.0",
        "shapes 7 tiny 0.5",
        # Check inherits shapes, and with it what methods bring for shapes.
        "check 7 tiny 0.5",
    ]


def test_the_wheel_would_hold_it(checkout: Path) -> None:
    listed = subprocess.run(
        [sys.executable, "-c", "import setup; print(*setup.packages())"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "wsss_plugins.newone" in listed


def test_nothing_else_of_the_checkout_names_a_method(checkout: Path) -> None:
    """A method's name in code of the harness would be one more place to touch."""
    for name in ("affinitynet", "ficklenet", "vwe", "irn"):
        found = []
        for path in [*ROOT.glob("configs/**/*.py"), *ROOT.glob("setup.py")]:
            lines = path.read_text().splitlines()
            code = [line.partition("#")[0] for line in lines]
            if any(f'"{name}"' in line or f"{name}=" in line for line in code):
                found.append(path)
        assert not found
