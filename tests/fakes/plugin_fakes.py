"""Small plugins for tests of the conformance kit: one that is right, and ten that are each wrong in one way."""

from __future__ import annotations

from pathlib import Path

GOOD = """
import numpy as np
from wsss_bench import MethodCard, Seed, hookimpl
from wsss_bench.rng import generator


class Method:
    @hookimpl
    def method_card(self):
        return MethodCard(name="{name}", version="1", stages=("localize", "refine"))

    @hookimpl
    def localize(self, view, out, ctx):
        for number, image in enumerate(view):
            if out.done(image.id):
                continue
            pixels = image.read()
            bright = pixels.astype(np.float32).max(2)[::2, ::2] / 255
            noise = generator(ctx.seed, "noise", image.id).random(bright.shape, np.float32)
            scores = np.stack([0.9 * bright + 0.1 * noise for c in image.present])
            out.write(image.id, Seed(np.array(image.present), scores, pixels.shape[:2]))
            ctx.progress("images", number + 1, len(view))
        return out.close()

    @hookimpl
    def refine(self, view, seeds, out):
        for image in view:
            if not out.done(image.id):
                seed = seeds[image.id]
                scores = seed.upsampled()
                label = np.where(scores.max(0) > 0.5, seed.class_ids[scores.argmax(0)], 0).astype(np.uint8)
                out.write(image.id, label)
        return out.close()


plugin = Method()
"""

LABEL = "out.write(image.id, label)"
SCORES = "scores = np.stack([0.9 * bright + 0.1 * noise for c in image.present])"
READ = "pixels = image.read()"
MASK = 'image.path.parent.parent / "SegmentationClass" / (image.id + ".png")'

BROKEN: dict[str, tuple[str, str, str, str]] = {
    # name: what is replaced, by what, the check that must fail, words of the message
    "imports": (
        "import numpy as np",
        "import numpy as np, not_there",
        "loads",
        r"import: .*ModuleNotFoundError.*not_there",
    ),
    "is_class": (
        "plugin = Method()",
        "plugin = Method",
        "loads",
        r"Method is a class.*plugin = Method\(\)",
    ),
    "no_self": (
        "def refine(self, view",
        "def refine(view",
        "loads",
        r"refine: the method has no `self`",
    ),
    "typo": (
        "def refine(",
        "def refin(",
        "loads",
        r"refin: there is no such hook.*Did you mean 'refine'",
    ),
    "argument": (
        "view, seeds, out)",
        "view, seed, out)",
        "loads",
        r"refine: takes an argument 'seed'",
    ),
    "none": (
        "return out.close()\n\n    @hookimpl\n    def refine",
        "out.close()\n\n    @hookimpl\n    def refine",
        "runs",
        r"localize: returned None\..*return out\.close\(\)",
    ),
    "shapes": (
        LABEL,
        "out.write(image.id, label[:-1])",
        "outputs",
        r"refine: image 'train_00000'.*photograph's size \[64, 64\]",
    ),
    "nan": (
        SCORES,
        SCORES + " / np.float32(0) * 0",
        "outputs",
        r"localize: image 'train_00000'.*NaN",
    ),
    "absent": (
        LABEL,
        "out.write(image.id, label + 200)",
        "outputs",
        r"refine: image 'train_00000'.*values \[200",
    ),
    "peeks": (
        READ,
        READ + f"; open({MASK}, 'rb').close()",
        "sealed masks",
        r"SegmentationClass.train_00000\.png is a sealed mask",
    ),
}

SUBTLE: dict[str, tuple[str, str, str, str]] = {
    "peeks_in_c": (
        READ,
        READ + f"; import cv2; cv2.imread(str({MASK})).shape",
        "sealed masks",
        r"folder of masks|no masks beside",
    ),
    "swallows": (
        READ,
        READ
        + f"\n            try:\n                open({MASK})\n            except Exception:\n                pass",
        "sealed masks",
        r"tried to open SegmentationClass.train_00000\.png",
    ),
    "unseeded": (
        'generator(ctx.seed, "noise", image.id)',
        "np.random.default_rng()",
        "repeatable",
        r"same seed wrote other bytes.*rng",
    ),
    "global_state": (
        'generator(ctx.seed, "noise", image.id)',
        "self.rng",
        "resumes",
        r"killed and run again, wrote other bytes",
    ),
    "writes_in_images": (
        READ,
        READ + "; image.path.write_bytes(image.path.read_bytes() + b'x')",
        "inputs",
        r"changed image train_00000",
    ),
    "wrong_size": (
        "pixels.shape[:2]))",
        "(9, 9)))",
        "outputs",
        r"size is \(9, 9\), the photograph's is \(64, 64\)",
    ),
    "dies": (
        READ,
        READ + "; import os; os._exit(7)",
        "runs",
        r"ended its process with status 7",
    ),
}

RNG = "class Method:\n    rng = np.random.default_rng(0)\n"


def write(
    folder: Path, name: str, table: dict[str, tuple[str, str, str, str]] | None = None
) -> Path:
    """Write plugin `name`: as it is, or broken as the table's row of that name says."""
    text = GOOD.format(name=name)
    if table is not None:
        old, new, _, _ = table[name]
        assert old in text, name
        text = text.replace(old, new)
        if name == "global_state":
            text = text.replace("class Method:\n", RNG)
    path = folder / f"{name}.py"
    path.write_text(text)
    return path
