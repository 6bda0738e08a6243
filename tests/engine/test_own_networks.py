"""A network of a plugin's own is found again: resumed from the store, exported, in a process that knows nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_fakes import SMALL_SEGMENTOR
from mmengine.config import Config
from mmseg.registry import MODELS
from outsider_fakes import PREDICT, RUN, in_process, write_file, write_package
from torch import nn

from wsss_bench.contract.artifacts import Segmentor, read_segmentor
from wsss_bench.engine import keep_segmentor, load_segmentor, segmentor_config
from wsss_bench.engine.backbones.names import backbone_config
from wsss_bench.engine.backbones.tiny import TinyBackbone
from wsss_bench.engine.models import WeakSegmentor
from wsss_bench.engine.parts import modules_of
from wsss_bench.engine.registry import build, registered
from wsss_bench.errors import RecipeError
from wsss_bench.runs.curves import curves_of

PART = """
from mmseg.registry import MODELS
from torch import nn


@MODELS.register_module(force=True)
class OwnNet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layer = nn.Conv2d(3, num_classes, 1)

    def _forward(self, images):
        return self.layer(images)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module ``own_part`` on the path, which registers ``OwnNet`` when it is imported."""
    (tmp_path / "own_part.py").write_text(PART)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("own_part", None)
    forget("OwnNet")


def forget(*words: str) -> None:
    """As in a new process, where nobody has registered them."""
    for word in words:
        MODELS.module_dict.pop(word, None)


def kept(config: Any, folder: Path) -> Segmentor:
    model = WeakSegmentor(config["model"], None, config["normalize"])
    folder.mkdir(exist_ok=True)
    torch.save(model.state_dict(), folder / "w.pth")
    keep_segmentor(config, folder / "w.pth", folder / "out", {})
    return read_segmentor(folder / "out")


# In processes of their own --------------------------------------------------------------------------------------------


def test_a_plugin_given_as_a_file_goes_on_from_the_store(tmp_path: Path) -> None:
    file = write_file(tmp_path / "mine")
    work = tmp_path / "work"
    work.mkdir()
    words = {"plugins": [str(file)], "work": str(work), "log": ["local"]}
    killed = in_process(RUN, words, OUTSIDER_DIES="1")
    assert killed.returncode == -9, killed.stderr
    resumed = in_process(RUN, words)
    assert resumed.returncode == 0, resumed.stderr
    assert "segment: cached" in resumed.stdout
    words["run"] = resumed.stdout.split()[-1]
    done = in_process(PREDICT, words)
    assert done.returncode == 0, done.stderr
    assert len(list(Path(done.stdout.split()[-1]).rglob("*.png"))) == 4
    (made,) = work.glob("store/segment/*/out/segmentor.json")
    plugin = json.loads(made.read_text())["plugin"]
    assert plugin["file"] == "outsider.py"
    assert (
        str(tmp_path) not in made.read_text() + (made.parent / "config.py").read_text()
    )
    # Another split is not there yet, and the file is not given: the message says which one to give.
    (work / "export").rename(tmp_path / "exported")
    words["plugins"] = []
    failed = in_process(PREDICT, words)
    assert failed.returncode == 1
    assert "method 'outsider': give its file, --plugin outsider.py" in failed.stderr


def test_an_installed_plugin_goes_on_from_the_store(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is an optional extra")
    path = write_package(tmp_path / "site")
    work = tmp_path / "work"
    work.mkdir()
    words = {"plugins": [], "work": str(work), "log": ["local", "tensorboard"]}
    killed = in_process(RUN, words, path, OUTSIDER_DIES="1")
    assert killed.returncode == -9, killed.stderr
    resumed = in_process(RUN, words, path)
    assert resumed.returncode == 0, resumed.stderr
    assert "segment: cached" in resumed.stdout
    words["run"] = resumed.stdout.split()[-1]
    # What the training logged is there after its stage was committed.
    assert list(work.glob("logs/*/segment/segmentor/**/events.out.tfevents.*"))
    (curve,) = curves_of(words["run"], work)
    assert curve.columns["iteration"] == [1, 2, 3, 4, 5, 6]
    done = in_process(PREDICT, words, path)
    assert done.returncode == 0, done.stderr
    (work / "export").rename(tmp_path / "exported")
    failed = in_process(PREDICT, words)
    assert "method 'outsider': pip install outsider" in failed.stderr


# Parts by name --------------------------------------------------------------------------------------------------------


def test_a_part_is_kept_with_the_module_that_registers_it(own: Path) -> None:
    import own_part  # noqa: F401

    network = {"model": {"type": "OwnNet", "num_classes": 9}}
    config = segmentor_config(SMALL_SEGMENTOR, 3, network)
    segmentor = kept(config, own / "kept")
    forget("OwnNet")
    del sys.modules["own_part"]
    found = Config.fromfile(segmentor.config, import_custom_modules=False)
    assert found.model.type == "own_part.OwnNet"
    assert found.custom_imports == ["own_part"]
    assert load_segmentor(segmentor).net.layer.out_channels == 3


def test_a_config_that_names_no_module_is_built_with_the_plugins_own(own: Path) -> None:
    config = own / "config.py"
    config.write_text(
        "model = dict(type='OwnNet', num_classes=3)\nnormalize = 'imagenet'\n"
    )
    state = {
        "net.layer.weight": torch.zeros(3, 3, 1, 1),
        "net.layer.bias": torch.zeros(3),
    }
    torch.save(state, own / "w.pth")
    plugin = {"name": "own", "distribution": "own-dist", "modules": ["own_part"]}
    segmentor = Segmentor(config, own / "w.pth", plugin=plugin)
    assert load_segmentor(segmentor).net.layer.out_channels == 3
    forget("OwnNet")
    lost = {**plugin, "modules": ["gone_part"]}
    with pytest.raises(RecipeError, match=r"made of 'OwnNet'.*pip install own-dist"):
        load_segmentor(Segmentor(config, own / "w.pth", plugin=lost))


def test_mmengines_own_form_of_imports_is_understood(own: Path) -> None:
    config = own / "net.py"
    imports = "custom_imports = dict(imports=['own_part'], allow_failed_imports=False)"
    config.write_text(f"{imports}\nmodel = dict(type='OwnNet', num_classes=2)\n")
    params = {**SMALL_SEGMENTOR, "network": str(config)}
    found = segmentor_config(params, 3)
    assert found.custom_imports == ["own_part"]
    assert found.model == {"type": "own_part.OwnNet", "num_classes": 3}


@pytest.mark.parametrize(
    ("given", "modules"),
    [
        ({}, []),
        ({"custom_imports": None}, []),
        ({"custom_imports": "a.b"}, ["a.b"]),
        ({"custom_imports": ("a", "b")}, ["a", "b"]),
        ({"custom_imports": {"imports": "a"}}, ["a"]),
    ],
)
def test_imports_are_read_in_every_form(given: Any, modules: list[str]) -> None:
    assert modules_of(given) == modules


# One word for two classes ---------------------------------------------------------------------------------------------


def test_a_plugins_class_does_not_take_the_place_of_ours() -> None:
    class Other(nn.Module):
        pass

    MODELS.register_module(name="TinyBackbone", module=Other)
    try:
        assert isinstance(build({"type": "TinyBackbone"}), Other)
        assert isinstance(build(backbone_config("tiny", None)), TinyBackbone)
        bundled = segmentor_config(SMALL_SEGMENTOR, 3).model
        assert isinstance(build(bundled.backbone), TinyBackbone)
    finally:
        forget("TinyBackbone")


def test_a_name_that_another_module_has_taken_is_refused() -> None:
    taken = type("OwnTaken", (nn.Module,), {"__module__": "other"})
    MODELS.register_module(module=taken)
    try:
        again = type("OwnTaken", (nn.Module,), {"__module__": "other"})
        assert registered(again) is again
        # The same file in another folder, later in a notebook.
        moved = type(
            "OwnTaken", (nn.Module,), {"__module__": "wsss_local_other_0123abcd"}
        )
        assert registered(moved) is moved
        mine = type("OwnTaken", (nn.Module,), {"__module__": "mine"})
        with pytest.raises(RecipeError, match=r"'OwnTaken' of module 'mine'.*other"):
            registered(mine)
    finally:
        forget("OwnTaken")


def test_of_two_classes_the_one_of_the_named_module_is_meant(own: Path) -> None:
    import own_part

    other = type("OwnNet", (nn.Module,), {"__module__": "elsewhere"})
    MODELS.register_module(module=other, force=True)
    network = {
        "model": {"type": "OwnNet", "num_classes": 9},
        "custom_imports": ["own_part"],
    }
    config = segmentor_config(SMALL_SEGMENTOR, 3, network)
    assert isinstance(build(config.model), own_part.OwnNet)
