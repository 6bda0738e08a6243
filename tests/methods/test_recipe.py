from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_bench.errors import RecipeError
from wsss_bench.methods.recipe import (
    Recipe,
    Slot,
    expand,
    format_value,
    parse_methods,
    parse_recipe,
    parse_value,
    split_outside,
)

STAGES = {
    "cam": ("localize",),
    "threshold": ("refine",),
    "deeplab": ("segment",),
    "vwe": ("localize",),
    "irn": ("refine",),
    "dsrg": ("localize", "refine", "segment"),
    "ficklenet": ("localize",),
    "supervised": ("refine",),
}
CARDS = {"ficklenet": "_/_/dsrg[lr=0.5]", "supervised": "-/_/_"}


def names(text: str) -> list[str | None]:
    picks = expand(
        parse_recipe(text),
        lambda name: STAGES[name],
        lambda name: CARDS.get(name, "_/_/_"),
    )
    return [picks.names.get(stage) for stage in ("localize", "refine", "segment")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dsrg", ["dsrg", "dsrg", "dsrg"]),
        ("vwe", ["vwe", "threshold", "deeplab"]),
        ("ficklenet", ["ficklenet", "threshold", "dsrg"]),
        ("supervised", [None, "supervised", "deeplab"]),
        ("-/supervised/deeplab", [None, "supervised", "deeplab"]),
        ("vwe/irn/dsrg", ["vwe", "irn", "dsrg"]),
        ("vwe/_/_", ["vwe", "threshold", "deeplab"]),
        ("dsrg/_/_", ["dsrg", "dsrg", "dsrg"]),
        ("_/irn/_", ["cam", "irn", "deeplab"]),
        ("_/_/dsrg", ["dsrg", "dsrg", "dsrg"]),
        ("vwe/_/dsrg", ["vwe", "threshold", "dsrg"]),
    ],
)
def test_picks(text: str, expected: list[str | None]) -> None:
    assert names(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/b", "has 2 slots"),
        ("a/b/c/d", "has 4 slots"),
        ("_/_/_", "names no method"),
        ("", "is no method name"),
        ("a/-/c", "a segment stage needs the labels of a refine stage"),
        ("-/-/c", "a segment stage needs the labels of a refine stage"),
        ("-/-/-", "names no method"),
        ("a[x]", "Parameters are written key=value"),
        ("a[x=1", "'\\[' is not closed"),
        ("a]", "closes nothing"),
        ("a[x=1]b", "cannot read"),
        ("a[x=1,x=2]", "given twice"),
        ("a[1x=1]", "Parameters are written key=value"),
        ("a b", "cannot read ' b'"),
        ("-[x=1]/a/b", "takes no parameters"),
    ],
)
def test_malformed_recipes_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe(text)


def test_a_method_without_the_stage_is_refused() -> None:
    with pytest.raises(
        RecipeError, match=r"'vwe' has no refine stage \(it has localize\)"
    ):
        names("cam/vwe/deeplab")


def test_methods_are_split_outside_brackets() -> None:
    found = parse_methods(
        "cam[scales=[0.5,1.0],note='a,b'],dsrg , vwe/_/deeplab[crop=(3,4)]"
    )
    assert [str(recipe) for recipe in found] == [
        "cam[scales=[0.5, 1.0],note='a,b']",
        "dsrg",
        "vwe/_/deeplab[crop=(3, 4)]",
    ]
    assert found[0].slots[0].params == (("scales", [0.5, 1.0]), ("note", "a,b"))


def test_a_slash_inside_brackets_is_part_of_the_value() -> None:
    (recipe,) = parse_methods("cam[weights=/data/w/r50.pth]/irn/_")
    assert recipe.slots[0].params == (("weights", "/data/w/r50.pth"),)
    assert len(recipe.slots) == 3


def test_a_recipe_listed_twice_is_refused() -> None:
    with pytest.raises(RecipeError, match="listed twice"):
        parse_methods("cam,dsrg,cam")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("0.5", 0.5),
        ("True", True),
        ("None", None),
        ("bf16", "bf16"),
        ("[1, 2]", [1, 2]),
        ("'1'", "1"),
        ("a-b", "a-b"),
    ],
)
def test_values_are_literals_or_text(text: str, value: object) -> None:
    assert parse_value(text) == value


def test_bracket_params_are_bound_to_their_slot() -> None:
    picks = expand(
        parse_recipe("vwe[lr=1]/_/deeplab[segment.lr=2]"),
        lambda n: STAGES[n],
        lambda n: "_/_/_",
    )
    assert picks.params == {"localize": {"lr": 1}, "refine": {}, "segment": {"lr": 2}}


def test_a_stage_prefix_in_the_wrong_slot_is_refused() -> None:
    with pytest.raises(
        RecipeError, match=r"'segment\.lr' stands in the brackets of the localize slot"
    ):
        expand(
            parse_recipe("vwe[segment.lr=1]/_/deeplab"),
            lambda n: STAGES[n],
            lambda n: "_/_/_",
        )


def test_a_bare_name_takes_staged_and_free_params_and_the_cards_own() -> None:
    picks = expand(
        parse_recipe("ficklenet[segment.crop=3,rate=0.9]"),
        lambda n: STAGES[n],
        lambda n: CARDS[n],
    )
    assert picks.params["segment"] == {"crop": 3}
    assert picks.defaults == {"segment": {"lr": 0.5}}
    assert picks.free == {"rate": 0.9}
    over = expand(
        parse_recipe("ficklenet[segment.lr=3]"), lambda n: STAGES[n], lambda n: CARDS[n]
    )
    assert over.params["segment"] == {"lr": 3}
    assert over.defaults == {"segment": {"lr": 0.5}}


def test_parameters_of_a_stage_that_is_left_out_are_refused() -> None:
    with pytest.raises(
        RecipeError, match="parameters for localize, which this recipe leaves out"
    ):
        expand(
            parse_recipe("supervised[localize.lr=1]"),
            lambda n: STAGES[n],
            lambda n: CARDS[n],
        )


def test_slug_is_safe_and_tells_parameters_apart() -> None:
    slugs = {
        parse_recipe(text).slug
        for text in ("a/b/c", "a/b/c[x=1]", "a/b/c[x=2]", "-/b/c", "_/b/c")
    }
    assert len(slugs) == 5
    assert all(slug[0].isalnum() for slug in slugs)
    assert "a+b+c" in slugs
    assert all("/" not in slug and "[" not in slug for slug in slugs)


def test_split_keeps_quotes_together() -> None:
    assert split_outside("a['],[',1],b", ",") == ["a['],[',1]", "b"]


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)
keys = st.from_regex(r"[a-z][a-z0-9_]{0,5}(\.[a-z]{1,4})?", fullmatch=True)
slots = st.builds(
    lambda name, params: Slot(name, tuple(params.items())),
    st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True),
    st.dictionaries(keys, values, max_size=3),
)
recipes = st.builds(Recipe, st.tuples(slots) | st.tuples(slots, slots, slots))


@given(value=values)
def test_values_round_trip(value: object) -> None:
    assert parse_value(format_value(value)) == value


@given(recipe=recipes)
def test_recipes_round_trip(recipe: Recipe) -> None:
    assert parse_recipe(str(recipe)) == recipe


@given(found=st.lists(recipes, min_size=1, max_size=3, unique_by=str))
def test_lists_of_recipes_round_trip(found: list[Recipe]) -> None:
    assert parse_methods(",".join(map(str, found))) == found


@given(text=st.text(alphabet="ab_-/[]=,.'\"\\(){}1 ", max_size=24))
def test_any_text_is_refused_as_a_recipe_or_round_trips(text: str) -> None:
    with suppress(RecipeError):
        assert [
            parse_recipe(str(recipe)) for recipe in parse_methods(text)
        ] == parse_methods(text)
