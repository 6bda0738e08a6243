"""What makes a method what it is: a card pins it, no profile replaces it, and what is replaced is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wsss_bench.contract.card import MethodCard
from wsss_bench.errors import PluginError, RecipeError
from wsss_bench.methods.catalog import Catalog, LoadedMethod
from wsss_bench.methods.params import parse_options, resolve
from wsss_bench.methods.profiles import Profile, defaults, load_profile
from wsss_bench.methods.recipe import parse_recipe

PLUGIN = """
from wsss_bench import MethodCard, hookimpl


@hookimpl
def method_card():
    return MethodCard(
        name="pin_mine",
        version="1",
        stages=("segment",),
        defaults=dict(
            inherit=["methods/segmentor.py"],
            segment=dict(network="deeplabv2", lr=0.5, batch=7),
            profiles=dict(shapes=dict(segment=dict(batch=9))),
        ),
        pins={pins},
    )


@hookimpl
def segment(view, labels, ctx):
    pass
"""


def resolved(folder: Path, pins: Any = None, options: tuple[str, ...] = ()) -> Any:
    path = folder / "pin_mine.py"
    path.write_text(PLUGIN.replace("{pins}", repr(pins or {})))
    catalog = Catalog(local=[path])
    recipe = parse_recipe("cam/threshold/pin_mine")
    profile = load_profile("shapes")
    return resolve(recipe, catalog, profile, parse_options(options))


def test_what_a_profile_replaces_of_a_method_s_own_values_is_told(
    tmp_path: Path,
) -> None:
    params = resolved(tmp_path).params["segment"]
    assert params.resolved["network"] == "tiny"
    # Its own entry for the profile is the method's wish; what it inherits it does not state.
    assert params.overridden == {"network": ("deeplabv2", "tiny"), "lr": (0.5, 0.05)}
    assert params.resolved["batch"] == 9


def test_what_is_pinned_stays(tmp_path: Path) -> None:
    params = resolved(tmp_path, {"segment": ("network",)}).params["segment"]
    assert params.resolved["network"] == "deeplabv2"
    assert params.overridden == {"lr": (0.5, 0.05)}


def test_a_user_replaces_what_is_pinned(tmp_path: Path) -> None:
    pins = {"segment": ("network",)}
    found = resolved(tmp_path, pins, ("segment.network=deeplab_aspp",))
    params = found.params["segment"]
    assert params.resolved["network"] == "deeplab_aspp"
    assert params.passed == {"network": "deeplab_aspp"}


def test_a_profile_that_names_the_method_wins_over_its_pins() -> None:
    card = MethodCard(
        name="m",
        version="1",
        stages=("refine",),
        defaults={"refine": {"net": "a", "lr": 1.0}},
        pins={"refine": ("net",)},
    )
    method = LoadedMethod("m", object(), card, "d", "1", "0")
    from wsss_bench.methods.profiles import replaced, with_profiles

    profile = Profile(
        "p", {"refine": {"*": {"net": "b", "lr": 2.0}, "m": {"net": "c"}}}
    )
    params = with_profiles(method, "refine", [profile])
    assert params == {"net": "c", "lr": 2.0}
    assert replaced(method, "refine", profile, params) == {"lr": (1.0, 2.0)}


@pytest.mark.parametrize(
    ("pins", "message"),
    [
        ({"refine": ("network",)}, "pins names stage 'refine'"),
        (
            {"segment": ("nettwork",)},
            r"'nettwork', which is not a parameter.*'network'",
        ),
        ({"segment": "network"}, "must list names"),
    ],
)
def test_pins_that_pin_nothing_are_refused(
    tmp_path: Path, pins: Any, message: str
) -> None:
    with pytest.raises((PluginError, RecipeError), match=message):
        resolved(tmp_path, pins)


@pytest.mark.parametrize("name", Catalog(restrict=["wsss-bench"]).names())
def test_pins_of_bundled_methods_hold(name: str) -> None:
    method = Catalog().load(name)
    for stage, names in method.card.pins.items():
        assert set(names) <= set(defaults(method, stage))
