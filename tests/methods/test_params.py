from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wsss_bench.contract.card import MethodCard
from wsss_bench.errors import RecipeError
from wsss_bench.io.configs import read_config
from wsss_bench.methods.catalog import LoadedMethod
from wsss_bench.methods.params import (
    Resolved,
    StageParams,
    check_options,
    parse_options,
    resolve,
)
from wsss_bench.methods.profiles import Profile, defaults, load_profile
from wsss_bench.methods.recipe import parse_recipe
from wsss_bench.methods.values import put

CLASSIFIER = {
    "lr": 0.1,
    "epochs": 5,
    "threshold": 0.15,
    "weights": "imagenet",
    "scales": (1.0, 0.5),
}
NET = {
    "lr": 0.01,
    "iterations": 100,
    "crop": 321,
    "weights": "imagenet",
    "model": {"depth": 3, "name": "d"},
    "flip": False,
}
METHODS: dict[str, dict[str, dict[str, Any]]] = {
    "cam": {"localize": CLASSIFIER},
    "threshold": {"refine": {"threshold": 0.15}},
    "deeplab": {"segment": NET},
    "dsrg": {
        "localize": {"seed": 0.2},
        "refine": {"theta": 0.9},
        "segment": {**NET, "grow": True, "rounds": 2},
    },
}


class Fakes:
    """A catalogue of cards without plugins."""

    def load(self, name: str) -> LoadedMethod:
        if name not in METHODS:
            raise RecipeError(f"there is no method {name!r}.")
        card = MethodCard(
            name=name, version="1", stages=tuple(METHODS[name]), defaults=METHODS[name]
        )
        return LoadedMethod(name, object(), card, "fakes", "1", "0" * 64)


def resolved(
    text: str,
    profile: dict[str, Any] | None = None,
    options: tuple[str, ...] = (),
    weights: str | None = None,
) -> Resolved:
    return resolve(
        parse_recipe(text),
        Fakes(),
        Profile("test", profile or {}),
        parse_options(options),
        weights,
    )  # type: ignore[arg-type]


def test_later_sources_win_and_passed_is_kept_apart() -> None:
    profile = {"localize": {"*": {"epochs": 1, "lr": 0.2}, "cam": {"lr": 0.3}}}
    found = resolved("cam[epochs=7]", profile, ("localize.epochs=8",)).params[
        "localize"
    ]
    assert found.resolved == {
        **CLASSIFIER,
        "lr": 0.3,
        "epochs": 8,
        "scales": (1.0, 0.5),
    }
    assert found.passed == {"epochs": 8}


def test_star_applies_only_where_the_parameter_exists() -> None:
    found = resolved("cam", {"localize": {"*": {"grow": 1, "epochs": 2}}})
    assert found.params["localize"].resolved["epochs"] == 2
    assert "grow" not in found.params["localize"].resolved


@pytest.mark.parametrize(
    ("own", "profile", "expected"),
    [
        (
            {"epochs": 5, "iterations": 0},
            {"epochs": 0, "iterations": 300},
            {"epochs": 0, "iterations": 300},
        ),
        ({"epochs": 5}, {"epochs": 0, "iterations": 300}, {"epochs": 5}),
        ({"iterations": 40}, {"epochs": 0, "iterations": 300}, {"iterations": 300}),
        ({"iterations": 40}, {"epochs": 4, "iterations": 0}, {"iterations": 40}),
        ({"epochs": 5}, {"epochs": 4, "iterations": 0}, {"epochs": 4}),
    ],
)
def test_a_profile_leaves_no_training_without_a_length(
    own: dict[str, Any],
    profile: dict[str, Any],
    expected: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(METHODS, "theirs", {"localize": own})
    assert (
        resolved("theirs", {"localize": {"*": profile}}).params["localize"].resolved
        == expected
    )


@pytest.mark.parametrize("name", ["shapes", "mobilenet", "check"])
def test_an_outsider_who_counts_epochs_only_still_trains_under_every_profile(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        METHODS, "theirs", {"localize": {"epochs": 5}, "segment": {"epochs": 7}}
    )
    found = resolve(parse_recipe("theirs"), Fakes(), load_profile(name)).params  # type: ignore[arg-type]
    assert found["localize"].resolved["epochs"] > 0
    assert found["segment"].resolved["epochs"] > 0


def test_parameters_in_the_cards_own_recipe_are_defaults_and_the_users_win(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Cards(Fakes):
        def load(self, name: str) -> LoadedMethod:
            loaded = super().load(name)
            card = replace(
                loaded.card,
                recipe="_/threshold[threshold=0.4]/dsrg[rounds=1]"
                if name == "cam"
                else "_/_/_",
            )
            return replace(loaded, card=card)

    def params(text: str, *options: str) -> Resolved:
        profile = Profile("test", {"refine": {"threshold": {"threshold": 0.2}}})
        return resolve(parse_recipe(text), Cards(), profile, parse_options(options))  # type: ignore[arg-type]

    plain = params("cam")
    assert plain.params["refine"].resolved == {"threshold": 0.4}
    assert plain.rounds == 1
    assert all(not stage.passed for stage in plain.params.values())
    assert params("cam[refine.threshold=0.6]").params["refine"] == StageParams(
        {"threshold": 0.6}, {"threshold": 0.6}
    )
    assert params("cam", "refine.threshold=0.7").params["refine"] == StageParams(
        {"threshold": 0.7}, {"threshold": 0.7}
    )
    assert params("cam[rounds=3]").rounds == 3
    assert params("cam/threshold/dsrg").params["refine"].resolved == {"threshold": 0.2}


def test_a_methods_own_entry_in_a_profile_must_exist() -> None:
    with pytest.raises(
        RecipeError,
        match=r"profile test: cam: localize\.epoch: there is no such parameter\. Did you mean 'epochs'",
    ):
        resolved("cam", {"localize": {"cam": {"epoch": 1}}})


def test_entries_for_methods_that_are_not_picked_do_nothing() -> None:
    assert (
        resolved("cam", {"localize": {"dsrg": {"nonsense": 1}}})
        .params["localize"]
        .resolved
        == CLASSIFIER
    )


def test_rounds_is_everybodys_parameter_with_the_cards_default() -> None:
    assert resolved("cam").rounds == 1
    assert resolved("dsrg").rounds == 2
    assert resolved("cam[rounds=3]").rounds == 3
    with pytest.raises(RecipeError, match="rounds must be at least 1, not 0"):
        resolved("cam[rounds=0]")


def test_retrain_uses_the_segment_owners_refine() -> None:
    other = resolved(
        "cam/threshold/dsrg",
        {"refine": {"dsrg": {"theta": 0.5}}},
        ("refine.theta=0.7",),
    )
    assert other.retrain[0].name == "dsrg"
    assert other.retrain[1].resolved == {"theta": 0.7}
    assert resolved("cam/threshold/deeplab").retrain[0].name == "threshold"


def test_a_free_parameter_goes_to_the_methods_own_stage_first() -> None:
    found = resolved("cam[lr=1.5]")
    assert (
        found.params["localize"].resolved["lr"],
        found.params["segment"].resolved["lr"],
    ) == (1.5, 0.01)


def test_a_free_parameter_no_own_stage_has_goes_to_the_one_that_has_it() -> None:
    assert resolved("cam[crop=99]").params["segment"].resolved["crop"] == 99


def test_an_ambiguous_free_parameter_is_refused() -> None:
    METHODS["both"] = {"localize": {"lr": 1.0}, "segment": {"lr": 2.0}}
    with pytest.raises(
        RecipeError,
        match=r"several stages have a parameter 'lr'\. Write localize\.lr or segment\.lr",
    ):
        resolved("both[lr=3]")
    assert resolved("both[segment.lr=3]").params["segment"].resolved["lr"] == 3.0
    del METHODS["both"]


def test_unknown_parameters_suggest_the_nearest() -> None:
    with pytest.raises(
        RecipeError, match=r"no stage has a parameter 'epoch'\. Did you mean 'epochs'"
    ):
        resolved("cam[epoch=1]")
    with pytest.raises(
        RecipeError,
        match=r"parameter localize\.epoch: there is no such parameter\. Did you mean 'epochs'",
    ):
        resolved("cam[epoch=1]/_/_")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lr", "'fast'", "'fast' is a text, a number like 0.1 is expected"),
        ("epochs", "2.5", "2.5 is a number, an integer like 5 is expected"),
        ("epochs", "True", "True is True or False, an integer"),
        ("scales", "1.0", r"1.0 is a number, a list like \(1.0, 0.5\)"),
        ("scales", "['a']", "'a' is a text, a number"),
        ("lr", "None", "None is NoneType, a number"),
        ("weights", "3", "3 is an integer, a text"),
    ],
)
def test_wrong_types_are_refused(key: str, value: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        resolved(f"cam[{key}={value}]")


def test_an_integer_may_stand_for_a_number_and_a_list_for_a_tuple() -> None:
    found = resolved("cam[lr=1,scales=[1,2],weights=None]").params["localize"].resolved
    assert (found["lr"], found["scales"], found["weights"]) == (1.0, (1.0, 2.0), None)
    assert isinstance(found["lr"], float)


def test_nested_keys_and_merging_dicts() -> None:
    found = resolved(
        "cam", {"segment": {"*": {"model": {"depth": 5}}}}, ("segment.model.name=e",)
    )
    assert found.params["segment"].resolved["model"] == {"depth": 5, "name": "e"}
    assert METHODS["deeplab"]["segment"]["model"] == {"depth": 3, "name": "d"}
    with pytest.raises(RecipeError, match=r"segment\.crop\.x"):
        put({"crop": 3}, "crop.x", 1, "segment.crop.x")


def test_options_apply_to_recipes_that_have_them_and_must_apply_somewhere() -> None:
    options = parse_options(["segment.grow=False", "localize.epochs=2"])
    both = [
        resolved("cam", options=("segment.grow=False", "localize.epochs=2")),
        resolved("dsrg", options=("segment.grow=False",)),
    ]
    assert both[0].params["localize"].resolved["epochs"] == 2
    assert both[1].params["segment"].resolved["grow"] is False
    check_options(options, both)
    with pytest.raises(RecipeError, match=r"no picked method has segment\.grow"):
        check_options(options, both[:1])


@pytest.mark.parametrize(
    "text", ["epochs=2", "locallize.epochs=2", "segment", "segment.=1"]
)
def test_malformed_options_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="--cfg-options"):
        parse_options([text])


def test_weights_go_wherever_a_stage_has_them() -> None:
    found = resolved("cam", weights="w.pth")
    assert [
        found.params[s].resolved.get("weights")
        for s in ("localize", "refine", "segment")
    ] == ["w.pth", None, "w.pth"]
    assert (
        resolved("cam[weights=own]", weights="w.pth")
        .params["localize"]
        .resolved["weights"]
        == "own"
    )


def test_defaults_from_a_config_file_with_inheritance(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(
        "localize = dict(lr=0.1, epochs=5, scales=(1.0, 2.0))\n"
    )
    (tmp_path / "mine.py").write_text("_base_ = 'base.py'\nlocalize = dict(epochs=9)\n")
    card = MethodCard(
        name="mine", version="1", stages=("localize",), defaults=tmp_path / "mine.py"
    )
    method = LoadedMethod("mine", object(), card, "d", "1", "0")
    found = defaults(method, "localize")
    assert found == {"lr": 0.1, "epochs": 9, "scales": (1.0, 2.0)}
    found["lr"] = 7
    assert defaults(method, "localize")["lr"] == 0.1


def test_defaults_for_an_unknown_stage_are_refused() -> None:
    card = MethodCard(
        name="mine", version="1", stages=("localize",), defaults={"localise": {}}
    )
    with pytest.raises(
        RecipeError,
        match=r"the card's defaults name 'localise'.* Did you mean 'localize'",
    ):
        defaults(LoadedMethod("mine", object(), card, "d", "1", "0"), "localize")


def test_profile_from_a_path(tmp_path: Path) -> None:
    path = tmp_path / "small.py"
    path.write_text("localize = {'*': dict(epochs=1), 'cam': dict(lr=0.5)}\n")
    profile = load_profile(str(path))
    assert profile.name == "small"
    assert profile.overrides == {"localize": {"*": {"epochs": 1}, "cam": {"lr": 0.5}}}


def test_paper_is_built_in_and_unknown_profiles_are_refused() -> None:
    assert load_profile("paper").overrides == {}
    with pytest.raises(RecipeError, match=r"no profile 'papr'\. Did you mean 'paper'"):
        load_profile("papr")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("locallize = {}", "'locallize' is no stage"),
        ("localize = dict(epochs=1)", "must map method names"),
        ("x = = 1", "cannot be read"),
    ],
)
def test_malformed_profiles_name_the_file(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(RecipeError, match=rf"bad\.py.*{message}"):
        load_profile(str(path))


def test_a_missing_config_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nothing\.py cannot be read"):
        read_config(tmp_path / "nothing.py")
