"""Losses and learning rates of a run's trainings, from the store: as tables, and drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.engine.logged import COUNT, LOSSES, read_losses
from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.io.files import read_json
from wsss_bench.runs.ledger import read_cell
from wsss_bench.runs.request import store_of
from wsss_bench.runs.store.folders import TRAINING, TRAININGS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATE = "lr"

FORMATS = (".png", ".svg", ".pdf")
"""How the name of a drawing may end."""

_INCHES = (7.0, 2.6)
"""Width, and height of one training's panel."""


@dataclass(frozen=True)
class Curve:
    """What one training logged.

    Attributes:
        step: the stage that it belongs to: ``localize``, ``segment.2``.
        name: tells the trainings of a stage apart.
        path: the table.
        columns: ``iteration``, ``lr``, and the losses by name, of one length; NaN where a loss was not there.
    """

    step: str
    name: str
    path: Path
    columns: Mapping[str, Sequence[float]]

    @property
    def losses(self) -> list[str]:
        """The names of the losses; the sum of all, ``loss``, comes first."""
        names = [name for name in self.columns if name not in (COUNT, RATE)]
        return sorted(names, key=lambda name: name != "loss")


def curves_of(name: str, work_dir: Path) -> list[Curve]:
    """Return the curves of a run's trainings, in the order of its stages; also of one that is not finished.

    Args:
        name: a cell or a run of the work dir, by id, by the beginning of one, or by a recipe that it ran once.
        work_dir: whose store they are in.

    Raises:
        RecipeError: there is no such cell.
        ArtifactError: none of its stages has any, or a table is damaged.
    """
    cell = read_cell(work_dir, name)
    found = []
    for step in cell["steps"]:
        folder = store_of(work_dir).root / step["stage"] / step["key"][:16]
        for place, path in _tables(folder, work_dir):
            title = path.relative_to(place).as_posix().removesuffix(".csv")
            found.append(Curve(step["name"], title, path, read_losses(path)))
    if not found:
        what = f"{cell['cell']} has no losses in {store_of(work_dir).root}."
        why = "Its methods train nothing, or its stages are gone or of an earlier version."
        raise ArtifactError(f"{what} {why} Run it again to have them.")
    return found


def _tables(folder: Path, work_dir: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the tables of a stage's folder, those of the kept trainings that it used among them, after their folder."""
    places = [folder / "out" / LOSSES]
    used = folder / TRAININGS
    for key in dict(read_json(used)).values() if used.is_file() else ():
        kept = store_of(work_dir).root / TRAINING / str(key)[:16]
        places.append(kept / "out" / LOSSES)
    for place in places:
        for path in sorted(place.rglob("*.csv")):
            yield place, path


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Draw every training in a panel of its own: losses, and the learning rate on an axis to the right.

    Raises:
        DataError: `path` ends in none of `FORMATS`, or cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        known = ", ".join(FORMATS)
        raise DataError(f"--out {path}: curves are drawn as {known}. Rename it.")
    from matplotlib.figure import Figure

    width, height = _INCHES
    # A figure of its own, without pyplot: nothing is left open, and no window system is asked for.
    figure = Figure((width, height * len(curves)), layout="constrained")
    panels = figure.subplots(len(curves), squeeze=False)
    for curve, axes in zip(curves, panels[:, 0], strict=True):
        _draw_one(curve, axes)
    _save(figure, path)


def _draw_one(curve: Curve, axes: Axes) -> None:
    steps = curve.columns[COUNT]
    lines = []
    for name in curve.losses:
        lines += axes.plot(steps, curve.columns[name], label=name)
    axes.set_title(f"{curve.step}: {curve.name}")
    axes.set_xlabel(COUNT)
    axes.set_ylabel("loss")
    if RATE in curve.columns:
        right = axes.twinx()
        rates = curve.columns[RATE]
        lines += right.plot(steps, rates, color="0.6", linestyle="--", label=RATE)
        right.set_ylabel("learning rate")
    axes.legend(handles=lines, fontsize="small")


def _save(figure: Figure, path: Path) -> None:
    from matplotlib import rc_context

    # Without the time of drawing: the same curves give the same file.
    dated = {".svg": "Date", ".pdf": "CreationDate"}.get(path.suffix.lower())
    metadata: dict[str, Any] = {dated: None} if dated else {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without it the parts of an SVG are called by random words.
        with rc_context({"svg.hashsalt": "wsss-bench"}):
            figure.savefig(path, metadata=metadata)
    except OSError as error:
        what = f"cannot write {path}: {error.strerror}."
        raise DataError(f"{what} Choose another place for --out.") from error
