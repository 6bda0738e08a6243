from __future__ import annotations

import math
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from engine_fakes import paper_params

from wsss_bench.contract.names import STAGES, TEST_NAMES
from wsss_bench.io.configs import read_config
from wsss_bench.io.paths import configs_dir
from wsss_bench.methods import profiles
from wsss_bench.methods.catalog import GROUP, Catalog
from wsss_bench.methods.params import resolve
from wsss_bench.methods.profiles import load_profile
from wsss_bench.methods.recipe import parse_recipe

CATALOG = Catalog()
PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
BUNDLED = sorted(
    p.name
    for p in metadata.entry_points(group=GROUP)
    if p.value.startswith("wsss_plugins.")
)
PROFILES = ("paper", "shapes", "mobilenet")

PUBLISHED: dict[tuple[str, str], dict[str, Any]] = {
    ("cam", "localize"): {
        "backbone": "resnet50",
        "batch": 16,
        "epochs": 5,
        "lr": 0.1,
        "new_mult": 10.0,
        "momentum": 1e-4,
        "weight_decay": 1e-4,
        "schedule": "poly",
        "power": 0.9,
        "resize": (320, 640),
        "crop": 512,
        "jitter": 0.0,
        "scales": (1.0, 0.5, 1.5, 2.0),
        "flip": True,
        "threshold": 0.15,
    },
    ("vwe", "localize"): {
        "backbone": "resnet50",
        "words": 256,
        "gamma": 2.0,
        "levels": (1, 2, 4),
        "batch": 16,
        "epochs": 6,
        "lr": 0.01,
        "new_mult": 10.0,
        "momentum": 1e-4,
        "weight_decay": 1e-4,
        "power": 0.9,
        "scales": (1.0, 0.5, 1.5, 2.0),
        "flip_merge": "max",
        "threshold": 0.14,
        "pooling": "hspp",
        "encoder": True,
    },
    ("dsrg", "localize"): {
        "backbone": "vgg16",
        "lr": 1e-3,
        "new_mult": 10.0,
        "step_every": 2000,
        "step_factor": 0.1,
        "iterations": 8000,
        "batch": 15,
        "weight_decay": 5e-4,
        "head_channels": 1024,
        "crop": 321,
        "warp": 321,
    },
    ("dsrg", "refine"): {
        "foreground": 0.2,
        "background_max": 0.06,
        "background_fraction": 0.1,
        "grid": 41,
        "relabel_scales": (0.75, 1.0, 1.25),
        "relabel_warp": 321,
        "relabel_flip": False,
        "relabel_merge": "logits",
        "relabel_crf": "dsrg",
        "relabel_amp": "",
    },
    ("dsrg", "segment"): {
        "network": "deeplab_aspp",
        "backbone": "vgg16",
        "lr": 5e-4,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "batch": 20,
        "iterations": 8000,
        "new_mult": 10.0,
        "bias_mult": 2.0,
        "bias_decay": False,
        "schedule": "step",
        "step_every": 2000,
        "step_factor": 0.1,
        "theta_f": 0.85,
        "theta_b": 0.99,
        "crf_factor": 12.0,
        "boundary_clip": (0.05, 20.0),
        "crop": 321,
        "augment": "warp",
        "label_stride": 8,
        "rounds": 2,
        "test_scales": (0.75, 1.0, 1.25),
        "test_merge": "logits",
        "crf": "dsrg",
        "retrain_iterations": 20000,
        "retrain_batch": 10,
        "retrain_lr": 1e-3,
        "retrain_crop": 321,
    },
    ("ficklenet", "localize"): {
        "backbone": "vgg16",
        "rate": 0.9,
        "kernel": 9,
        "draws": 200,
        "threshold": 0.35,
        "dropout": "centre",
        "crop": 321,
        "batch": 10,
    },
    ("ficklenet", "refine"): {"threshold": 0.35},
    ("deeplab", "segment"): {
        "network": "deeplabv2",
        "backbone": "resnet101",
        "batch": 10,
        "iterations": 20000,
        "lr": 2.5e-4,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "power": 0.9,
        "resize": (0.5, 1.5),
        "crop": 321,
        "crf": "deeplab",
        "loss": "balanced",
    },
    ("densecrf", "refine"): {"preset": "irn", "gt_prob": 0.7, "threshold": 0.15},
    ("threshold", "refine"): {"threshold": 0.15},
}
"""What papers and released code say (method cards), by method and stage."""


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, tuple):
        return tuple(found) == expected
    return bool(
        found == expected and isinstance(found, bool) == isinstance(expected, bool)
    )


@pytest.mark.parametrize(("method", "stage"), PUBLISHED)
def test_defaults_are_the_published_ones(method: str, stage: str) -> None:
    found = paper_params(method, stage)
    wrong = {
        key: (found.get(key), value)
        for key, value in PUBLISHED[method, stage].items()
        if not same(found.get(key), value)
    }
    assert wrong == {}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("method", BUNDLED)
def test_every_bundled_method_resolves_under_every_profile(
    method: str, profile: str
) -> None:
    resolved = resolve(parse_recipe(method), CATALOG, load_profile(profile))
    assert set(resolved.params) >= {"refine", "segment"}
    assert resolved.rounds >= 1
    for stage, params in resolved.params.items():
        assert set(params.passed) <= {
            "rounds"
        }  # what a card's own recipe sets counts as passed
        for key, value in params.resolved.items():
            assert "_delete_" not in (value if isinstance(value, dict) else {}), (
                f"{stage}.{key}"
            )


@pytest.mark.parametrize("method", BUNDLED)
def test_every_card_is_complete(method: str) -> None:
    card = CATALOG.load(method).card
    assert card.problems() == []
    assert card.version
    assert card.paper != "-" or method in ("threshold", "supervised")
    source = (
        read_config(card.defaults) if isinstance(card.defaults, Path) else card.defaults
    )
    assert set(source) >= set(card.stages) & {"localize", "segment"}
    assert set(card.stages) <= set(STAGES)


def test_a_methods_config_lies_in_its_folder_and_nowhere_else() -> None:
    for name in BUNDLED:
        defaults = CATALOG.load(name).card.defaults
        if name == "supervised":
            assert defaults == {"refine": {}}
        else:
            assert defaults == PLUGINS / name / "config.py"
    shared = {path.stem for path in (configs_dir() / "methods").glob("*.py")}
    # Bases of several methods, and the one path that version 0.1's tutorial named.
    assert shared == {"affinity", "classifier", "segmentor", "seeds_sec", "cam"}
    assert set(BUNDLED) >= {
        "cam",
        "threshold",
        "densecrf",
        "deeplab",
        "dsrg",
        "vwe",
        "ficklenet",
        "supervised",
    }


def test_the_path_of_cams_config_in_version_0_1_gives_cams_parameters() -> None:
    """Without test settings: whoever names it may look at all of them in a training."""
    found = read_config(configs_dir() / "methods" / "cam.py")
    own = read_config(PLUGINS / "cam" / "config.py")
    assert found["localize"] == own["localize"]
    assert not found.get("test_settings")
    assert own["test_settings"]


UNDER_PROFILES: dict[tuple[str, str, str], dict[str, Any]] = {
    ("shapes", "cam", "localize"): {"backbone": "tiny", "iterations": 300},
    ("shapes", "vwe", "localize"): {"words": 64, "iterations": 300},
    ("check", "vwe", "localize"): {"words": 16, "iterations": 8, "epochs": 1},
    ("shapes", "dsrg", "localize"): {"warp": 0, "saliency_stage": 1, "epochs": 0},
    ("check", "dsrg", "localize"): {"warp": 0, "iterations": 8, "epochs": 0},
    ("mobilenet", "dsrg", "localize"): {"warp": 320, "saliency_stage": 2},
    ("shapes", "dsrg", "refine"): {"grid": 24, "relabel_warp": 0},
    ("check", "dsrg", "refine"): {"grid": 16, "relabel_scales": [1.0]},
    ("mobilenet", "dsrg", "refine"): {"relabel_flip": True, "relabel_warp": 224},
    ("shapes", "dsrg", "segment"): {"crf_factor": 4.0, "resize": [1.0, 1.0]},
    ("check", "dsrg", "segment"): {"retrain_iterations": 6, "resize": [1.0, 1.0]},
    ("mobilenet", "dsrg", "segment"): {"iterations": 300, "cutmix": 0.0},
    ("shapes", "ficklenet", "localize"): {"kernel": 5, "draws": 50, "warp": 0},
    ("check", "ficklenet", "localize"): {"kernel": 5, "draws": 4, "iterations": 8},
    ("mobilenet", "ficklenet", "localize"): {"warp": 256, "draws": 100},
    ("shapes", "cam/irn/_", "refine"): {"steps": 16, "iterations": 200, "radius": 5},
    ("check", "cam/irn/_", "refine"): {"steps": 8, "iterations": 8, "epochs": 0},
    ("mobilenet", "cam/irn/_", "refine"): {"displacement": False, "steps": 256},
    ("shapes", "cam/affinitynet/_", "refine"): {"steps": 64, "group_norm": True},
    ("mobilenet", "cam/affinitynet/_", "refine"): {"steps": 64, "border": "full"},
}
"""What methods' own configs say of profiles, and what has the last word where a profile inherits from another."""


@pytest.mark.parametrize(("profile", "recipe", "stage"), UNDER_PROFILES)
def test_a_method_brings_its_settings_for_a_profile(
    profile: str, recipe: str, stage: str
) -> None:
    resolved = resolve(parse_recipe(recipe), CATALOG, load_profile(profile))
    found = resolved.params[stage].resolved
    expected = UNDER_PROFILES[profile, recipe, stage]
    assert {
        key: list(found[key]) if isinstance(found[key], tuple) else found[key]
        for key in expected
    } == expected


TESTED: dict[tuple[str, str], set[str]] = {
    ("cam", "localize"): {"scales", "flip", "maps", "test_amp"},
    ("vwe", "localize"): {"scales", "flip", "flip_merge", "fuse", "test_amp"},
    ("dsrg", "localize"): {"scales", "warp", "saliency_dir", "saliency_stage"},
    ("ficklenet", "localize"): {"draws", "warp", "saliency_dir", "saliency_stage"},
    ("irn", "refine"): {"scales", "flip", "walk_radius", "beta", "steps", "background"},
    ("affinitynet", "refine"): {"alpha_walk", "beta", "steps", "crf_after"},
    ("deeplab", "segment"): set(TEST_NAMES),
    ("dsrg", "segment"): set(TEST_NAMES),
}


@pytest.mark.parametrize(("method", "stage"), TESTED)
def test_what_no_training_depends_on_is_declared(method: str, stage: str) -> None:
    loaded = CATALOG.load(method)
    names = set(profiles.test_settings(loaded, stage))
    assert names >= TESTED[method, stage]
    # What decides how a training goes must not be among them.
    assert not names & (TRAINED | {"iterations", "epochs", "radius", "dropout", "rate"})


TRAINED = {
    "lr",
    "weight_decay",
    "batch",
    "schedule",
    "optimizer",
    "crop",
    "resize",
    "augment",
    "normalize",
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("method", ["cam", "dsrg", "vwe", "ficklenet", "deeplab"])
def test_trainings_have_all_they_need(method: str, profile: str) -> None:
    from wsss_bench.engine.backbones.names import BACKBONES
    from wsss_bench.engine.backbones.staged import NORMALIZATION
    from wsss_bench.toolbox.crf_presets import PRESETS

    resolved = resolve(parse_recipe(method), CATALOG, load_profile(profile))
    for stage in ("localize", "segment"):
        p = resolved.params[stage].resolved
        assert set(p) >= TRAINED
        assert p["iterations"] or p["epochs"]
        assert p["normalize"] in NORMALIZATION
        assert not p["backbone"] or p["backbone"] in BACKBONES
        assert p["resize"][0] <= p["resize"][1]
        assert p["schedule"] != "step" or (
            p["step_every"] > 0 and 0 < p["step_factor"] < 1
        )
    segment = resolved.params["segment"].resolved
    assert segment["crf"] in PRESETS
    assert segment["test_merge"] in ("probs", "logits")
    assert (configs_dir() / "models" / f"{segment['network']}.py").is_file()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("method", ["dsrg", "ficklenet"])
def test_the_cue_grid_is_not_finer_than_what_the_loss_sees_needs(
    method: str, profile: str
) -> None:
    resolved = resolve(parse_recipe(method), CATALOG, load_profile(profile))
    segment, grid = (
        resolved.params["segment"].resolved,
        resolved.params["refine"].resolved["grid"],
    )
    side = math.ceil(segment["crop"] / segment["label_stride"])
    assert side <= grid
    if profile == "paper":
        assert side == grid == 41


def test_ficklenet_trains_dsrgs_segmentor_once() -> None:
    for profile in PROFILES:
        resolved = resolve(parse_recipe("ficklenet"), CATALOG, load_profile(profile))
        assert resolved.methods["segment"].name == "dsrg"
        assert resolved.rounds == 1


def test_the_cpu_profiles_fetch_nothing_that_is_not_given() -> None:
    for method in ("cam", "dsrg", "vwe", "ficklenet", "deeplab", "supervised"):
        resolved = resolve(parse_recipe(method), CATALOG, load_profile("shapes"))
        assert [p.resolved.get("weights") for p in resolved.params.values()].count(
            "imagenet"
        ) == 0
