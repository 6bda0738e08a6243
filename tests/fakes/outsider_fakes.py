"""An outsider's segmentor with a network of its own, as a file beside its helper and as an installed package.

Its backbone is called as one of the harness's own is called, is registered by mmseg's plain decorator, and is imported
by the hook alone. ``OUTSIDER_DIES`` in the environment ends the process when it predicts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

NETWORK = """
import os, signal
from mmseg.registry import MODELS
from torch import nn


@MODELS.register_module()
class TimmBackbone(nn.Module):
    def __init__(self, width):
        super().__init__()
        first = nn.Conv2d(3, width, 3, stride=4, padding=1)
        self.layers = nn.Sequential(first, nn.ReLU())

    def forward(self, x):
        if not self.training and "OUTSIDER_DIES" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        return (self.layers(x),)
"""

PLUGIN = """
from wsss_bench import MethodCard, hookimpl

DEFAULTS = {"inherit": ["methods/segmentor.py"], "segment": {"width": 6}}


class Outsider:
    @hookimpl
    def method_card(self):
        return MethodCard("outsider", "1", stages=("segment",), recipe="-/supervised/_", defaults=DEFAULTS)

    @hookimpl
    def segment(self, view, labels, ctx):
        from IMPORTED
        from wsss_bench.toolbox.segmentation import train_segmentor

        width = ctx.params["width"]
        head = {"type": "FCNHead", "in_channels": width, "channels": width, "num_convs": 1, "num_classes": 9}
        model = {"type": "EncoderDecoder", "backbone": {"type": "TimmBackbone", "width": width}, "decode_head": head}
        return train_segmentor(view, labels, ctx, network={"model": model})


plugin = Outsider()
"""

METADATA = "Metadata-Version: 2.1\nName: outsider\nVersion: 1.0\n"
POINTS = "[wsss_bench.methods]\noutsider = outsider.method:plugin\n"

RUN = """
import json, sys
import wsss_bench

words = json.loads(sys.argv[1])
done = wsss_bench.run(
    "outsider",
    plugins=words["plugins"],
    work_dir=words["work"],
    device="cpu",
    workers=1,
    options={"segment.iterations": 6, "segment.batch": 4, "segment.crf": ""},
    data_options={"train": 8, "val": 4},
    log=words["log"],
)
assert not done.failed, done.failed
print(done.cells[0].run_id)
"""

PREDICT = """
import json, sys
from pathlib import Path
from wsss_bench.runs.predicting import PredictionRequest, predict_run
from wsss_bench.runs.request import DatasetRequest

words = json.loads(sys.argv[1])
work = Path(words["work"])
request = PredictionRequest(
    run=words["run"],
    boards=work / "leaderboards",
    split="val",
    dataset=DatasetRequest(options={"train": "8", "val": "4"}),
    work_dir=work,
    device="cpu",
    plugins=tuple(map(Path, words["plugins"])),
)
print(predict_run(request))
"""


def write_file(folder: Path) -> Path:
    """Write the plugin as a file whose network lies beside it; returns the file."""
    folder.mkdir(parents=True)
    imported = "outsider_network import TimmBackbone"
    (folder / "outsider.py").write_text(PLUGIN.replace("IMPORTED", imported))
    (folder / "outsider_network.py").write_text(NETWORK)
    return folder / "outsider.py"


def write_package(folder: Path) -> Path:
    """Write the plugin as a package with its metadata, as an installer leaves it; returns the folder for the path."""
    package, info = folder / "outsider", folder / "outsider-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    imported = "outsider.network import TimmBackbone"
    (package / "__init__.py").write_text("")
    (package / "method.py").write_text(PLUGIN.replace("IMPORTED", imported))
    (package / "network.py").write_text(NETWORK)
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(POINTS)
    (info / "top_level.txt").write_text("outsider\n")
    return folder


def in_process(
    script: str, words: dict[str, Any], path: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run one of the scripts in a process of its own, with `path` on the module path."""
    environment = {**os.environ, **variables}
    if path is not None:
        before = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(path), before]))
    return subprocess.run(
        [sys.executable, "-c", script, json.dumps(words)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        # Nothing of the plugin may be found by where the tests run.
        cwd=words["work"],
    )
