from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from run_fakes import write_plugin

from wsss_bench.errors import PluginError, RecipeError, WsssError
from wsss_bench.methods.catalog import Catalog, load_file
from wsss_bench.methods.hooks import StageManager, call_hook, signature

ARGUMENTS = dict.fromkeys(
    ("view", "seeds", "previous", "previous_labels", "out", "ctx")
)
"""All that the hook `refine` is called with."""

GOOD = """
from wsss_bench import MethodCard, hookimpl

class Method:
    @hookimpl
    def method_card(self):
        return MethodCard(name="{name}", version="1", stages=("refine",))

    @hookimpl
    def refine(self, view, seeds, out):
        return "refined"

plugin = Method()
"""


def install(
    folder: Path,
    module: str,
    text: str,
    name: str | None = None,
    dist: str | None = None,
    version: str = "1.2",
) -> None:
    """Lay out an installed distribution `dist` whose entry point `name` is ``module:plugin``."""
    name, dist = name or module, dist or f"wsss-{module}"
    (folder / f"{module}.py").write_text(textwrap.dedent(text))
    info = folder / f"{dist.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n"
    )
    (info / "entry_points.txt").write_text(
        f"[wsss_bench.methods]\n{name} = {module}:plugin\n"
    )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("WSSS_BENCH_PLUGINS", raising=False)
    return tmp_path


def test_names_are_known_without_importing(site: Path) -> None:
    install(site, "cat_never_imported", "raise RuntimeError('imported')", name="lazy")
    catalog = Catalog()
    assert "lazy" in catalog.names()
    assert "cam" in catalog.names()
    listing = next(entry for entry in catalog.listings() if entry.name == "lazy")
    assert (listing.distribution, listing.version) == ("wsss-cat_never_imported", "1.2")
    assert "cat_never_imported" not in sys.modules


def test_load_gives_card_source_and_digest(site: Path) -> None:
    install(site, "cat_good", GOOD.format(name="cat_good"))
    method = Catalog().load("cat_good")
    assert method.card.stages == ("refine",)
    assert method.who == "cat_good (wsss-cat_good 1.2)"
    assert len(method.code_digest) == 64


def test_unknown_name_suggests_the_nearest(site: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"no method 'ficklnet'.*Did you mean 'ficklenet'"
    ):
        Catalog().load("ficklnet")


def test_a_name_claimed_twice_names_both_and_spares_the_others(site: Path) -> None:
    install(site, "cat_one", GOOD.format(name="twin"), name="twin")
    install(site, "cat_two", GOOD.format(name="twin"), name="twin", version="9")
    install(site, "cat_three", GOOD.format(name="cat_three"))
    catalog = Catalog()
    with pytest.raises(
        PluginError,
        match=r"wsss-cat_one 1\.2.*wsss-cat_two 9|wsss-cat_two 9.*wsss-cat_one 1\.2",
    ):
        catalog.load("twin")
    assert catalog.load("cat_three").name == "cat_three"
    assert [entry.name for entry in catalog.listings() if entry.problem] == ["twin"]


def test_a_local_file_may_not_take_an_installed_name(
    site: Path, tmp_path: Path
) -> None:
    path = write_plugin(tmp_path, "cam")
    with pytest.raises(
        PluginError, match=r"claimed by wsss-bench .* and by cam\.py local"
    ):
        Catalog(local=[path]).load("cam")


def test_environment_restricts_by_method_or_distribution(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "cat_kept", GOOD.format(name="cat_kept"))
    monkeypatch.setenv("WSSS_BENCH_PLUGINS", "cam, wsss-cat_kept")
    assert Catalog().names() == ("cam", "cat_kept")
    with pytest.raises(RecipeError, match="WSSS_BENCH_PLUGINS"):
        Catalog().load("dsrg")
    monkeypatch.setenv("WSSS_BENCH_PLUGINS", "")
    assert Catalog().names() == ()


BROKEN = {
    "import_error": (
        "import no_such_module_anywhere\nplugin = 1",
        r"import: importing \S+ failed with ModuleNotFoundError",
    ),
    "exits": ("import sys\nsys.exit(3)", r"import: .*SystemExit: 3"),
    "a_class": (
        GOOD.format(name="a_class").replace("plugin = Method()", "plugin = Method"),
        r"Method is a class.*plugin = Method\(\)",
    ),
    "undecorated": (
        GOOD.format(name="undecorated").replace(
            "    @hookimpl\n    def refine", "    def refine"
        ),
        r"refine: the function is not decorated.*@hookimpl",
    ),
    "typo": (
        GOOD.format(name="typo").replace("def refine", "def refne"),
        r"refne: there is no such hook.*Did you mean 'refine'",
    ),
    "wrong_argument": (
        GOOD.format(name="wrong_argument").replace("seeds, out", "seed, out"),
        r"refine: takes an argument 'seed' .*refine\(view, seeds, previous, previous_labels, out, ctx\)",
    ),
    "star_arguments": (
        GOOD.format(name="star_arguments").replace("view, seeds, out", "view, **rest"),
        r"takes \*\*rest",
    ),
    "no_self": (
        GOOD.format(name="no_self").replace("self, view", "view"),
        r"refine: the method has no `self`",
    ),
    "no_self_card": (
        GOOD.format(name="no_self_card").replace("method_card(self)", "method_card()"),
        r"method_card: .* no `self`",
    ),
    "no_card": (
        GOOD.format(name="no_card").replace(
            "    @hookimpl\n    def method_card", "    def describe"
        ),
        r"method_card: the plugin has no method card",
    ),
    "card_raises": (
        GOOD.format(name="card_raises").replace("return MethodCard", "raise KeyError"),
        r"method_card: raised TypeError|KeyError",
    ),
    "card_is_text": (
        GOOD.format(name="card_is_text").replace(
            'MethodCard(name="card_is_text", version="1", stages=("refine",))', '"card"'
        ),
        r"method_card: returned str",
    ),
    "card_is_none": (
        GOOD.format(name="card_is_none").replace(
            'MethodCard(name="card_is_none", version="1", stages=("refine",))', "None"
        ),
        r"method_card: returned None",
    ),
    "stages_differ": (
        GOOD.format(name="stages_differ").replace(
            '("refine",)', '("refine", "segment")'
        ),
        r"the card names the stages refine, segment, the plugin implements refine",
    ),
    "other_name": (
        GOOD.format(name="someone_else"),
        r"the card's name is 'someone_else', the entry point's is 'other_name'",
    ),
    "newer_contract": (
        GOOD.format(name="newer_contract").replace(
            'stages=("refine",)', 'stages=("refine",), contract=99'
        ),
        r"hook contract 99.*pip install -U wsss-bench",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_says_who_where_what_and_how(name: str, site: Path) -> None:
    text, message = BROKEN[name]
    install(site, f"cat_{name}", text, name=name)
    install(
        site, f"cat_{name}_neighbour", GOOD.format(name=f"n_{name}"), name=f"n_{name}"
    )
    catalog = Catalog()
    assert name in catalog.names()
    with pytest.raises(PluginError, match=message) as caught:
        catalog.load(name)
    assert str(caught.value).startswith(f"{name} (wsss-cat_{name} 1.2): ")
    assert catalog.load(f"n_{name}").name == f"n_{name}"


def test_a_property_of_a_plugin_is_not_run_by_looking_at_it(site: Path) -> None:
    text = (
        GOOD.format(name="cat_property")
        + "Method.costly = property(lambda self: 1 / 0)\n"
    )
    install(site, "cat_property", text)
    assert Catalog().load("cat_property").card.stages == ("refine",)


def test_local_file_with_module_level_hooks(tmp_path: Path) -> None:
    path = tmp_path / "cat_module_level.py"
    path.write_text(
        "from wsss_bench import MethodCard, hookimpl\n"
        "@hookimpl\ndef method_card():\n    return MethodCard(name='flat', version='2', stages=('refine',))\n"
        "@hookimpl\ndef refine(out, view):\n    return 'x'\n"
    )
    method = load_file(path)
    assert (method.name, method.distribution, method.version) == (
        "flat",
        "cat_module_level.py",
        "local",
    )
    assert (
        call_hook(
            method.plugin,
            "refine",
            method.who,
            ARGUMENTS,
        )
        == "x"
    )


def test_functions_of_a_local_file_reach_worker_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_plugin(
        tmp_path, "cat_picklable", extra="def double(x):\n    return 2 * x\n"
    )
    before = list(sys.path)
    method = load_file(path)
    code = (
        "import pickle, sys\n"
        f"sys.path[:] = {sys.path!r}\n"
        f"print(pickle.loads({__import__('pickle').dumps(sys.modules['cat_picklable'].double)!r})(21))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert (method.name, done.stdout.strip()) == ("cat_picklable", "42")
    monkeypatch.setattr(sys, "path", before)


def test_a_missing_local_file_is_listed_as_broken(tmp_path: Path) -> None:
    catalog = Catalog(local=[tmp_path / "gone.py"], restrict=["cam"])
    assert catalog.names() == ("cam", "gone")
    with pytest.raises(
        PluginError, match=r"gone \(gone\.py local\): import: there is no file"
    ):
        catalog.load("gone")


def test_digest_changes_with_code_of_the_package_and_not_with_its_tests(
    site: Path,
) -> None:
    package = site / "cat_package"
    (package / "tests").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "maths.py").write_text("A = 1\n")
    good = GOOD.format(name="cat_package")
    (package / "plugin.py").write_text(f"from . import maths\n{good}")
    info = site / "wsss_cat_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: wsss-cat_package\nVersion: 1\n"
    )
    (info / "entry_points.txt").write_text(
        "[wsss_bench.methods]\ncat_package = cat_package.plugin:plugin\n"
    )
    first = Catalog().load("cat_package").code_digest
    (package / "tests" / "test_it.py").write_text("B = 2\n")
    assert Catalog().load("cat_package").code_digest == first
    (package / "maths.py").write_text("A = 2\n")
    assert Catalog().load("cat_package").code_digest != first


def test_only_the_picked_stage_is_registered(tmp_path: Path) -> None:
    method = load_file(write_plugin(tmp_path, "cat_stages"))
    manager = StageManager(("refine",))
    manager.register(method.plugin)
    assert [
        len(getattr(manager.hook, hook).get_hookimpls())
        for hook in ("localize", "refine", "segment")
    ] == [0, 1, 0]


def test_specname_stands_for_the_hook(tmp_path: Path) -> None:
    path = tmp_path / "cat_specname.py"
    path.write_text(
        "from wsss_bench import MethodCard, hookimpl\n"
        "class M:\n"
        "    @hookimpl\n    def method_card(self):\n"
        "        return MethodCard(name='spec', version='1', stages=('refine',))\n"
        "    @hookimpl(specname='refine')\n    def by_another_name(self, out):\n        return 7\n"
        "plugin = M()\n"
    )
    method = load_file(path)
    assert (
        call_hook(
            method.plugin,
            "refine",
            method.who,
            ARGUMENTS,
        )
        == 7
    )


def _plugin(body: str) -> object:
    space: dict[str, object] = {}
    exec(
        "from wsss_bench import hookimpl\nfrom wsss_bench.errors import LeakError\n"
        f"class P:\n    @hookimpl\n    def refine(self, view):\n        {body}\n",
        space,
    )
    return space["P"]()  # type: ignore[operator]


def test_none_is_an_error_that_names_the_plugin() -> None:
    with pytest.raises(
        PluginError,
        match=r"mine \(dist 1\): refine: returned None\. End it with `return out\.close\(\)`",
    ):
        call_hook(_plugin("return None"), "refine", "mine (dist 1)", ARGUMENTS)


def test_an_exception_is_wrapped_with_its_cause() -> None:
    with pytest.raises(
        PluginError,
        match=r"mine \(dist 1\): refine: raised ZeroDivisionError: division by zero\.",
    ) as caught:
        call_hook(_plugin("1 / 0"), "refine", "mine (dist 1)", ARGUMENTS)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_errors_of_the_harness_pass_unwrapped() -> None:
    with pytest.raises(WsssError, match=r"^no masks$") as caught:
        call_hook(_plugin("raise LeakError('no masks')"), "refine", "mine", ARGUMENTS)
    assert not isinstance(caught.value, PluginError)


def test_interrupts_are_not_wrapped() -> None:
    with pytest.raises(KeyboardInterrupt):
        call_hook(_plugin("raise KeyboardInterrupt"), "refine", "mine", ARGUMENTS)


def test_signature_is_what_an_author_writes() -> None:
    written = "segment(view, labels, seeds, previous, previous_labels, ctx)"
    assert signature("segment") == written


def test_every_bundled_method_loads() -> None:
    catalog = Catalog(restrict=["wsss-bench"])
    assert {catalog.load(name).distribution for name in catalog.names()} == {
        "wsss-bench"
    }


def test_bundled_methods_load_without_torch() -> None:
    code = (
        "import sys; from wsss_bench.methods.catalog import Catalog; c = Catalog(); "
        "[c.load(n) for n in c.names()]; print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_plugin_of_today_works_when_a_hook_gains_an_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from wsss_bench.contract import hookspecs

    def refine(view, seeds, previous, out, ctx, budget):  # type: ignore[no-untyped-def]
        """The hook of tomorrow."""

    monkeypatch.setattr(
        hookspecs, "refine", hookspecs.hookspec(firstresult=True)(refine)
    )
    assert signature("refine").endswith("budget)")
    assert (
        call_hook(
            _plugin("return view"),
            "refine",
            "mine",
            {**ARGUMENTS, "view": 5, "budget": 1},
        )
        == 5
    )
