"""Run records: what one finished cell (recipe x seed x dataset) leaves behind, and all that a board is built from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.errors import ArtifactError, DataError, did_you_mean
from wsss_bench.evaluate import PROTOCOL
from wsss_bench.results.soundness import COUNTS, FIELDS, ORIGINS, SCHEMA, problems

if TYPE_CHECKING:
    from wsss_bench.evaluate import Counts, ThresholdCurve

__all__ = [
    "COUNTS",
    "ORIGINS",
    "RECORD",
    "RUNS",
    "SCHEMA",
    "RunRecord",
    "by_dataset",
    "find_run",
    "load_record",
    "load_records",
    "problems",
    "save_record",
]

RECORD = "record.json"
RUNS = "runs"


@dataclass(frozen=True)
class RunRecord:
    """One run of one recipe with one seed on one dataset.

    Attributes:
        run_id: folder name of the run, unique within the dataset.
        recipe: the recipe as typed, e.g. ``"dsrg"`` or ``"vwe/irn/deeplab[lr=0.01]"``.
        picks: the method that ran each of ``localize``, ``refine``, ``segment``; None for a stage left out.
        dataset: ``name``, ``kind``, ``splits`` (``train``, ``seeds``, ``val``), ``sizes`` (images per split),
            ``classes`` (by mask id), ``fingerprint``, ``labels`` (where image-level labels come from), ``options`` (the
            loader's, as given), ``skipped`` (ids left out by a skip list), ``limit`` (images per split of a rehearsal)
            and ``truth`` (for ``seeds`` and ``val`` the convention of their masks, such as
            ``"SegmentationClass, border 255 ignored"``).
        seed: the run's seed.
        profile: name of the set of defaults in force (e.g. ``quick``, ``full``).
        protocol: version of the evaluation rules the counts were made under.
        cards: per stage, the method's card: ``name``, ``version``, ``paper``, ``supervision`` (list), ``extra_data``,
            ``notes``, ``distribution``.
        columns: what decides fairness: ``supervision``, ``extra_data``, ``backbone``, ``segmentor``, ``pretraining``,
            ``crf``, ``multi_scale`` (text; ``-`` where no segmentor is trained) and ``rounds`` (int).
        params: per stage, every parameter in force; passed: per stage, those the user typed.
        thresholds: ``fixed``, the background threshold the recipe declares.
        counts: which of `COUNTS` were scored, and the file beside the record that holds them.
        curve: file of the seeds' threshold curve, or None.
        cost: per stage ``seconds`` and ``peak_mb``.
        device: ``"cpu"`` or the accelerator's name.
        machine: the hardware: ``cpu``, ``cores``, ``usable_cores``, ``memory_gib``, ``gpus``, and ``environment``, the
            variables set here that can change a number or its cost.
        code: per stage, the digest of engine and toolbox it was computed with (plugins have theirs on their cards).
        files: per stage, the data files it opened through Python: ``files`` (how many), ``folders`` (how many in each,
            below the data root) and ``sha256`` of the sorted list; the list itself stays in the store.
        keys: per stage, the key its artifact is stored under.
        command: the command line as a list.
        versions: versions of the packages that matter.
        finished: ISO date and time.
        origin: ``measured`` by the harness, or ``imported`` from other people's files.
        inputs: digests of what was read: ``data.ROLE.PART`` for the dataset's ids, labels, images and masks,
            ``STAGE.PARAMETER`` for files and folders given as parameters.
        modules: digests of the code that was run, by module.
        overridden: per stage, the parameters of which a profile replaced the method's own default: ``[own, in force]``.
        notes: sentences about the run that a reader of its numbers should know.
    """

    run_id: str
    recipe: str
    picks: Mapping[str, str | None]
    dataset: Mapping[str, Any]
    seed: int
    profile: str
    columns: Mapping[str, Any]
    protocol: str = PROTOCOL
    cards: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    passed: Mapping[str, Any] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, str] = field(default_factory=dict)
    curve: str | None = None
    cost: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    device: str = "cpu"
    machine: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    finished: str = ""
    origin: str = "measured"
    schema: int = SCHEMA
    inputs: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    overridden: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    folder: Path | None = field(default=None, compare=False)

    @property
    def dataset_name(self) -> str:
        """What the dataset is called: runs of one name share a board."""
        return str(self.dataset["name"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by mask id."""
        return tuple(self.dataset["classes"])

    def load_counts(self, what: str) -> Counts | None:
        """Return the counts of one of `COUNTS`, or None where it was not scored.

        Raises:
            ArtifactError: the file is missing, malformed, or of other classes than the record's.
        """
        from wsss_bench.evaluate import Counts

        if what not in self.counts:
            return None
        found = Counts.load(self._path(self.counts[what]))
        self._same_classes(found.classes, self.counts[what])
        return found

    def load_curve(self) -> ThresholdCurve | None:
        """Return the seeds' threshold curve, or None where there is none; raises as `load_counts` does."""
        from wsss_bench.evaluate import ThresholdCurve

        if self.curve is None:
            return None
        found = ThresholdCurve.load(self._path(self.curve))
        self._same_classes(found.classes, self.curve)
        return found

    def _path(self, name: str) -> Path:
        # A record that was just made knows its files only once it is written.
        if self.folder is None:
            raise ArtifactError(
                f"record {self.run_id!r} was not read from a folder, so {name} cannot be found. Use load_records."
            )
        return self.folder / name

    def _same_classes(self, found: tuple[str, ...], name: str) -> None:
        if found != self.classes:
            raise ArtifactError(
                f"{self._path(name)} counts other classes than its record names. Delete {self.folder} and run again."
            )


def save_record(leaderboard_dir: Path, record: RunRecord) -> Path:
    """Write ``runs/<dataset>/<run_id>/record.json``, last of all files of the run, and return its path.

    Raises:
        ArtifactError: the record is unsound, or a counts file it names is not there yet.
    """
    from wsss_bench.io.files import write_json

    payload = asdict(record)
    payload["command"] = list(record.command)
    payload["notes"] = list(record.notes)
    # Where a record lies is not part of it: folders may be moved.
    payload.pop("folder")
    # `get`: a record without a name is refused below, with all else that is wrong with it.
    name = str(record.dataset.get("name"))
    folder = leaderboard_dir / RUNS / name / record.run_id
    wrong = problems(payload)
    files = [*record.counts.values()]
    if record.curve:
        files.append(record.curve)
    # The record comes last, so that whoever finds one finds a run that is complete.
    for file in files:
        if not (folder / file).is_file():
            wrong.append(
                f"{file} is not in the run's folder; write it before the record."
            )
    if wrong:
        raise ArtifactError(f"run record {record.run_id!r}: {' '.join(wrong)}")
    write_json(folder / RECORD, payload)
    return folder / RECORD


def load_record(path: Path) -> RunRecord:
    """Read one ``record.json``; raises `ArtifactError` that names the file and everything wrong with it."""
    from wsss_bench.io.files import read_json

    payload = read_json(path)
    wrong = problems(payload) or _misplaced(path, payload)
    if wrong:
        raise ArtifactError(
            f"run record {path}: {' '.join(wrong)} Delete the folder and run the recipe again, or restore it."
        )
    # Fields of a later version that are unknown here are let pass: a new field does not make a new schema.
    known = {name: payload[name] for name in FIELDS if name in payload}
    known["command"] = tuple(payload.get("command", ()))
    known["notes"] = tuple(payload.get("notes", ()))
    return RunRecord(**known, folder=path.parent)


def _misplaced(path: Path, payload: Mapping[str, Any]) -> list[str]:
    """Return a complaint where a record lies in another folder than it names: a copy would count as a second run."""
    here = f"{path.parent.parent.name}/{path.parent.name}"
    wanted = f"{payload['dataset']['name']}/{payload['run_id']}"
    return [] if here == wanted else [f"it lies in {here}, not {wanted}."]


def load_records(leaderboard_dir: Path, dataset: str | None = None) -> list[RunRecord]:
    """Return all records under ``runs/``, or those of one dataset, ordered by dataset and run id.

    Raises:
        ArtifactError: one of them is unsound.
    """
    pattern = f"{RUNS}/{dataset or '*'}/*/{RECORD}"
    # By the names alone, not by the path before them: boards must not depend on where they are built.
    paths = sorted(leaderboard_dir.glob(pattern), key=lambda path: path.parts[-3:])
    return list(map(load_record, paths))


def by_dataset(records: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Return the records of each dataset by its name, in the order given."""
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        found.setdefault(record.dataset_name, []).append(record)
    return found


def find_run(name: str, leaderboard_dir: Path) -> RunRecord:
    """Return the record of a run by its folder or ``record.json``, by its id, or by a recipe that was run once.

    Raises:
        ArtifactError: the record is unsound.
        DataError: there is none of that name, or more than one.
    """
    place = Path(name)
    if place.name == RECORD and place.is_file():
        return load_record(place.resolve())
    if (place / RECORD).is_file():
        return load_record(place.resolve() / RECORD)
    records = load_records(leaderboard_dir)
    by_id = [record for record in records if record.run_id == name]
    found = by_id or [record for record in records if record.recipe == name]
    if len(found) == 1:
        return found[0]
    if not found:
        raise _unknown(name, leaderboard_dir, records)
    places = ", ".join(str(record.folder) for record in found)
    times = f"was run {len(found)} times"
    what = "exists for several datasets" if by_id else times
    raise DataError(f"run {name!r} {what}. Name the folder: {places}")


def _unknown(
    name: str, leaderboard_dir: Path, records: Sequence[RunRecord]
) -> DataError:
    known = [record.run_id for record in records]
    known += [record.recipe for record in records]
    return DataError(
        f"there is no run {name!r} in {leaderboard_dir / RUNS}, nor a folder of that name."
        f"{did_you_mean(name, known)}"
    )
