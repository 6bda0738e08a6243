"""Field cases of networks, of what trainings log, and of names on a board."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_fakes import SMALL_SEGMENTOR
from field_case import FieldCase

from wsss_bench.errors import RecipeError

MMSEG = "open-mmlab/mmsegmentation"
MMPRETRAIN = "open-mmlab/mmpretrain"

PART = """
from torch import nn
from mmseg.registry import MODELS


@MODELS.register_module(force=True)
class FieldNet(nn.Module):
    def __init__(self, num_classes, pretrained=True):
        super().__init__()
        assert not pretrained, "it would fetch its weights"
        self.layer = nn.Conv2d(3, num_classes, 1)

    def _forward(self, images):
        return self.layer(images)
"""


@contextmanager
def part_beside(folder: Path) -> Iterator[None]:
    """A module ``field_part``, which registers ``FieldNet``, in a folder that is on the path."""
    from mmseg.registry import MODELS

    (folder / "field_part.py").write_text(PART)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("field_part", None)
        MODELS.module_dict.pop("FieldNet", None)


def config_of(folder: Path, text: str) -> Any:
    """The segmentor config that a file of somebody's own gives."""
    from wsss_bench.engine import segmentor_config

    path = folder / "net.py"
    path.write_text(text)
    return segmentor_config({**SMALL_SEGMENTOR, "network": str(path)}, 3)


def kept_model(folder: Path, model: dict[str, Any]) -> Any:
    """The model config that is kept with a segmentor of `model`."""
    from mmengine.config import Config

    from wsss_bench.engine import keep_segmentor

    (folder / "w.pth").write_bytes(b"")
    config = {"model": model, "normalize": "imagenet"}
    found = keep_segmentor(config, folder / "w.pth", folder / "out", {})
    return Config.fromfile(found.config, import_custom_modules=False).model


def imports_in_one_text(folder: Path) -> None:
    with part_beside(folder):
        imports = (
            "custom_imports = dict(imports='field_part', allow_failed_imports=False)"
        )
        found = config_of(
            folder, f"{imports}\nmodel = dict(type='FieldNet', num_classes=19)"
        )
        assert found.custom_imports == ["field_part"]
        assert found.model.num_classes == 3


def imports_of_a_package_that_is_not_there(folder: Path) -> None:
    imports = (
        "custom_imports = dict(imports='mmpretrain.models', allow_failed_imports=False)"
    )
    model = (
        "model = dict(type='EncoderDecoder', backbone=dict(type='mmpretrain.ConvNeXt'))"
    )
    with pytest.raises(RecipeError, match=r"'mmpretrain\.models', which cannot be"):
        config_of(folder, f"{imports}\n{model}\n")


def weights_by_default(folder: Path) -> None:
    backbone = {"type": "TIMMBackbone", "model_name": "resnet18"}
    found = kept_model(folder, {"type": "EncoderDecoder", "backbone": backbone})
    assert found.backbone.pretrained is False


def weights_of_an_address(folder: Path) -> None:
    init = {"type": "Pretrained", "checkpoint": "https://models.example/convnext.pth"}
    backbone = {"type": "mmpretrain.ConvNeXt", "arch": "base", "init_cfg": init}
    path = str(folder / "checkpoint.pth")
    head = {"type": "TIMMBackbone", "pretrained": False, "checkpoint_path": path}
    found = kept_model(folder, {"type": "Any", "backbone": backbone, "head": head})
    assert found.backbone == {**backbone, "init_cfg": None}
    assert found.head.checkpoint_path == ""


def a_part_that_nobody_registers(folder: Path) -> None:
    from wsss_bench.contract.artifacts import Segmentor
    from wsss_bench.engine import load_segmentor

    head = "dict(type='FCNHead', in_channels=8, channels=8, num_classes=3)"
    backbone = "dict(type='TimmNet', model='resnet18')"
    model = f"dict(type='EncoderDecoder', backbone={backbone}, decode_head={head})"
    (folder / "c.py").write_text(f"model = {model}\nnormalize = 'imagenet'\n")
    plugin = {"name": "mine", "file": "mine.py", "modules": ["mine"]}
    segmentor = Segmentor(folder / "c.py", folder / "w.pth", plugin=plugin)
    with pytest.raises(RecipeError, match=r"made of 'TimmNet'.*--plugin mine\.py"):
        load_segmentor(segmentor)


def a_class_that_would_fetch(folder: Path) -> None:
    from wsss_bench.contract.artifacts import Segmentor
    from wsss_bench.engine import keep_segmentor, load_segmentor
    from wsss_bench.engine.registry import build

    with part_beside(folder):
        import field_part

        model = {"type": "FieldNet", "num_classes": 3, "pretrained": False}
        network = build(model)
        assert isinstance(network, field_part.FieldNet)
        state = {f"net.{key}": value for key, value in network.state_dict().items()}
        torch.save(state, folder / "w.pth")
        # As it was trained: from the weights that it fetched.
        config = {"model": {**model, "pretrained": True}, "normalize": "imagenet"}
        kept: Segmentor = keep_segmentor(config, folder / "w.pth", folder / "out", {})
        assert load_segmentor(kept).net.layer.out_channels == 3


def places_as_names(folder: Path) -> None:
    from wsss_bench.runs.recording import shown

    path = folder / "my nets" / "net.py"
    assert shown(path) == "net.py"
    assert shown("C:\\work\\nets\\net.py") == "net.py"
    assert shown("../configs/deeplabv3plus.py") == "deeplabv3plus.py"
    assert shown("vgg16 (from /home/me/net.py)") == "vgg16 (from net.py)"


def names_with_a_slash(folder: Path) -> None:
    from wsss_bench.runs.recording import shown

    for name in ("timm/resnet50.a1_in1k", "resnet101", "network's own", "file w.pth"):
        assert shown(name) == name


def a_cut_table(folder: Path) -> None:
    from wsss_bench.engine.logged import LossTable, read_losses

    path = folder / "net.csv"
    path.write_text("iteration,lr,loss\n20,0.1,2\n40,0.1,1\n60,0.")
    table = LossTable(path)
    table.resume(20)
    table.add(40, {"lr": 0.1, "loss": 1.5})
    assert read_losses(path)["loss"] == [2, 1.5]


CASES: list[FieldCase] = [
    FieldCase(
        "networks",
        "an mmseg config whose `custom_imports` names one module as text",
        "its module is imported, and kept with the segmentor",
        imports_in_one_text,
        MMSEG,
    ),
    FieldCase(
        "networks",
        "an mmseg config of parts of mmpretrain, which is not installed",
        "refused before anything is trained; the module is named",
        imports_of_a_package_that_is_not_there,
        MMSEG,
    ),
    FieldCase(
        "networks",
        "mmseg's wrapper of timm, which fetches weights unless told not to",
        "kept as one that fetches nothing",
        weights_by_default,
        MMSEG,
    ),
    FieldCase(
        "networks",
        "initial weights as `init_cfg` or `checkpoint_path`",
        "not kept: the checkpoint replaces them",
        weights_of_an_address,
        MMPRETRAIN,
    ),
    FieldCase(
        "networks",
        "a plugin's network with `pretrained=True`",
        "built again without fetching anything",
        a_class_that_would_fetch,
        MMPRETRAIN,
    ),
    FieldCase(
        "networks",
        "a kept network of a plugin that is not there",
        "refused: the part, the method and the file to give are named",
        a_part_that_nobody_registers,
    ),
    FieldCase(
        "boards",
        "a config's place as network or backbone (POSIX, Windows, relative, with blanks)",
        "its name alone",
        places_as_names,
        MMSEG,
    ),
    FieldCase(
        "boards",
        "names with a slash or a dot that are no places, such as timm's",
        "as they are",
        names_with_a_slash,
    ),
    FieldCase(
        "losses",
        "a table whose last line a kill has cut",
        "goes on from the checkpoint's row",
        a_cut_table,
    ),
]
