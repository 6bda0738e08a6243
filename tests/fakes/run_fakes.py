"""A dataset of a dozen generated photographs and plugins of a few lines, for tests."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from wsss_bench.data.base import Dataset, Splits

CLASSES = ("background", "cat", "dog")

PLUGIN = """
import os, time
from pathlib import Path
import numpy as np
from wsss_bench import MethodCard, Seed, Segmentor, hookimpl


def _log(line):
    if "FAKE_LOG" in os.environ:
        with open(os.environ["FAKE_LOG"], "a") as handle:
            handle.write(line + "\\n")


class Method:
    @hookimpl
    def method_card(self):
        defaults = {
            "localize": {"gain": 1.0, "threshold": 0.3, "weights": None, "scales": [1.0]},
            "refine": {"threshold": 0.5, "label": 0},
            "segment": {"iterations": 3, "loss": "ce", "network": "tiny", "model": {"depth": 1}},
        }
        stages = STAGES
        defaults = {s: defaults[s] for s in stages}
        return MethodCard(name=NAME, version="1", stages=stages, recipe=RECIPE, defaults=defaults)


class Localize:
    @hookimpl
    def localize(self, view, out, ctx):
        _log(f"{NAME} localize")
        time.sleep(float(os.environ.get("FAKE_SLEEP", "0")))
        for number, image in enumerate(view):
            if out.done(image.id):
                continue
            if os.environ.get("FAKE_DIE") == f"{NAME}:{number}":
                raise RuntimeError("the GPU fell off")
            _log(f"{NAME} image {image.id}")
            pixels = image.read()
            planes = [pixels[:, :, c % 3] / 255.0 for c in image.present]
            scores = np.stack(planes).astype(np.float32) * ctx.params["gain"]
            out.write(image.id, Seed(np.array(image.present), np.clip(scores, 0, 1), pixels.shape[:2]))
            ctx.progress("images", number + 1, len(view))
        return out.close()


class Refine:
    @hookimpl
    def refine(self, view, seeds, previous, out, ctx):
        _log(f"{NAME} refine round {ctx.round} previous {previous is not None} seeds {seeds is not None}")
        for image in view:
            if ctx.masks is not None:
                out.write(image.id, ctx.masks(image.id))
                continue
            seed = seeds[image.id]
            scores = seed.upsampled()
            best = seed.class_ids[scores.argmax(0)]
            label = np.where(scores.max(0) > ctx.params["threshold"], best, 0).astype(np.uint8)
            out.write(image.id, label)
        return out.close()


class Segment:
    @hookimpl
    def segment(self, view, labels, seeds, previous, ctx):
        _log(f"{NAME} segment round {ctx.round} previous {previous is not None}")
        config, weights = ctx.scratch / "c.py", ctx.scratch / "w.pth"
        config.write_text("model = 1")
        weights.write_text(f"{NAME} {ctx.seed} {dict(ctx.params)}")
        facts = {"backbone": "none", "network": "tiny", "weights": "none"}
        return Segmentor(config, weights, {"scales": [1.0], "crf": "tiny"}, facts)
"""

_MIXINS = {"localize": "Localize", "refine": "Refine", "segment": "Segment"}


def write_plugin(
    folder: Path,
    name: str,
    stages: tuple[str, ...] = ("localize", "refine", "segment"),
    recipe: str = "_/_/_",
    extra: str = "",
) -> Path:
    """Write a working plugin file; `extra` is appended, e.g. to break it. Its stages note their calls in $FAKE_LOG."""
    bases = ", ".join(["Method", *(_MIXINS[stage] for stage in stages)])
    path = folder / f"{name}.py"
    head = f"NAME, STAGES, RECIPE = {name!r}, {stages!r}, {recipe!r}\n"
    path.write_text(
        f"{head}{PLUGIN}\nclass All({bases}):\n    pass\n\nplugin = All()\n{extra}\n"
    )
    return path


class Masks:
    """Masks by id, as `SealedMasks` has them; they are drawn when they are asked for."""

    fingerprint = "masks-1"
    derived = "drawn"

    def __init__(self, masks: dict[str, np.ndarray]) -> None:
        self._masks = masks
        self.ids = tuple(masks)

    def __getitem__(self, image_id: str) -> np.ndarray:
        return self._masks[image_id]

    def __iter__(self) -> Any:
        return iter(self._masks.items())


class TinyDataset(Dataset):
    """Twelve 16x20 photographs: a red cat or a green dog on grey; eight to train on, four to predict."""

    kind = "tiny"

    def __init__(self, root: Path) -> None:
        self.name, self.classes = "tiny", CLASSES
        self.root = root
        self.splits = Splits(train="train", seeds="train", val="val")

    def prepare(self, progress: Any = None) -> None:
        """Write the photographs."""
        from PIL import Image

        self.root.mkdir(parents=True, exist_ok=True)
        for number in range(12):
            path = self.root / f"im{number:02d}.png"
            if not path.exists():
                temporary = self.root / f"{os.getpid()}-{number}.png"
                Image.fromarray(self._pixels(number)).save(temporary)
                temporary.replace(path)

    def ready(self) -> bool:
        """Whether all photographs are there."""
        numbers = {*self._numbers("train"), *self._numbers("val")}
        return all((self.root / f"im{n:02d}.png").exists() for n in numbers)

    def preview(self) -> TinyDataset:
        """The same photographs in a temporary folder."""
        if self.ready():
            return self
        drawn = type(self)(Path(tempfile.mkdtemp(prefix="wsss-bench-tiny-")))
        atexit.register(shutil.rmtree, drawn.root, ignore_errors=True)
        drawn.prepare()
        return drawn

    def _mask(self, number: int) -> np.ndarray:
        mask = np.zeros((16, 20), np.uint8)
        mask[3:10, 2 + number % 4 : 12] = 1 + number % 2
        return mask

    def _pixels(self, number: int) -> np.ndarray:
        mask, pixels = self._mask(number), np.full((16, 20, 3), 60, np.uint8)
        for klass in (1, 2):
            pixels[mask == klass, klass % 3] = 230
        return pixels

    def _numbers(self, split: str) -> range:
        return range(8) if split == "train" else range(8, 12)

    def _split_names(self) -> tuple[str, ...]:
        return ("train", "val")

    def _ids(self, split: str) -> tuple[str, ...]:
        return tuple(f"im{n:02d}" for n in self._numbers(split))

    def _image_path(self, split: str, image_id: str) -> Path:
        return self.root / f"{image_id}.png"

    def _labels(self, split: str, ids: Any) -> dict[str, tuple[int, ...]]:
        return {image_id: (1 + int(image_id[2:]) % 2,) for image_id in ids}

    def sealed(self) -> dict[str, tuple[Path, ...]]:
        """Nothing: the masks are not on the disk."""
        return {}

    def masks(self, split: str) -> Any:
        """The truth."""
        return Masks({f"im{n:02d}": self._mask(n) for n in self._numbers(split)})


def fake_predict(segmentor: Any, view: Any, out: Any, out_crf: Any, ctx: Any) -> None:
    """Stands in for the engine: the brightest channel wins, and CRF removes nothing."""
    for image in view:
        pixels = image.read().astype(int)
        label = np.where(pixels.max(2) > 150, pixels.argmax(2), 0).astype(np.uint8)
        for writer in (out, out_crf):
            if writer is not None and not writer.done(image.id):
                writer.write(image.id, label)


def install(monkeypatch: Any, root: Path) -> None:
    """Let the command line use the tiny dataset and the fake engine."""
    from wsss_bench.runs import pipeline
    from wsss_bench.runs import request as _dataset

    monkeypatch.setattr(_dataset, "open_requested", lambda *_: TinyDataset(root))
    monkeypatch.setattr(pipeline, "predict_images", fake_predict)


def arguments(place: Path, methods: str, *more: str) -> list[str]:
    """The words of a run in `place` with every plugin file that lies there."""
    words = ["run", "--methods", methods, "--profile", "paper", "--device", "cpu"]
    words += ["--work-dir", str(place / "work")]
    for path in sorted(place.glob("*.py")):
        words += ["--plugin", str(path)]
    return [*words, *more]


def calls(place: Path) -> list[str]:
    """What the plugins have noted in `place`, images left out."""
    log = place / "calls.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line for line in lines if " image " not in line]


def wait_for(place: Path, line: str) -> None:
    """Wait until a plugin has noted `line`."""
    log = place / "calls.log"
    for _ in range(2400):  # two minutes: the machine may be busy
        if log.exists() and line in log.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"{line!r} never happened")


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(
    place: Path, methods: str, *more: str, **environment: str
) -> subprocess.Popen[str]:
    """The same command in a process of its own."""
    words = [sys.executable, __file__, str(place / "data")]
    pipe: Any = subprocess.PIPE
    # A shell that runs the tests in the background has them, and what they start, ignore SIGINT; a terminal does not.
    return subprocess.Popen(
        [*words, *arguments(place, methods, *more)],
        env={**os.environ, **environment},
        stdout=pipe,
        stderr=pipe,
        text=True,
        cwd=place,
        preexec_fn=_heed_interrupts,
    )


class Patch:
    """`monkeypatch` for a process of its own."""

    def setattr(self, target: Any, name: str, value: Any, raising: bool = True) -> None:
        """Set it for good."""
        setattr(target, name, value)


if __name__ == "__main__":
    from wsss_bench.cli import main

    install(Patch(), Path(sys.argv[1]))
    time.sleep(max(0.0, float(os.environ.get("FAKE_START", "0")) - time.time()))
    sys.exit(main(sys.argv[2:]))
