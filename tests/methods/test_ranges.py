"""Numbers out of range are refused before anything is computed."""

from __future__ import annotations

from typing import Any

import pytest

from wsss_bench.contract.card import MethodCard
from wsss_bench.errors import RecipeError
from wsss_bench.methods.catalog import Catalog, LoadedMethod
from wsss_bench.methods.params import parse_options, resolve
from wsss_bench.methods.profiles import Profile, check_params, defaults, load_profile
from wsss_bench.methods.ranges import STANDARD, Interval, check_ranges
from wsss_bench.methods.recipe import parse_recipe


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("[0, 1]", (0, 1, 0.5), (-1e-9, 1.001)),
        ("(0, 1)", (0.5,), (0, 1)),
        ("[0, 1)", (0,), (1,)),
        ("(0, inf)", (1e9,), (0,)),
        (" ( -1 , 2 ] ", (2, 0), (-1,)),
    ],
)
def test_intervals(text: str, inside: Any, outside: Any) -> None:
    interval = Interval.parse(text)
    assert all(value in interval for value in inside)
    assert not any(value in interval for value in outside)


@pytest.mark.parametrize("text", ["", "0..1", "[0, 1", "[1, 0]", "[a, b]"])
def test_what_is_no_interval(text: str) -> None:
    with pytest.raises(ValueError, match=r"interval|empty|convert"):
        Interval.parse(text)


def check(own: dict[str, Any], **params: Any) -> None:
    check_ranges("m", "refine", {**own, **params}, own, {"gain": "[0, 2]"})


def test_standard_names_hold_where_the_default_fits() -> None:
    with pytest.raises(RecipeError, match=r"m.*refine\.threshold = 15.*\[0, 1\]"):
        check({"threshold": 0.3}, threshold=15)
    # A threshold on grey values is another thing by the same name.
    check({"threshold": 128}, threshold=15)
    # A default is the method's own affair.
    check({"lr": 0.0})


@pytest.mark.parametrize(
    ("own", "params", "message"),
    [
        ({"gain": 1.0}, {"gain": 3.0}, r"\[0, 2\]"),
        ({"lr": 0.1}, {"lr": float("nan")}, "no finite number"),
        ({"mine": 0.1}, {"mine": float("inf")}, "no finite number"),
        ({"mine": {"deep": [1.0]}}, {"mine": {"deep": [float("nan")]}}, "no finite"),
        ({"scales": (1.0,)}, {"scales": (1.0, 0.0)}, "out of range"),
        ({"scales": (1.0,)}, {"scales": ()}, "at least one number"),
    ],
)
def test_refused(own: Any, params: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check(own, **params)


def test_flags_and_texts_are_no_numbers() -> None:
    check({"momentum": False, "lr": "auto"}, momentum=True, lr="none")


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"refine": {"gian": "[0, 1]"}}, "'gian'.*'gain'"),
        ({"refine": {"gain": "0..1"}}, "no interval"),
        ({"refine": {"gain": "[2, 3]"}}, "whose default is wrong"),
        ({"refien": {}}, "'refine'"),
    ],
)
def test_declared_ranges_are_checked(ranges: Any, message: str) -> None:
    card = MethodCard(
        name="m",
        version="1",
        stages=("refine",),
        defaults={"refine": {"gain": 1.0}, "ranges": ranges},
    )
    with pytest.raises(RecipeError, match=message):
        defaults(LoadedMethod("m", object(), card, "d", "1", "0"), "refine")


def test_the_user_hears_of_it() -> None:
    recipe = parse_recipe("dsrg")
    options = parse_options(["segment.theta_f=1.5"])
    with pytest.raises(RecipeError, match=r"'dsrg': segment\.theta_f = 1\.5"):
        resolve(recipe, Catalog(), load_profile("shapes"), options)


@pytest.mark.parametrize("name", Catalog(restrict=["wsss-bench"]).names())
def test_bundled_defaults_lie_in_their_ranges(name: str) -> None:
    method = Catalog().load(name)
    for stage in method.card.stages:
        params = defaults(method, stage)
        check_params(method, stage, params)
        # Else a standard range would be silent for a method of our own.
        for key in set(params) & set(STANDARD):
            wrong = {**params, key: -1e6}
            with pytest.raises(RecipeError):
                check_params(method, stage, wrong)


def test_a_profile_is_held_to_it_too() -> None:
    profile = Profile("p", {"localize": {"*": {"lr": -1.0}}})
    with pytest.raises(RecipeError, match=r"localize\.lr = -1"):
        resolve(parse_recipe("cam"), Catalog(), profile)
