"""Networks of timm as backbones, with random weights: what they give, how weights are read, what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_fakes import SMALL_CLASSIFIER, make_context, make_view
from torch import Tensor, nn

from wsss_bench.cli import main
from wsss_bench.engine.backbones import timm as adapter
from wsss_bench.engine.backbones.names import (
    backbone_config,
    backbone_of,
    normalization,
    normalize_of,
)
from wsss_bench.engine.backbones.timm import TimmBackbone
from wsss_bench.engine.registry import build
from wsss_bench.engine.segmentor import segmentor_config
from wsss_bench.errors import ArtifactError, RecipeError
from wsss_bench.results.records import load_records
from wsss_bench.toolbox.classifier import (
    build_classifier,
    linear_cam,
    multi_scale,
    train_classifier,
)

timm = pytest.importorskip("timm", reason="timm is an optional extra")
torch.set_num_threads(1)

KNOWN = [
    ("resnet18", (64, 64, 128, 256, 512), (2, 4, 8, 16, 32), 0),
    ("mobilenetv3_small_050", (16, 8, 16, 24, 288), (2, 4, 8, 16, 32), 0),
    ("vit_tiny_patch16_224", (192,) * 4, (16,) * 4, 16),
]
NAMES = [name for name, *_ in KNOWN]


def outputs(net: nn.Module, height: int, width: int) -> tuple[Tensor, ...]:
    with torch.no_grad():
        found: tuple[Tensor, ...] = net.eval()(torch.zeros(1, 3, height, width))
    return found


def learning(net: nn.Module) -> set[str]:
    return {name for name, item in net.named_parameters() if item.requires_grad}


@pytest.mark.parametrize(("name", "channels", "strides", "patch"), KNOWN)
def test_channels_strides_and_patch_are_true(
    name: str, channels: tuple[int, ...], strides: tuple[int, ...], patch: int
) -> None:
    known = backbone_of(f"timm/{name}")
    assert (known.channels, known.strides) == (channels, strides)
    net = build(backbone_config(f"timm/{name}", None))
    assert (net.channels, net.strides, net.patch) == (channels, strides, patch)
    for output, count, stride in zip(
        outputs(net, 96, 64), channels, strides, strict=True
    ):
        assert output.shape == (1, count, 96 // stride, 64 // stride)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(97, 65), (75, 101), (224, 224), (40, 33)])
def test_images_may_have_any_size(name: str, size: tuple[int, int]) -> None:
    net = TimmBackbone(name)
    for output, stride in zip(outputs(net, *size), net.strides, strict=True):
        for cells, pixels in zip(output.shape[2:], size, strict=True):
            assert abs(cells - pixels / stride) < 1
        assert torch.isfinite(output).all()


def test_a_transformers_grid_covers_the_photograph() -> None:
    """An image of another size is brought to whole patches; nothing is cut off at its border."""
    net = TimmBackbone("vit_tiny_patch16_224").eval()
    image = torch.zeros(1, 3, 70, 90)
    seen: list[Tensor] = []
    net.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image[:, :, -1, -1] = 1
    with torch.no_grad():
        assert net(image)[-1].shape[2:] == (4, 6)
    assert seen[0].shape[2:] == (64, 96)
    assert seen[0][0, 0, -1, -1] > 0.5
    # Whole patches are handed on as they are.
    whole = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        net(whole)
    assert seen[1] is whole


@pytest.mark.parametrize(
    ("stride", "strides"), [(8, (2, 4, 8, 8, 8)), (16, (2, 4, 8, 16, 16))]
)
def test_the_output_stride_may_be_chosen(stride: int, strides: tuple[int, ...]) -> None:
    net = build(backbone_config("timm/resnet18", None, output_stride=stride))
    assert net.strides == strides
    assert [96 // output.shape[2] for output in outputs(net, 96, 96)] == list(strides)


@pytest.mark.parametrize("name", NAMES[1:])
def test_an_output_stride_that_is_not_offered_is_refused(name: str) -> None:
    with pytest.raises(
        RecipeError, match=rf"timm/{name}: output_stride=8 is not offered.*leave it out"
    ):
        TimmBackbone(name, output_stride=8)


def test_the_last_map_of_a_transformer_is_what_its_classifier_sees() -> None:
    net = TimmBackbone("vit_tiny_patch16_224").eval()
    whole = timm.create_model("vit_tiny_patch16_224", num_classes=0).eval()
    whole.load_state_dict(net.net.model.state_dict())
    image = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        tokens = whole.forward_features(image)[:, 1:]
        last = net(image)[-1]
    torch.testing.assert_close(last.flatten(2).mT, tokens, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_frozen_stages_do_not_learn(name: str) -> None:
    free = learning(TimmBackbone(name))
    assert len(free) == len(list(TimmBackbone(name).parameters()))
    left = [learning(TimmBackbone(name, frozen_stages=count)) for count in range(6)]
    for more, fewer in pairwise(left[:5]):
        assert fewer < more or not more
    assert left[5] == set()


def test_frozen_stages_are_the_first_ones() -> None:
    learn = learning(TimmBackbone("resnet18", frozen_stages=2))
    assert {name.split(".")[2] for name in learn} == {"layer2", "layer3", "layer4"}
    learn = learning(TimmBackbone("vit_tiny_patch16_224", frozen_stages=3))
    blocks = {name.split(".")[3] for name in learn if ".blocks." in name}
    assert blocks == {"11"}
    rest = {name for name in learn if ".blocks." not in name}
    assert {name.split(".")[2] for name in rest} == {"norm"}


def test_batch_norms_keep_their_statistics_where_asked() -> None:
    def moved(net: TimmBackbone) -> set[str]:
        before = {key: value.clone() for key, value in net.state_dict().items()}
        net.train()(torch.rand(2, 3, 32, 32))
        changed = set()
        for key, value in net.state_dict().items():
            if not torch.equal(value, before[key]):
                changed.add(key.split(".")[2])
        return changed

    every = {"bn1", "layer1", "layer2", "layer3", "layer4"}
    assert moved(TimmBackbone("resnet18")) == every
    assert moved(TimmBackbone("resnet18", bn_eval=True)) == set()
    frozen = TimmBackbone("resnet18", frozen_stages=2)
    assert moved(frozen) == {"layer2", "layer3", "layer4"}


def test_the_normalisation_is_timms_own() -> None:
    mean, std = normalization("timm/resnet18")
    assert mean == pytest.approx((123.675, 116.28, 103.53))
    assert std == pytest.approx((58.395, 57.12, 57.375))
    half = (127.5, 127.5, 127.5)
    assert normalization("timm/vit_tiny_patch16_224") == (half, half)
    params = {**SMALL_CLASSIFIER, "backbone": "timm/vit_tiny_patch16_224"}
    assert normalize_of(params) == "timm/vit_tiny_patch16_224"
    model = build_classifier(params, 2)
    black = model.normalize(torch.zeros(1, 3, 1, 1))
    assert black.flatten().tolist() == [-1, -1, -1]


def saved(name: str, path: Path, **options: Any) -> dict[str, Tensor]:
    torch.manual_seed(3)
    state = timm.create_model(name, **options).state_dict()
    if path.suffix == ".safetensors":
        files = pytest.importorskip("safetensors.torch")
        files.save_file(state, path)
    else:
        torch.save(state, path)
    return dict(state)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("name", NAMES)
def test_weights_come_from_a_file(name: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights.{suffix}"
    # A classifier of 7 classes, whose last layer is left out.
    state = saved(name, path, num_classes=7)
    net = build(backbone_config(f"timm/{name}", str(path)))
    loaded = net.net.model.state_dict()
    assert len(loaded) >= len(state) - 4
    for key, value in loaded.items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_a_released_checkpoint_may_be_wrapped(wrapper: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    state = saved("resnet18", path)
    torch.save({wrapper: state, "epoch": 90}, path)
    net = TimmBackbone("resnet18", str(path))
    assert torch.equal(net.net.model.conv1.weight, state["conv1.weight"])


def test_a_wrong_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    saved("mobilenetv3_small_050", path)
    with pytest.raises(ArtifactError) as caught:
        TimmBackbone("resnet18", str(path))
    message = str(caught.value)
    assert message.startswith(f"timm/resnet18: {path} lacks ")
    assert "timm's keys of the same network" in message
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ArtifactError, match=r"timm/resnet18: .*cannot be loaded"):
        TimmBackbone("resnet18", str(path))
    with pytest.raises(ArtifactError, match=r"timm/resnet18: .*is no file"):
        TimmBackbone("resnet18", str(tmp_path / "none.pth"))
    pytest.importorskip("safetensors")
    damaged = tmp_path / "weights.safetensors"
    for content in (None, b"not a checkpoint"):
        if content is not None:
            damaged.write_bytes(content)
        with pytest.raises(
            ArtifactError, match=r"timm/resnet18: .*weights\.safetensors"
        ):
            TimmBackbone("resnet18", str(damaged))


def test_an_unknown_network_is_refused_with_a_hint() -> None:
    with pytest.raises(RecipeError, match=r"timm knows no network 'resnet19'.*resnet1"):
        backbone_of("timm/resnet19")
    with pytest.raises(RecipeError, match="timm knows no network"):
        normalization("timm/nothing_of_the_kind")


@pytest.fixture
def without_timm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    # None in its place makes an import fail.
    monkeypatch.setitem(sys.modules, "timm", None)
    caches = [item for item in vars(adapter).values() if hasattr(item, "cache_clear")]
    for item in caches:
        item.cache_clear()
    yield
    for item in caches:
        item.cache_clear()


@pytest.mark.usefixtures("without_timm")
def test_a_missing_timm_is_named_with_the_line_that_installs_it() -> None:
    install = r"needs timm.*pip install 'wsss-bench\[timm\]'"
    with pytest.raises(RecipeError, match=install):
        backbone_of("timm/resnet18")
    with pytest.raises(RecipeError, match=install):
        normalization("timm/resnet18")
    with pytest.raises(RecipeError, match=install):
        build({"type": "TimmBackbone", "model": "resnet18"})
    # Everything else goes on.
    assert backbone_of("tiny").channels
    assert isinstance(build(backbone_config("tiny", None)), nn.Module)


def test_learning_what_a_network_is_draws_nothing() -> None:
    for item in vars(adapter).values():
        getattr(item, "cache_clear", lambda: None)()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    backbone_of("timm/resnet18")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_a_classifier_gives_maps(name: str, tmp_path: Path) -> None:
    params = {**SMALL_CLASSIFIER, "backbone": f"timm/{name}"}
    model = build_classifier(params, 3).eval()
    image = make_view(tmp_path / "images", 1, size=(70, 90))[0].read()
    with torch.no_grad():
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        maps = linear_cam(model, pixels, [0, 2])
        features = model.features(pixels)
        found = multi_scale(model, image, [0, 2], (1.0, 0.5), "cpu")
    assert maps.shape == (2, *features.shape[2:])
    assert maps.min() >= 0
    # Averaging the raw map gives the score, so the map is of this head's own class.
    scores = model.head.cam(features).mean((2, 3))
    torch.testing.assert_close(scores, model.head.scores(features))
    assert found.shape == (2, 18, 23)
    assert found.max() <= 1


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_a_classifier_trains(name: str, tmp_path: Path) -> None:
    params = {**SMALL_CLASSIFIER, "backbone": f"timm/{name}", "iterations": 2}
    view = make_view(tmp_path / "images", 4)
    model = train_classifier(view, make_context(tmp_path, params))
    assert not model.training
    start = build_classifier(params, 2).state_dict()
    assert set(start) == set(model.state_dict())
    assert all(torch.isfinite(item).all() for item in model.state_dict().values())


def test_a_segmentor_may_have_such_a_backbone() -> None:
    params = {
        "network": "deeplab_aspp",
        "backbone": "timm/resnet18",
        "weights": None,
        "backbone_options": {"output_stride": 8},
    }
    config = segmentor_config(params, 5)
    assert config.normalize == "timm/resnet18"
    assert config.model.decode_head.in_channels == 512
    net = build(config.model).eval()
    with torch.no_grad():
        assert net._forward(torch.zeros(1, 3, 65, 65)).shape == (1, 5, 9, 9)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_a_run_names_the_backbone_on_the_board(name: str, tmp_path: Path) -> None:
    words = [
        *("run", "--methods", f"cam[backbone=timm/{name},weights=None]/-/-"),
        *("--profile", "check", "--device", "cpu", "--workers", "1"),
        *("--data-option", "train=16", "--data-option", "val=4"),
        *("--data-root", str(tmp_path / "data")),
        *("--work-dir", str(tmp_path / "work")),
    ]
    assert main(words) == 0
    (record,) = load_records(tmp_path / "work" / "leaderboards")
    assert record.columns["backbone"] == f"timm/{name}"
