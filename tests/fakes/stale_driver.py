"""Edits files between runs over one store, and asks each time whether the store still tells the truth.

``python stale_driver.py FOLDER EDITS SEED`` copies the harness into FOLDER, lays out a tiny dataset and a plugin of
several modules beside it, and then EDITS times changes one thing in place: a mask, a photograph, a list, a label,
a module or a table beside the plugin, a file in a folder given as a parameter, a profile, a module of the harness; or
only how one of them is written. A third of the edits restore the file's time stamp. After each the run is repeated over
the same store, and made anew over an empty one: both must give the same counts, and the former computes no step that
does not depend on what was edited. Prints one JSON document.

Edits of the harness go on in a fork that has imported nothing of it; all others in one process, as in a notebook.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# What the harness imports too, so that a fork need not: it starts in a tenth of the time.
import pandas  # noqa: F401
import pluggy  # noqa: F401
import scipy.special  # noqa: F401
from mmengine.config import Config  # noqa: F401
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

STEPS = (
    "localize",
    "refine",
    "segment",
    "score_seeds",
    "score_labels",
    "predict",
    "score_val",
)
ALL = set(STEPS)
AFTER_REFINE = ALL - {"localize", "score_seeds"}
SCORED = {"score_seeds", "score_labels"}
PREDICTED = {"predict", "score_val"}

PLUGIN = """
import importlib
import json
from pathlib import Path

import numpy as np

import stale_helper
from stale_package import scale
from wsss_bench import MethodCard, Seed, Segmentor, hookimpl
from wsss_bench.toolbox.labels import labels_from_seed

LEVEL = 7


@hookimpl
def method_card():
    defaults = {
        "localize": {"gain": 1.0, "threshold": 0.3, "prior_dir": ""},
        "refine": {"level": 0.4},
        "segment": {"shift": 0, "network": "tiny"},
    }
    stages = ("localize", "refine", "segment")
    return MethodCard(name="stale_mine", version="1", stages=stages, defaults=defaults)


def _late(name):
    return importlib.import_module("stale_" + name)


@hookimpl
def localize(view, out, ctx):
    prior = 0
    for path in sorted(Path(ctx.params["prior_dir"]).iterdir()):
        prior += int(path.read_text())
    for image in view:
        pixels = image.read().astype(np.int64)
        seen = (pixels.sum(2) + LEVEL + stale_helper.OFFSET + _late("late").OFFSET + prior) % 17
        scores = [((seen * k * scale.FACTOR) % 17) / 17 * ctx.params["gain"] for k in image.present]
        found = np.clip(np.stack(scores), 0, 1).astype(np.float32)
        out.write(image.id, Seed(np.array(image.present), found, pixels.shape[:2]))
    return out.close()


@hookimpl
def refine(view, seeds, out, ctx):
    from stale_refining import BONUS

    table = json.loads(Path(__file__).with_name("stale_table.json").read_text())
    for image in view:
        seed = seeds[image.id]
        scores = seed.upsampled() + (BONUS + table["bonus"]) / 100
        best = seed.class_ids[scores.argmax(0)]
        label = np.where(scores.max(0) > ctx.params["level"], best, 0).astype(np.uint8)
        out.write(image.id, label)
    return out.close()


@hookimpl
def segment(view, labels, ctx):
    from stale_segmenting import TURN

    total = sum(int(labels[image.id].sum()) for image in view)
    config, weights = ctx.scratch / "c.py", ctx.scratch / "w.pth"
    config.write_text("model = 1")
    weights.write_text(str(total + TURN + ctx.params["shift"]))
    facts = {"backbone": "none", "network": "tiny", "weights": "none"}
    return Segmentor(config, weights, {"scales": [1.0], "crf": "no"}, facts)
"""

PROFILE = """
localize = {"*": dict(gain=1.0)}
refine = {"*": dict(level=0.4)}
segment = {"*": dict(shift=0)}
"""

FILES = {
    "stale_mine.py": PLUGIN,
    "stale_helper.py": "OFFSET = 1\n",
    "stale_late.py": "OFFSET = 2\n",
    "stale_refining.py": "BONUS = 1\n",
    "stale_segmenting.py": "TURN = 1\n",
    "stale_unused.py": "NOTHING = 1\n",
    "stale_table.json": '{"bonus": 1}\n',
    "stale_package/__init__.py": "",
    "stale_package/scale.py": "FACTOR = 3\n",
    "prior/one.txt": "1",
    "prior/two.txt": "2",
}

HARNESS = {
    "io/images.py": "read_image",
    "data/masks.py": "read_mask",
    "contract/writers.py": "_stale_nothing",
    "evaluate/curves.py": "_stale_nothing",
    "evaluate/bootstrap.py": "_stale_nothing",
    "toolbox/labels.py": "_stale_nothing",
    "toolbox/prediction.py": "_stale_nothing",
    "toolbox/crf.py": "_stale_nothing",
    "engine/inference.py": "_stale_nothing",
    "runs/scoring.py": "_stale_nothing",
    "runs/stage.py": "_stale_nothing",
    "boards/ranking.py": "_stale_nothing",
    "cli/status.py": "_stale_nothing",
}
"""Modules of the harness, and the function in each whose result an edit turns upside down, where it does."""

UPSIDE_DOWN = """
_before_{n} = {name}


def {name}(path, *more):
    return _before_{n}(path, *more)[::-1].copy()
"""

Edit = tuple[str, Path, str, set[str] | None]
"""What was edited, the file, its new text (or bytes as latin-1), and the steps that may be computed anew."""


class Place:
    """The folder of one try: the harness, the data, the plugin and the store."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        self.site = folder / "site"
        self.voc = folder / "data" / "VOC2012"
        self.mine = folder / "mine"
        self.number = 0

    def lay_out(self) -> None:
        shutil.copytree(ROOT / "wsss_bench", self.site / "wsss_bench")
        shutil.copytree(ROOT / "configs", self.site / "wsss_bench" / "configs")
        shutil.copytree(ROOT / "plugins", self.site / "wsss_plugins")
        for name, text in FILES.items():
            path = self.mine / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.folder / "stale_profile.py").write_text(PROFILE)
        self._draw()

    def _draw(self) -> None:
        lists = self.voc / "ImageSets" / "Segmentation"
        for folder in (lists, self.voc / "JPEGImages", self.voc / "SegmentationClass"):
            folder.mkdir(parents=True)
        train, val = [f"t{n}" for n in range(5)], [f"v{n}" for n in range(4)]
        (lists / "train.txt").write_text("\n".join(train) + "\n")
        (lists / "val.txt").write_text("\n".join(val) + "\n")
        for number, image_id in enumerate([*train, *val]):
            self.photograph(image_id, number)
            self.mask(image_id, number)
        head = ",".join(["id", *classes()])
        rows = [self._row(image_id, {8, 12}) for image_id in train]
        (self.voc / "cls_labels.csv").write_text("\n".join([head, *rows]) + "\n")

    def _row(self, image_id: str, present: set[int]) -> str:
        return ",".join([image_id, *(str(int(k in present)) for k in range(1, 21))])

    def photograph(self, image_id: str, number: int) -> None:
        pixels = np.random.default_rng(number).integers(0, 256, (9, 11, 3), np.uint8)
        path = self.voc / "JPEGImages" / f"{image_id}.jpg"
        # Uncompressed, so that another photograph has the same size in bytes.
        Image.fromarray(pixels).save(path, format="BMP")

    def mask(self, image_id: str, number: int) -> None:
        values = np.random.default_rng(number).choice([0, 8, 12, 255], (9, 11))
        image = Image.fromarray(values.astype(np.uint8))
        path = self.voc / "SegmentationClass" / f"{image_id}.png"
        image.save(path, compress_level=0)

    def edit(self) -> tuple[str, set[str] | None]:
        """Change one thing in place; return what, and which steps may be computed anew (None: those of a module)."""
        self.number += 1
        kind = self.rng.choice(KINDS)
        what, path, write, steps = kind(self)
        stat = path.stat()
        write()
        if self.rng.random() < 1 / 3:
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            what += ", time stamp restored"
        return what, steps


Kind = Callable[[Place], tuple[str, Path, Callable[[], Any], set[str] | None]]


def classes() -> list[str]:
    text = "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person"
    return [*text.split(), "pottedplant", "sheep", "sofa", "train", "tvmonitor"]


def edit_mask(place: Place) -> Any:
    split = place.rng.choice("tv")
    image_id = f"{split}{place.rng.randrange(4)}"
    path = place.voc / "SegmentationClass" / f"{image_id}.png"

    def write() -> None:
        values = np.asarray(Image.open(path)).copy()
        eight, twelve = values == 8, values == 12
        values[eight], values[twelve] = 12, 8
        Image.fromarray(values).save(path, compress_level=0)

    return "mask", path, write, SCORED if split == "t" else {"score_val"}


def edit_photograph(place: Place) -> Any:
    split = place.rng.choice("tv")
    image_id = f"{split}{place.rng.randrange(4)}"
    path = place.voc / "JPEGImages" / f"{image_id}.jpg"
    new = 100 + place.number
    steps = ALL if split == "t" else PREDICTED
    return "photograph", path, lambda: place.photograph(image_id, new), steps


def edit_label(place: Place) -> Any:
    path = place.voc / "cls_labels.csv"
    head, *rows = path.read_text().split()
    number = place.rng.randrange(len(rows))
    row = rows[number].split(",")
    klass = place.rng.randrange(1, 21)
    row[klass] = "1" if row[klass] == "0" else "0"
    # An image without labels has no seed.
    if "1" not in row[1:]:
        row[8] = "1"
    rows[number] = ",".join(row)
    text = "\n".join([head, *rows]) + "\n"
    return "label", path, lambda: path.write_text(text), ALL


def edit_label_layout(place: Place) -> Any:
    path = place.voc / "cls_labels.csv"
    text = path.read_text() + "\n"
    return "blank line in the labels", path, lambda: path.write_text(text), set()


def edit_list(place: Place) -> Any:
    path = place.voc / "ImageSets" / "Segmentation" / "val.txt"
    ids = path.read_text().split()
    text = "\n".join(ids[1:] + ids[:1]) + "\n"
    return "order of val", path, lambda: path.write_text(text), PREDICTED


def edit_list_length(place: Place) -> Any:
    path = place.voc / "ImageSets" / "Segmentation" / "val.txt"
    ids = path.read_text().split()
    ids = ids[:-1] if len(ids) > 2 else [f"v{n}" for n in range(4)]
    return "length of val", path, lambda: path.write_text("\n".join(ids)), PREDICTED


def constant(name: str, old: str, steps: set[str]) -> Kind:
    def kind(place: Place) -> Any:
        path = place.mine / name
        head, _, rest = path.read_text().partition(f"{old} ")
        _, newline, rest = rest.partition("\n")
        text = f"{head}{old} = {place.number + 10}{newline}{rest}"
        return f"constant in {name}", path, lambda: path.write_text(text), steps

    return kind


def comment(name: str) -> Kind:
    def kind(place: Place) -> Any:
        path = place.mine / name
        text = f'"""Says {place.number}."""\n# Why {place.number}.\n\n{body(path)}'
        return f"comment in {name}", path, lambda: path.write_text(text), set()

    return kind


def body(path: Path) -> str:
    """Return a file without what `comment` has put before it."""
    text = path.read_text()
    return text.partition("\n\n")[2] if text.startswith('"""Says') else text


def edit_table(place: Place) -> Any:
    path = place.mine / "stale_table.json"
    text = json.dumps({"bonus": place.number})
    return "table beside the plugin", path, lambda: path.write_text(text), AFTER_REFINE


def edit_prior(place: Place) -> Any:
    path = place.mine / "prior" / place.rng.choice(["one.txt", "two.txt"])
    text = f"{place.number % 10}"
    return "file in a folder given", path, lambda: path.write_text(text), ALL


def edit_profile(place: Place) -> Any:
    path = place.folder / "stale_profile.py"
    name, steps = place.rng.choice(
        [("gain", ALL), ("level", AFTER_REFINE), ("shift", {"segment", *PREDICTED})]
    )
    head, _, rest = path.read_text().partition(f"{name}=")
    value = place.number if name == "shift" else round(place.rng.uniform(0.2, 1), 3)
    text = f"{head}{name}={value}){rest.partition(')')[2]}"
    return f"profile: {name}", path, lambda: path.write_text(text), steps


def edit_harness(place: Place) -> Any:
    name = place.rng.choice(sorted(HARNESS))
    path = place.site / "wsss_bench" / name
    function = HARNESS[name]
    if function.startswith("_"):
        more = f"\n{function} = {place.number}\n"
    else:
        more = UPSIDE_DOWN.format(n=place.number, name=function)
    text = path.read_text() + more
    return f"harness: {name}", path, lambda: path.write_text(text), None


def comment_harness(place: Place) -> Any:
    path = place.site / "wsss_bench" / place.rng.choice(sorted(HARNESS))
    text = path.read_text() + f"\n# {place.number}\n"
    return "comment in the harness", path, lambda: path.write_text(text), set()


KINDS: list[Kind] = [
    edit_mask,
    edit_mask,
    edit_photograph,
    edit_photograph,
    edit_label,
    edit_label_layout,
    edit_list,
    edit_list_length,
    constant("stale_helper.py", "OFFSET", ALL),
    constant("stale_late.py", "OFFSET", ALL),
    constant("stale_package/scale.py", "FACTOR", ALL),
    constant("stale_refining.py", "BONUS", AFTER_REFINE),
    constant("stale_segmenting.py", "TURN", {"segment", *PREDICTED}),
    constant("stale_unused.py", "NOTHING", set()),
    constant("stale_mine.py", "LEVEL", ALL),
    comment("stale_helper.py"),
    comment("stale_late.py"),
    comment("stale_mine.py"),
    edit_table,
    edit_prior,
    edit_profile,
    edit_harness,
    edit_harness,
    edit_harness,
    comment_harness,
]


EDITED = [
    ("pixels of a mask of the training list", "scores of seeds and labels"),
    ("pixels of a mask of val", "scores of val"),
    ("a photograph of the training list", "everything"),
    ("a photograph of val", "predictions, scores of val"),
    ("a label", "everything"),
    ("order or length of val's list", "predictions, scores of val"),
    (
        "a constant in the plugin, or in a module it imports",
        "what a stage that imports it leads to",
    ),
    (
        "a constant in a module that the plugin imports by a name put together",
        "as above",
    ),
    ("a table that a stage reads beside the plugin", "as above"),
    (
        "a file in a folder given as a parameter",
        "the stage with the parameter, and what follows",
    ),
    ("a value in a profile", "the stage with the parameter, and what follows"),
    (
        "a constant in a module of the harness",
        "the steps that rest on it, in a new process; an old one refuses",
    ),
    ("a comment, a docstring, a blank line in a module or in the labels", "nothing"),
    ("a module that nobody imports", "nothing"),
]
"""What the kinds come to, for the page; `judge` holds each edit to it."""


def run_once(place: Place, work: str) -> dict[str, Any]:
    """Run in this process; return the counts, the steps computed, and which steps rest on which of `HARNESS`."""
    from wsss_bench.results.records import COUNTS, load_records
    from wsss_bench.runs import pipeline
    from wsss_bench.runs.progress import Observer
    from wsss_bench.runs.request import DatasetRequest, RunRequest
    from wsss_bench.runs.session import Session

    computed = []

    class Seen(Observer):
        def step_done(self, cell: Any, step: Any, seconds: float, cached: bool) -> None:
            if not cached:
                computed.append(step.name)

    pipeline.predict_images = predict
    folder = place.folder / work
    request = RunRequest(
        methods=(f"stale_mine[prior_dir={place.mine / 'prior'}]",),
        dataset=DatasetRequest("voc2012", place.folder / "data"),
        profile=str(place.folder / "stale_profile.py"),
        plugins=(place.mine / "stale_mine.py",),
        work_dir=folder,
        device="cpu",
        workers=1,
    )
    session = Session(request)
    finish = session.run(lambda cells: Seen())
    if finish.failed:
        raise RuntimeError(str(finish.failed))
    (cell,) = session.cells
    records = load_records(folder / "leaderboards")
    (record,) = [one for one in records if one.run_id == cell.run_id]
    counts = {}
    for what in COUNTS:
        found = record.load_counts(what)
        if found is not None:
            rows = found.rows(found.ids)
            counts[what] = [list(found.ids), np.asarray(rows).tolist()]
    rests = {}
    for step in cell.steps:
        files = {str(file) for file in step.closure.files.values()}
        rests[step.name] = sorted(
            name for name in HARNESS if str(place.site / "wsss_bench" / name) in files
        )
    inputs = {step.name: sorted(step.inputs.values()) for step in cell.steps}
    return {"counts": counts, "computed": computed, "rests": rests, "inputs": inputs}


def predict(segmentor: Any, view: Any, out: Any, out_crf: Any, ctx: Any) -> None:
    """Stands in for the engine: labels that depend on the weights and on the photograph."""
    turn = int(Path(segmentor.checkpoint).read_text())
    for image in view:
        seen = (image.read().astype(np.int64).sum(2) + turn) % 3
        out.write(image.id, np.array([0, 8, 12], np.uint8)[seen])
    if out_crf is not None:
        predict(segmentor, view, out_crf, None, ctx)


class Worker:
    """A fork that runs what it is told, again and again, in one process."""

    def __init__(self, place: Place, compiled: Path | None = None) -> None:
        self.there, theirs = os.pipe()
        mine, self.here = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.there)
            os.close(self.here)
            if compiled is not None:
                sys.pycache_prefix = str(compiled)
            _serve(place, os.fdopen(mine), os.fdopen(theirs, "w"))
        os.close(theirs)
        os.close(mine)
        self.answers, self.orders = os.fdopen(self.there), os.fdopen(self.here, "w")

    def run(self, work: str) -> dict[str, Any]:
        print(work, file=self.orders, flush=True)
        answer: dict[str, Any] = json.loads(self.answers.readline())
        return answer

    def close(self) -> None:
        self.orders.close()
        os.waitpid(self.pid, 0)
        self.answers.close()


def _serve(place: Place, orders: Any, answers: Any) -> None:
    sys.path.insert(0, str(place.site))
    for order in orders:
        try:
            answer = run_once(place, order.strip())
        except BaseException:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)
    os._exit(0)


def _once(place: Place, work: str) -> dict[str, Any]:
    # Compiled modules of earlier runs are not for this one: it is to tell what the sources say.
    worker = Worker(place, place.folder / "compiled" / work)
    try:
        return worker.run(work)
    finally:
        worker.close()


def allowed_for(what: str, first: dict[str, Any]) -> set[str]:
    """Return the steps that rest on the module of the harness that was edited, and those that come after them."""
    module = what.removeprefix("harness: ").partition(",")[0]
    found: set[str] = set()
    for step, inputs in first["inputs"].items():
        if module in first["rests"][step] or found.intersection(inputs):
            found.add(step)
    return found


def main(folder: Path, edits: int, seed: int) -> dict[str, Any]:
    place = Place(folder, random.Random(seed))
    place.lay_out()
    os.chdir(folder)
    worker = Worker(place)
    first = worker.run("shared")
    if "error" in first:
        raise RuntimeError(first["error"])
    wrong, saved, log = [], 0, []
    for number in range(edits):
        what, allowed = place.edit()
        fresh = _once(place, f"fresh{number}")
        problem = ""
        if "harness" in what:
            # What a process has loaded stays as it is: it says so, or was not concerned.
            old = worker.run("shared")
            refused = "Start Python again" in old.get("error", "")
            problem = "" if refused else judge(what, ALL, first, old, fresh)
            worker.close()
            worker = Worker(place)
        again = worker.run("shared")
        problem = problem or judge(what, allowed, first, again, fresh)
        log.append(f"{what}: {again.get('computed')}")
        if problem:
            wrong.append({"edit": what, "problem": problem})
        saved += len(ALL) - len(again.get("computed", ALL))
        shutil.rmtree(folder / f"fresh{number}", ignore_errors=True)
        if "error" not in again:
            first = again
    worker.close()
    return {"edits": edits, "wrong": wrong, "steps_reused": saved, "log": log}


def judge(
    what: str,
    allowed: set[str] | None,
    first: dict[str, Any],
    again: dict[str, Any],
    fresh: dict[str, Any],
) -> str:
    for name, found in (("repeated", again), ("fresh", fresh)):
        if "error" in found:
            return f"{name}: {found['error'][-1500:]}"
    if again["counts"] != fresh["counts"]:
        return f"stale: computed {again['computed']} only"
    if allowed is None:
        allowed = allowed_for(what, first)
    more = set(again["computed"]) - allowed
    return f"computed {sorted(more)} for nothing" if more else ""


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
