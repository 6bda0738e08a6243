"""One run from request to boards: plan, queue, signals, records, tables."""

from __future__ import annotations

import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.errors import WsssError
from wsss_bench.runs import ranks
from wsss_bench.runs.executors.jobs import CellJob, CellWorker, Outcome, log_path
from wsss_bench.runs.executors.local import LocalExecutor
from wsss_bench.runs.progress import Observer, Say, silent
from wsss_bench.runs.request import (
    RunRequest,
    make_cells,
    resolve_device,
    store_of,
)
from wsss_bench.runs.space import space_for
from wsss_bench.runs.stopping import interruptible
from wsss_bench.runs.unused import unused_flags

if TYPE_CHECKING:
    from wsss_bench.results.records import RunRecord
    from wsss_bench.runs.cost import Cost
    from wsss_bench.runs.plan import Cell

PROBED = 20
"""Images of each split, at least, that a rehearsal for `Session.cost` has."""

Display = Callable[[Sequence["Cell"]], Observer]
"""Makes whoever watches the run; called once all cells are known and nothing is computed yet."""


@dataclass(frozen=True)
class Finish:
    """How a session ended.

    Attributes:
        failed: failures by cell id.
        page: the page of its board; None where nothing was recorded.
        unbuilt: why the boards could not be built; the records are there all the same.
    """

    failed: dict[str, str]
    page: Path | None = None
    unbuilt: WsssError | None = None


class Session:
    """Plans a request when it is made, and runs it when told to.

    Attributes:
        request: what was asked for.
        cells, source, refused: what the request comes to; see `wsss_bench.runs.request.Planned`.
        store: the finished and unfinished stages.
        space: the room that the stages will take which are to be computed.
    """

    def __init__(self, request: RunRequest, say: Say = silent) -> None:
        """Plan everything; `say` hears of the dataset's preparation, of what is doubtful and what has no effect.

        Raises:
            RecipeError, PluginError, DataError, ArtifactError: the request cannot be run to its end; nothing was
                computed.
        """
        ranks.check_leads()
        # A launcher's number is one that may be in conflict with the request's.
        gpus = ranks.gpus_of(request.gpus)
        ranks.hush(gpus)
        self.request = request
        self._planned = make_cells(request, say)
        self.cells, self.source, self.refused = self._planned
        self.store = store_of(request.work_dir)
        ranks.check_batches(self.cells, self.store, gpus)
        self.space = space_for(self.cells, self.source, self.store, request.work_dir)
        for line in self._notes():
            say(line)

    def _notes(self) -> Iterator[str]:
        """Yield what the user should know before it starts; raises `ArtifactError` where there is no room."""
        warning = self.space.check()
        if warning:
            yield f"warning: {warning}"
        # A plugin that is broken may be the one that an option was meant for.
        if self.refused:
            return
        plugins, log = self.request.plugins, self.request.log
        for line in unused_flags(plugins, log, self.cells, self.store):
            yield f"note: {line}"

    def cost(self, *, probe: bool = False) -> Cost:
        """Return what the steps that are not finished will take, told from records on the device of the request.

        Args:
            probe: rehearse the recipes first, on a few images in a folder that is deleted, and tell from that too.

        Raises:
            RecipeError: the device is not there.
        """
        from wsss_bench.results.records import load_records
        from wsss_bench.runs.cost import cost_of
        from wsss_bench.runs.provenance.facts import device_name

        records = load_records(self.request.boards)
        if probe:
            records += _rehearsed(self.request)
        # Looking for a GPU takes seconds, which nobody needs to spend where nothing can be told.
        device = self.request.device
        if records:
            device = device_name(resolve_device(device))
        sizes = {
            "train": len(self.source.train),
            "seeds": len(self.source.scored),
            "val": len(self.source.val),
        }
        return cost_of(self.cells, sizes, self.store, records, device)

    def run(self, display: Display | None = None, *, hard: bool = False) -> Finish:
        """Compute and record every cell, then build the boards; a failing cell does not stop the others.

        SIGTERM ends a run as Ctrl-C does: with everything finished kept, and a `KeyboardInterrupt`.

        Args:
            display: makes whoever watches the run.
            hard: end the process within seconds of such a signal (see `interruptible`).

        Raises:
            RecipeError: the device is not there.
        """
        request = replace(self.request, device=resolve_device(self.request.device))
        make = display or (lambda cells: Observer())
        with (
            closing(make(self.cells)) as observer,
            interruptible(hard=hard),
            _no_workers_left(),
            ranks.dismissing(),
        ):
            worker = CellWorker(request, self._planned, observer)
            failed = self._work_through(LocalExecutor(), worker, request)
        if len(failed) == len(self.cells):
            return Finish(failed)
        try:
            self._build_boards()
        except WsssError as error:
            # One folder may hold records that do not go together, and these here need not be to blame.
            return Finish(failed, unbuilt=error)
        page = request.boards / f"{self.cells[0].dataset}.md"
        return Finish(failed, page if page.exists() else None)

    def log_path(self, cell: Cell) -> Path:
        """Return where the log of a cell is."""
        return log_path(self.request, cell.id)

    def _work_through(
        self, executor: Executor, worker: CellWorker, request: RunRequest
    ) -> dict[str, str]:
        """Run every cell and return what made some fail, by cell id."""
        failed: dict[str, str] = {}
        queue, put_off = deque(cell.id for cell in self.cells), 0
        while queue:
            cell = queue.popleft()
            # Another process may be at work on a cell: that one comes later. Wait only where others are at work on all
            # that are left.
            patient = put_off > len(queue)
            job = CellJob(request, cell, patient)
            outcome: Outcome = executor.submit(worker.run, job).result()
            if outcome.busy:
                queue.append(cell)
                put_off += 1
                continue
            put_off = 0
            if outcome.error is not None:
                failed[cell] = outcome.error
        return failed

    def _build_boards(self) -> None:
        from wsss_bench.boards import build
        from wsss_bench.io.files import drop_leftovers
        from wsss_bench.io.locking import locked

        boards = self.request.boards
        with locked(boards):
            # A killed process may have left half a table; nobody else writes while the folder is held.
            drop_leftovers(boards, ".")
            build(boards)


def _rehearsed(request: RunRequest) -> list[RunRecord]:
    """Run a request on `PROBED` images in a folder of its own and return the records; nothing else is left."""
    from wsss_bench.results.records import load_records

    with tempfile.TemporaryDirectory(prefix="wsss-bench-probe-") as folder:
        place = Path(folder)
        small = replace(
            request,
            dataset=replace(request.dataset, limit=PROBED),
            seeds=request.seeds[:1],
            work_dir=place,
            leaderboard_dir=place / "boards",
            log=("local",),
            command_line=(),
        )
        Session(small).run()
        return load_records(small.boards)


@contextmanager
def _no_workers_left() -> Iterator[None]:
    """End the worker processes of the run with it."""
    try:
        yield
    finally:
        # A run whose stages were all in the store has never asked for any.
        pool = sys.modules.get("wsss_bench.toolbox.pool")
        if pool is not None:
            pool.close_pool()
