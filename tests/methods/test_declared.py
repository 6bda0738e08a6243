"""What a method's defaults may hold beside parameters: what they inherit, profiles, and names of test settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from wsss_bench.contract.card import MethodCard
from wsss_bench.contract.names import STAGES, TEST_NAMES
from wsss_bench.errors import RecipeError
from wsss_bench.io.configs import read_config
from wsss_bench.io.paths import configs_dir
from wsss_bench.methods import profiles
from wsss_bench.methods.catalog import LoadedMethod
from wsss_bench.methods.params import parse_options, resolve
from wsss_bench.methods.profiles import Profile, defaults, load_profile, with_profiles
from wsss_bench.methods.recipe import parse_recipe


def method(
    source: Mapping[str, Any] | Path, stages: tuple[str, ...] = STAGES
) -> LoadedMethod:
    card = MethodCard("mine", "1", stages=stages, defaults=source)
    return LoadedMethod("mine", object(), card, "outside", "1", "0" * 64)


def written(folder: Path, text: str, name: str = "config.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


CLASSIFIER = configs_dir() / "methods" / "classifier.py"


# What is inherited


FILE = """
inherit = ["methods/classifier.py"]
localize = dict(lr=0.3, sharpness=2.0)
"""
MAPPING = {
    "inherit": ["methods/classifier.py"],
    "localize": {"lr": 0.3, "sharpness": 2.0},
}


@pytest.mark.parametrize("kind", ["file", "mapping"])
def test_own_values_lie_over_the_inherited_ones(kind: str, tmp_path: Path) -> None:
    source = written(tmp_path, FILE) if kind == "file" else MAPPING
    shared = read_config(CLASSIFIER)["localize"]
    own = {"lr": 0.3, "sharpness": 2.0}
    assert defaults(method(source), "localize") == {**shared, **own}


@pytest.mark.parametrize("kind", ["file", "mapping"])
def test_test_settings_are_inherited(kind: str, tmp_path: Path) -> None:
    source = written(tmp_path, FILE) if kind == "file" else MAPPING
    found = profiles.test_settings(method(source), "localize")
    assert set(found) == {
        "scales",
        "flip",
        "test_amp",
        "test_batch",
        "test_round",
        "threshold",
    }
    assert profiles.test_settings(method(source), "refine") == ()


def test_own_test_settings_replace_the_inherited_ones_of_their_stage() -> None:
    own = {**MAPPING, "test_settings": {"localize": ["sharpness"]}}
    assert profiles.test_settings(method(own), "localize") == ("sharpness",)


def test_profiles_are_inherited_and_merge_with_the_own_ones() -> None:
    source = {
        "inherit": "methods/seeds_sec.py",
        "localize": {"sharpness": 2.0},
        "profiles": {"shapes": {"localize": {"sharpness": 1.0, "warp": 48}}},
    }
    found = with_profiles(method(source), "localize", [load_profile("shapes")])
    # `saliency_stage` is what the inherited config says for `shapes`.
    assert (found["sharpness"], found["warp"], found["saliency_stage"]) == (1.0, 48, 1)


def test_of_several_inherited_configs_the_later_one_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsss_bench.io.configs.configs_dir", lambda: tmp_path)
    written(tmp_path, "localize = dict(a=1, b=1, c=dict(x=1, y=1))\n", "one.py")
    written(tmp_path, "localize = dict(b=2, c=dict(y=2))\n", "two.py")
    source = {"inherit": ["one.py", "two.py"], "localize": {"c": {"z": 3}}}
    expected = {"a": 1, "b": 2, "c": {"x": 1, "y": 2, "z": 3}}
    assert defaults(method(source), "localize") == expected


def test_delete_replaces_instead_of_merging(tmp_path: Path) -> None:
    text = "inherit = 'methods/seeds_sec.py'\n"
    options = "dict(_delete_=True, frozen_stages=2)"
    text += f"localize = dict(backbone_options={options})\n"
    found = defaults(method(written(tmp_path, text)), "localize")
    assert found["backbone_options"] == {"frozen_stages": 2}


def test_inherit_and_base_work_together(tmp_path: Path) -> None:
    written(tmp_path, "localize = dict(lr=0.2, batch=3)\n", "beside.py")
    text = "_base_ = 'beside.py'\ninherit = ['methods/classifier.py']\n"
    text += "localize = dict(lr=0.4)\n"
    found = defaults(method(written(tmp_path, text)), "localize")
    assert (found["lr"], found["batch"], found["crop"]) == (0.4, 3, 512)


def test_inheriting_changes_no_mapping_and_no_other_method() -> None:
    found = defaults(method(MAPPING), "localize")
    found["backbone_options"]["frozen_stages"] = 9
    assert MAPPING["inherit"] == ["methods/classifier.py"]
    assert defaults(method(MAPPING), "localize")["backbone_options"] == {}


@pytest.mark.parametrize("kind", ["file", "mapping"])
def test_an_unknown_config_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    source: Path | dict[str, Any] = {"inherit": ["methods/clasifier.py"]}
    who = "method mine"
    if kind == "file":
        source = written(tmp_path, "inherit = ['methods/clasifier.py']\n")
        who = "config .*config.py"
    what = "no bundled config 'methods/clasifier.py'"
    hint = "Did you mean 'methods/classifier.py'"
    with pytest.raises(RecipeError, match=rf"{who}.*{what}.*{hint}"):
        defaults(method(source), "localize")


# Chains of profiles


BOTH = {
    "localize": {"epochs": 5, "iterations": 0, "lr": 0.1, "sharpness": 4.0},
    "profiles": {
        "shapes": {"localize": {"sharpness": 2.0, "lr": 0.4}},
        "check": {"localize": {"sharpness": 1.0}},
        "mine": {"localize": {"sharpness": 0.5}},
    },
}

WAYS = {
    "inherit": "inherit = ['profiles/shapes.py']\n",
    "inherit_one": "inherit = 'profiles/shapes.py'\n",
    "base": f"_base_ = {str(configs_dir() / 'profiles' / 'shapes.py')!r}\n",
}


def under(profile: Profile, source: Mapping[str, Any] = BOTH) -> dict[str, Any]:
    return with_profiles(method(source), "localize", [profile])


@pytest.mark.parametrize("way", WAYS)
def test_a_users_profile_is_laid_over_a_bundled_one(way: str, tmp_path: Path) -> None:
    text = WAYS[way] + "localize = {'*': dict(iterations=70)}\n"
    profile = load_profile(str(written(tmp_path, text, "theirs.py")))
    assert (profile.name, profile.inherits) == ("theirs", ("shapes",))
    found = under(profile)
    # From shapes itself, from the user's file, and what the method says for shapes.
    assert (found["epochs"], found["iterations"]) == (0, 70)
    assert (found["lr"], found["sharpness"]) == (0.4, 2.0)


@pytest.mark.parametrize("recipe", ["cam", "dsrg", "ficklenet", "vwe", "cam/irn/_"])
@pytest.mark.parametrize("bundled", ["shapes", "mobilenet", "check"])
def test_a_users_profile_that_adds_nothing_is_the_bundled_one(
    bundled: str, recipe: str, tmp_path: Path
) -> None:
    from wsss_bench.methods.catalog import Catalog

    path = written(tmp_path, f"inherit = ['profiles/{bundled}.py']\n", "theirs.py")
    catalog = Catalog()
    same, found = (
        resolve(parse_recipe(recipe), catalog, load_profile(name))
        for name in (bundled, str(path))
    )
    assert found.params == same.params
    assert found.retrain is not None
    assert same.retrain is not None
    assert found.retrain[1] == same.retrain[1]


def test_a_method_says_more_for_the_users_profile_than_for_what_it_inherits(
    tmp_path: Path,
) -> None:
    profile = load_profile(str(written(tmp_path, WAYS["inherit"], "mine.py")))
    found = under(profile)
    assert (found["lr"], found["sharpness"]) == (0.4, 0.5)


def test_a_chain_of_three_applies_the_most_general_first(tmp_path: Path) -> None:
    text = "inherit = ['profiles/check.py']\n"
    profile = load_profile(str(written(tmp_path, text, "third.py")))
    assert profile.inherits == ("shapes", "check")
    found = under(profile)
    # What the method says for `shapes` only still holds, though `check` lies over it.
    assert (found["lr"], found["sharpness"], found["iterations"]) == (0.4, 1.0, 8)


def test_a_profile_that_two_paths_lead_to_applies_once(tmp_path: Path) -> None:
    text = "inherit = ['profiles/shapes.py', 'profiles/check.py']\n"
    profile = load_profile(str(written(tmp_path, text, "both.py")))
    assert profile.inherits == ("shapes", "check")


def test_a_profile_that_names_no_bundled_one_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "inherit = ['profiles/shape.py']\n", "theirs.py")
    with pytest.raises(RecipeError, match=r"Did you mean 'profiles/shapes\.py'"):
        load_profile(str(path))


# Who has the last word


class Only:
    """A catalogue of the bundled methods and one more."""

    def __init__(self, added: LoadedMethod) -> None:
        from wsss_bench.methods.catalog import Catalog

        self.added = added
        self.others = Catalog()

    def load(self, name: str) -> LoadedMethod:
        return self.added if name == "mine" else self.others.load(name)


def layers(tmp_path: Path, upto: int) -> float:
    """Return `lr` where the weakest `upto` of the six layers set it: layer k sets k / 10."""
    own = {"lr": 0.1}
    for_profile = {"lr": 0.3} if upto >= 3 else {"other": 1}
    source = {
        "localize": {**own, "other": 0},
        "profiles": {"theirs": {"localize": for_profile}},
    }
    entry: dict[str, dict[str, float]] = {"*": {}, "mine": {}}
    if upto >= 2:
        entry["*"]["lr"] = 0.2
    if upto >= 4:
        entry["mine"]["lr"] = 0.4
    profile = written(tmp_path, f"localize = {entry!r}\n", "theirs.py")
    recipe = "mine[lr=0.5]" if upto >= 5 else "mine"
    options = ["localize.lr=0.6"] if upto >= 6 else []
    found = resolve(
        parse_recipe(recipe),
        Only(method(source, ("localize",))),  # type: ignore[arg-type]
        load_profile(str(profile)),
        parse_options(options),
    )
    return float(found.params["localize"].resolved["lr"])


@pytest.mark.parametrize("upto", range(1, 7))
def test_each_layer_wins_over_all_weaker_ones(upto: int, tmp_path: Path) -> None:
    """Defaults, the profile for all, the method's own for it, the profile's for the method, brackets, options."""
    assert layers(tmp_path, upto) == upto / 10


def test_later_profiles_win_over_earlier_ones_with_all_that_methods_say() -> None:
    first, second = load_profile("check"), Profile("mine")
    found = with_profiles(method(BOTH), "localize", [first, second])
    assert found["sharpness"] == 0.5
    found = with_profiles(method(BOTH), "localize", [second, first])
    assert found["sharpness"] == 1.0


@pytest.mark.parametrize("name", ["shapes", "mobilenet", "check"])
def test_bundled_profiles_name_no_method(name: str) -> None:
    """What one method needs lies with that method."""
    for stage, entry in load_profile(name).overrides.items():
        assert set(entry) == {"*"}, stage


# What is refused


def broken(**more: Any) -> LoadedMethod:
    return method({"localize": {"lr": 0.1}, "segment": {"crf": "", "lr": 0.1}, **more})


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown_key": ({"profile": {}}, r"name 'profile'.*Did you mean 'profiles'"),
    "stage_is_no_mapping": ({"refine": [1]}, r"'refine' is no mapping"),
    "tests_of_no_stage": (
        {"test_settings": {"localise": ("lr",)}},
        r"has 'localise', which is not a stage\. Did you mean 'localize'",
    ),
    "tests_are_a_text": (
        {"test_settings": {"localize": "lr"}},
        r"localize must list names of parameters",
    ),
    "tests_are_a_number": (
        {"test_settings": {"localize": 3}},
        r"localize must list names of parameters",
    ),
    "tests_of_no_parameter": (
        {"test_settings": {"localize": ["lrr"]}},
        r"has 'lrr', which is not a parameter of that stage.*Did you mean 'lr'",
    ),
    "prediction_does_not_know_it": (
        {"test_settings": {"segment": ["lr"]}},
        r"has 'lr', which prediction does not know; it knows test_scales, .*crf",
    ),
    "profile_is_no_mapping": (
        {"profiles": {"shapes": 3}},
        r"profiles: shapes must map stages to dicts",
    ),
    "profile_of_no_stage": (
        {"profiles": {"shapes": {"localise": {}}}},
        r"shapes has 'localise', which is not a stage\. Did you mean 'localize'",
    ),
    "stage_of_profile_is_no_mapping": (
        {"profiles": {"shapes": {"localize": 3}}},
        r"profiles: shapes: localize must be a dict of parameters",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_the_methods_name(name: str) -> None:
    more, message = WRONG[name]
    with pytest.raises(RecipeError, match=rf"^method mine \(outside 1\): .*{message}"):
        defaults(broken(**more), "localize")


@pytest.mark.parametrize("name", WRONG)
def test_test_settings_are_not_read_from_what_is_wrong(name: str) -> None:
    with pytest.raises(RecipeError, match=WRONG[name][1]):
        profiles.test_settings(broken(**WRONG[name][0]), "localize")


def test_every_name_that_prediction_knows_may_be_a_test_setting() -> None:
    source = {
        "segment": dict.fromkeys(TEST_NAMES, 1),
        "test_settings": {"segment": list(TEST_NAMES)},
    }
    assert profiles.test_settings(method(source), "segment") == tuple(TEST_NAMES)


def test_a_method_without_test_settings_has_none() -> None:
    for stage in STAGES:
        assert profiles.test_settings(method({"localize": {"lr": 1.0}}), stage) == ()


def test_a_methods_entry_for_a_profile_must_name_a_parameter_it_has() -> None:
    source = {**BOTH, "profiles": {"shapes": {"localize": {"sharpnes": 1.0}}}}
    hint = "Did you mean 'sharpness'"
    match = rf"profile shapes: mine: localize\.sharpnes: .*{hint}"
    with pytest.raises(RecipeError, match=match):
        under(load_profile("shapes"), source)


def test_a_methods_entry_for_a_profile_keeps_the_type() -> None:
    source = {**BOTH, "profiles": {"shapes": {"localize": {"epochs": "five"}}}}
    with pytest.raises(RecipeError, match=r"'five' is a text, an integer"):
        under(load_profile("shapes"), source)
