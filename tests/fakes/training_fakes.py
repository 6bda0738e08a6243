"""A method of a few lines whose trainings the store keeps: each stage trains a number for some steps, then uses it.

It notes what it does in ``$FAKE_LOG``. ``FAKE_KILL=<what>:<number>`` ends the process there, ``FAKE_DIE`` raises
instead; ``<what>`` is ``localize step`` or ``refine step`` (of the training), or ``localize image``.
"""

from __future__ import annotations

from pathlib import Path

PLUGIN = """
import os, signal, time
from pathlib import Path
import numpy as np
from wsss_bench import MethodCard, Seed, Segmentor, hookimpl
from wsss_bench.io.files import write_atomic


def note(line):
    if "FAKE_LOG" in os.environ:
        with open(os.environ["FAKE_LOG"], "a") as handle:
            handle.write(line + "\\n")


def reach(what, number):
    note(f"{NAME} {what} {number}")
    if os.environ.get("FAKE_KILL") == f"{what}:{number}":
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("FAKE_DIE") == f"{what}:{number}":
        raise RuntimeError("the GPU fell off")


def learn(stage, view, ctx):
    # A number that grows a little with every step and depends on all that a training may depend on.
    with ctx.training("net") as training:
        if not training.done:
            note(f"{NAME} trains for {stage}")
            gate = os.environ.get("FAKE_GATE")
            while gate and not os.path.exists(gate):
                time.sleep(0.02)
            checkpoint = training.scratch / "checkpoint"
            lines = checkpoint.read_text().splitlines() if checkpoint.exists() else []
            while len(lines) < ctx.training_params["steps"]:
                reach(f"{stage} step", len(lines))
                time.sleep(float(os.environ.get("FAKE_SLEEP", "0")))
                view[len(lines)].read()
                lines.append(str(0.8 + 0.01 * len(lines) * ctx.training_params["lr"]))
                write_atomic(checkpoint, lambda handle: handle.write("\\n".join(lines).encode()))
                ctx.progress("iterations", len(lines), ctx.training_params["steps"])
            write_atomic(training.out / "weights", lambda handle: handle.write(lines[-1].encode()))
        return training.out / "weights"


DEFAULTS = {
    "localize": {"lr": 0.1, "steps": 4, "scales": [1.0], "flip": False, "threshold": 0.3, "saliency_dir": ""},
    "refine": {"lr": 0.1, "steps": 3, "walk": 2},
    "segment": {"lr": 0.1, "test_scales": [1.0], "test_flip": False, "crf": "tiny"},
}
TEST = {
    "localize": ("scales", "flip", "threshold"),
    "refine": ("walk",),
    "segment": ("test_scales", "test_flip", "crf"),
}


class Method:
    @hookimpl
    def method_card(self):
        tested = {s: TEST[s] for s in STAGES}
        return MethodCard(
            name=NAME,
            version="1",
            stages=STAGES,
            recipe="_/_/_",
            supervision=SUPERVISION,
            extra_data="saliency" if "saliency" in SUPERVISION else "-",
            defaults={s: DEFAULTS[s] for s in STAGES} | ({"test_settings": tested} if DECLARED else {}),
        )

    @hookimpl
    def localize(self, view, out, ctx):
        weights = learn("localize", view, ctx)
        gain = float(weights.read_text()) * sum(ctx.params["scales"])
        for number, image in enumerate(view):
            if out.done(image.id):
                continue
            reach("localize image", number)
            pixels = image.read()
            scores = np.stack([pixels[:, :, c % 3] / 255.0 for c in image.present]).astype(np.float32) * gain
            out.write(image.id, Seed(np.array(image.present), np.clip(scores, 0, 1), pixels.shape[:2]))
        ctx.keep(weights, "net")
        return out.close()

    @hookimpl
    def refine(self, view, seeds, previous, previous_labels, out, ctx):
        held = previous_labels is not None and len(previous_labels)
        net = seeds is not None and seeds.kept("net").read_text()
        note(f"{NAME} refine round {ctx.round} previous labels {held} net {net}")
        learn("refine", view, ctx)
        for image in view:
            if not out.done(image.id):
                seed = seeds[image.id]
                scores = seed.upsampled()
                label = np.where(scores.max(0) > 0.5, seed.class_ids[scores.argmax(0)], 0).astype(np.uint8)
                out.write(image.id, label)
        return out.close()

    @hookimpl
    def segment(self, view, labels, previous_labels, ctx):
        held = previous_labels is not None and len(previous_labels)
        note(f"{NAME} segment round {ctx.round} previous labels {held} params {sorted(ctx.params)}")
        config, weights = ctx.scratch / "c.py", ctx.scratch / "w.pth"
        config.write_text("model = 1")
        weights.write_text(str(ctx.params["lr"]))
        return Segmentor(config, weights, {"scales": [9.0], "merge": "probs"}, {"backbone": "none", "network": "tiny"})


plugin = Method()
"""


def write_training(
    folder: Path,
    name: str,
    *,
    stages: tuple[str, ...] = ("localize", "refine", "segment"),
    declared: bool = True,
    supervision: tuple[str, ...] = ("image labels",),
    extra: str = "",
) -> Path:
    """Write the method; without `declared` it does not say which of its parameters are test settings."""
    path = folder / f"{name}.py"
    head = f"NAME, STAGES, DECLARED = {name!r}, {stages!r}, {declared}\n"
    left_out = [
        stage for stage in ("localize", "refine", "segment") if stage not in stages
    ]
    dropped = "".join(f"del Method.{stage}\n" for stage in left_out)
    path.write_text(f"{head}SUPERVISION = {supervision!r}\n{PLUGIN}{dropped}{extra}\n")
    return path
