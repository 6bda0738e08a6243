"""A method is one folder: a bundled one is added to a copy of the checkout, and every part of the harness knows it."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from wsss_bench.io.paths import checkout

pytestmark = pytest.mark.skipif(checkout() is None, reason="runs from a checkout")

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = (".*", "__pycache__", "*.egg-info", "work_dirs", "build", "dist", "runs")
"""What is no part of the source, and ``leaderboards/runs``, which is large and holds no method."""

LINE = 'newone = "wsss_plugins.newone.plugin:plugin"\n'

FILES = {
    "__init__.py": '"""A method that was added a moment ago."""\n',
    "README.md": "# newone\n\nSeeds to labels, cautiously.\n",
    "config.py": """\
\"\"\"Cautious labels.\"\"\"

refine = dict(threshold=0.25, sure=0.5, epochs=3)
test_settings = dict(refine=("threshold",))
profiles = dict(shapes=dict(refine=dict(sure=0.75)))
""",
    "plugin.py": """\
\"\"\"Cautious labels: the best class where it is sure, else nothing.\"\"\"

from pathlib import Path

from wsss_bench import MethodCard, hookimpl


class NewOne:
    \"\"\"Seeds to labels.\"\"\"

    @hookimpl
    def method_card(self):
        \"\"\"Say what the method is.\"\"\"
        return MethodCard(
            name="newone",
            version="1.0",
            stages=("refine",),
            paper="Newman et al., New labels, 2026",
            defaults=Path(__file__).with_name("config.py"),
        )

    @hookimpl
    def refine(self, view, seeds, out, ctx):
        \"\"\"Write labels.\"\"\"
        return out.close()


plugin = NewOne()
""",
}


@dataclass(frozen=True)
class Copy:
    """A checkout with one method more, and the environment in which it is the one that is installed."""

    root: Path
    site: Path

    def run(self, *command: str, code: int = 0) -> str:
        """Run Python in the checkout and return what it prints."""
        # The site first: its metadata and packages stand before those of the tests' own environment.
        path = os.pathsep.join([str(self.site), str(self.root)])
        inherited = {k: v for k, v in os.environ.items() if k != "WSSS_BENCH_PLUGINS"}
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.root,
            env={**inherited, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def bench(self, *arguments: str) -> str:
        """Run the command line."""
        start = "import sys; from wsss_bench.cli import main; sys.exit(main())"
        return self.run("-c", start, *arguments)

    def pytest(self, *arguments: str) -> str:
        """Run tests of the copy."""
        plain = ["-v", "-p", "no:cacheprovider"]
        return self.run("-m", "pytest", *plain, *arguments)


def entry_points(project: Path) -> str:
    """Return what an installation of a project writes down of its entry points."""
    groups = tomllib.loads(project.read_text())["project"]["entry-points"]
    lines = []
    for group, points in groups.items():
        lines.append(f"[{group}]")
        lines += [f"{name} = {target}" for name, target in points.items()]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    folder = tmp_path_factory.mktemp("added")
    root, site = folder / "checkout", folder / "site"
    leave_out = shutil.ignore_patterns(*LEFT_OUT)

    def ignored(place: str, names: list[str]) -> set[str]:
        # `wsss_bench/runs` is a room; only the leaderboards' runs are left out.
        keep = set() if Path(place) == ROOT / "leaderboards" else {"runs"}
        return leave_out(place, names) - keep

    shutil.copytree(ROOT, root, ignore=ignored)
    for name, text in FILES.items():
        file = root / "plugins" / "newone" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    project = root / "pyproject.toml"
    head = '[project.entry-points."wsss_bench.methods"]\n'
    before, after = project.read_text().split(head)
    project.write_text(before + head + LINE + after)
    # What `pip install -e` leaves, without its downloads.
    info = site / "wsss_bench-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: wsss-bench\nVersion: 0.1.0\n"
    )
    (info / "entry_points.txt").write_text(entry_points(project))
    package = site / "wsss_plugins" / "__init__.py"
    package.parent.mkdir()
    package.write_text(f"__path__ = [{str(root / 'plugins')!r}]\n")
    return Copy(root, site)


def changes(before: Path, after: Path) -> set[str]:
    """Return the files that differ between two folders, as paths below them."""
    compared = filecmp.dircmp(before, after, ignore=["__pycache__"])
    found = {*compared.right_only, *compared.diff_files, *compared.funny_files}
    for name in compared.common_dirs:
        below = changes(before / name, after / name)
        found |= {f"{name}/{path}" for path in below}
    return found


def test_its_folder_and_one_line_are_all_that_was_added(copy: Copy) -> None:
    generated = {"docs/methods.md"}
    found = changes(ROOT, copy.root) - generated
    assert found == {"plugins/newone", "pyproject.toml"}
    before = (ROOT / "pyproject.toml").read_text().splitlines(keepends=True)
    after = (copy.root / "pyproject.toml").read_text().splitlines(keepends=True)
    after.remove(LINE)
    assert after == before


def test_the_copy_is_what_runs(copy: Copy) -> None:
    code = "import wsss_bench, wsss_plugins.newone as n; print(wsss_bench.__file__, n.__file__)"
    for file in copy.run("-c", code).split():
        assert Path(file).is_relative_to(copy.root)


def test_the_command_line_lists_and_describes_it(copy: Copy) -> None:
    rows = json.loads(copy.bench("plugin", "list", "--load", "--json"))
    row = next(row for row in rows if row["name"] == "newone")
    assert (row["distribution"], row["problem"]) == ("wsss-bench", None)
    assert row["stages"] == ["refine"]
    info = json.loads(copy.bench("plugin", "info", "newone", "--json"))
    assert "Newman" in json.dumps(info)
    assert "0.25" in json.dumps(info)


def test_a_run_plans_it_with_its_settings_for_the_profile(copy: Copy) -> None:
    words = ("run", "--methods", "cam/newone/_", "--dry-run", "--device", "cpu")
    assert "newone" in copy.bench(*words, "--profile", "shapes")
    code = """
from wsss_bench.methods.catalog import Catalog
from wsss_bench.methods.profiles import load_profile, test_settings, with_profiles
method = Catalog().load("newone")
print(test_settings(method, "refine"))
for name in ("paper", "shapes", "check"):
    print(with_profiles(method, "refine", [load_profile(name)]))
"""
    assert copy.run("-c", code).splitlines() == [
        "('threshold',)",
        "{'threshold': 0.25, 'sure': 0.5, 'epochs': 3}",
        "{'threshold': 0.25, 'sure': 0.75, 'epochs': 3}",
        "{'threshold': 0.25, 'sure': 0.75, 'epochs': 1}",
    ]


def test_the_page_of_methods_is_made_with_it(copy: Copy) -> None:
    page = copy.bench("plugin", "info", "--markdown")
    assert "\n## newone\n" in page
    assert "Newman et al." in page


def test_it_is_packaged(copy: Copy) -> None:
    code = "import setup; print(*setup.packages())"
    assert "wsss_plugins.newone" in copy.run("-c", code).split()


def test_no_test_of_methods_or_packages_has_a_list_to_be_extended(copy: Copy) -> None:
    page = copy.bench("plugin", "info", "--markdown")
    (copy.root / "docs" / "methods.md").write_text(page)
    said = copy.pytest(
        "tests/docs/test_packaging.py",
        "tests/methods/test_configs.py",
        "tests/docs/test_docs.py::test_the_page_of_methods_holds_every_card_and_is_what_the_command_prints",
    )
    # Tests that go through all methods found this one too.
    assert "[newone" in said
    assert "newone]" in said
