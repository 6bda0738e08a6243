"""One cell as a job: what an executor hands to whichever process computes it, and what comes back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.errors import ArtifactError, disk_error
from wsss_bench.io.locking import locked
from wsss_bench.runs import ranks
from wsss_bench.runs.ledger import note_failure, note_finished, note_start
from wsss_bench.runs.pipeline import CellFailed, CellRunner, Settings, StageBusy
from wsss_bench.runs.progress import Observer
from wsss_bench.runs.recording import record_run
from wsss_bench.runs.request import (
    Planned,
    RunRequest,
    make_cells,
    resolve_device,
    store_of,
)

if TYPE_CHECKING:
    from wsss_bench.runs.plan import Cell, Step

LOGS = "logs"
"""The folder of the cells' log files in a work dir."""


@dataclass(frozen=True)
class CellJob:
    """One cell of a request. Can be pickled: whoever gets it plans the request anew and looks the cell up by its id.

    Attributes:
        request: what the whole run was asked for.
        cell: id of the cell to compute.
        patient: whether to wait for another process that is at work on one of its stages.
    """

    request: RunRequest
    cell: str
    patient: bool = True


@dataclass(frozen=True)
class Outcome:
    """How a job ended: recorded as run `run_id`, failed with `error`, or, with neither, put off. Can be pickled."""

    cell: str
    run_id: str | None = None
    error: str | None = None

    @property
    def busy(self) -> bool:
        """Whether another process is at work on the cell and the job was not to wait."""
        return self.run_id is None and self.error is None


class CellWorker:
    """Computes and records the cells of one request in this process.

    It remembers the stages that failed here: cells that share one fail at once, instead of after the same hours again.
    """

    def __init__(
        self, request: RunRequest, planned: Planned, observer: Observer | None = None
    ) -> None:
        self._request, self._source = request, planned.source
        self._cells = {cell.id: cell for cell in planned.cells}
        self._observer = observer or Observer()
        self._store = store_of(request.work_dir)
        self._device = resolve_device(request.device)
        self._gpus = ranks.gpus_of(request.gpus)
        ranks.check_gpus(self._gpus, self._device)
        self._broken: dict[str, Exception] = {}

    def run(self, job: CellJob) -> Outcome:
        """Compute what is missing of a cell, record it, and return how that ended; Ctrl-C propagates."""
        cell = self._cells[job.cell]
        try:
            return Outcome(cell.id, run_id=self._recorded(cell, job.patient))
        except StageBusy:
            return Outcome(cell.id)
        except Exception as error:
            return Outcome(cell.id, error=str(error))

    def _recorded(self, cell: Cell, patient: bool) -> str:
        """Return the run id; raises what made the cell fail, with the cell's file already saying so."""
        request = self._request
        note_start(request.work_dir, cell, request.words)
        self._observer.cell_started(cell)
        with log_file(log_path(request, cell.id)) as log:
            try:
                path = self._compute(cell, log, patient)
            except StageBusy:
                raise
            except Exception as error:
                raise self._failed(cell, error, log) from None
        run_id = path.parent.name
        note_finished(request.work_dir, cell, run_id)
        self._observer.cell_done(cell)
        return run_id

    def _compute(self, cell: Cell, log: logging.Logger, patient: bool) -> Path:
        request = self._request
        settings = Settings(
            self._device,
            request.processes,
            request.log,
            log,
            # Beside the cell's log file, where nothing is deleted when a stage is done.
            logs=log_path(request, cell.id).with_suffix(""),
            ranks=ranks.team_of(self._gpus, request.plugins),
        )
        runner = CellRunner(
            cell,
            self._source,
            self._store,
            settings,
            self._observer,
            self._broken,
            patient=patient,
        )
        finished = runner.run()
        # Records and tables are shared by all processes that write to this folder.
        with locked(request.boards):
            return record_run(
                finished, self._source, request.boards, request.words, self._device
            )

    def _failed(self, cell: Cell, error: Exception, log: logging.Logger) -> Exception:
        """Note and show why the cell failed; returns the error that is to blame."""
        step: Step | None = None
        if isinstance(error, CellFailed) and isinstance(error.__cause__, Exception):
            step, cause = error.step, error.__cause__
        else:
            log.error("recording failed", exc_info=error)
            cause = disk_error(error, "record") or error
        # On a full disk the note fails too, and must not hide the reason.
        with suppress(ArtifactError):
            note_failure(self._request.work_dir, cell, step, cause)
        self._observer.cell_failed(cell, step, cause)
        return cause


_worker: CellWorker | None = None
_worker_request: RunRequest | None = None


def run_job(job: CellJob) -> Outcome:
    """Run a job in a process that knows nothing of the run yet; the plan is kept for the next job of the request."""
    global _worker, _worker_request
    if _worker is None or _worker_request != job.request:
        _worker = CellWorker(job.request, make_cells(job.request))
        _worker_request = job.request
    return _worker.run(job)


def log_path(request: RunRequest, cell_id: str) -> Path:
    """Return where the log of a cell goes."""
    return request.work_dir / LOGS / f"{cell_id}.log"


class _LogFile(logging.FileHandler):
    """A log that cannot be written (full disk) is no reason to print tracebacks between the lines of the run."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, or lose it."""
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Lose the line."""


@contextmanager
def log_file(path: Path) -> Iterator[logging.Logger]:
    """Lend the run's logger, with its lines going to `path`; raises `ArtifactError` where the folder cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"cannot write {path}: {error.strerror}. Choose another --work-dir."
        ) from error
    log = logging.getLogger("wsss_bench")
    handler = _LogFile(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    # A notebook that runs this has its own logging, which must be as it was afterwards.
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield log
    finally:
        level, log.propagate = before
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()
