from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from engine_fakes import SMALL_SEGMENTOR, make_context
from mmengine.config import Config

from wsss_bench.contract.artifacts import read_segmentor
from wsss_bench.engine import keep_segmentor, load_segmentor, segmentor_config
from wsss_bench.engine.models import WeakSegmentor
from wsss_bench.errors import ArtifactError
from wsss_bench.runs.stage import ENGINE


def kept(folder: Path, **facts: object) -> tuple[WeakSegmentor, Path]:
    config = segmentor_config(SMALL_SEGMENTOR, 3)
    torch.manual_seed(0)
    model = WeakSegmentor(config.model, None, config.normalize)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), folder / "trained.pth")
    keep_segmentor(config, folder / "trained.pth", folder / "out", facts)
    return model, folder / "out"


def test_a_kept_segmentor_predicts_as_the_trained_one(tmp_path: Path) -> None:
    model, folder = kept(tmp_path)
    loaded = load_segmentor(read_segmentor(folder))
    x = torch.rand(1, 3, 16, 16) * 255
    with torch.no_grad():
        # equal but for the rounding of folded batch norms
        torch.testing.assert_close(loaded(x), model.eval()(x), rtol=1e-5, atol=1e-6)
    assert not loaded.training
    assert (tmp_path / "trained.pth").is_file()  # a copy: scratch stays finished


def test_normalisation_is_part_of_the_segmentor(tmp_path: Path) -> None:
    config = segmentor_config({**SMALL_SEGMENTOR, "normalize": "tf"}, 3)
    model = WeakSegmentor(config.model, None, config.normalize)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    segmentor = keep_segmentor(config, tmp_path / "w.pth", tmp_path / "out", {})
    assert load_segmentor(segmentor).normalize(
        torch.full((1, 3, 1, 1), 255.0)
    ).flatten().tolist() == [1, 1, 1]


def test_facts_and_test_settings_survive(tmp_path: Path) -> None:
    _, folder = kept(
        tmp_path, test={"scales": [1.0, 1.5], "crf": "irn"}, backbone="tiny"
    )
    found = read_segmentor(folder)
    assert found.test == {"scales": [1.0, 1.5], "crf": "irn"}
    assert found.facts == {"backbone": "tiny"}
    assert set(json.loads((folder / "segmentor.json").read_text())) == {
        "config",
        "checkpoint",
        "test",
        "facts",
    }


def test_nothing_is_fetched_to_predict(tmp_path: Path) -> None:
    config = segmentor_config(
        {
            **SMALL_SEGMENTOR,
            "network": "deeplabv2",
            "backbone": "mobilenet_v2",
            "weights": "imagenet",
        },
        3,
    )
    assert config.model.backbone.weights == "imagenet"
    config.model.pretrained = "open-mmlab://resnet50_v1c"
    (tmp_path / "w.pth").write_bytes(b"")
    found = keep_segmentor(config, tmp_path / "w.pth", tmp_path / "out", {})
    model = Config.fromfile(found.config).model
    assert model.backbone.weights is None
    assert "pretrained" not in model
    assert (
        config.model.backbone.weights == "imagenet"
    )  # the config handed in is left as it was


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    _, folder = kept(tmp_path)
    (folder / "weights.pth").write_bytes(b"half")
    with pytest.raises(ArtifactError, match=r"weights\.pth cannot be loaded"):
        load_segmentor(read_segmentor(folder))
    (folder / "segmentor.json").unlink()
    with pytest.raises(ArtifactError, match=r"segmentor\.json is missing"):
        read_segmentor(folder)


def test_the_context_keeps_it_in_the_stages_folder(tmp_path: Path) -> None:
    config = segmentor_config(SMALL_SEGMENTOR, 3)
    torch.save(
        WeakSegmentor(config.model, None, config.normalize).state_dict(),
        tmp_path / "w.pth",
    )
    ctx = make_context(tmp_path)
    ctx.trainer = ENGINE
    found = ctx.segmentor(
        config, tmp_path / "w.pth", test={"crf": "dsrg"}, network="tiny"
    )
    assert found.checkpoint == ctx.out_dir / "weights.pth"
    assert found.facts == {"network": "tiny"}
