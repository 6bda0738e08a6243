"""Several processes, each on a GPU of its own, in the trainings of one run: who they are, and how they start and end.

Rank 0 is the run; the others follow its trainings and do nothing else (`wsss_bench.engine.team`). A launcher such as
torchrun starts them all and says so in the environment; else the run starts the others itself when the first training
begins, as ``python -m wsss_bench.runs.ranks``.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.errors import PluginError, RecipeError, WsssError

if TYPE_CHECKING:
    from wsss_bench.contract.context import Ranks
    from wsss_bench.engine.team import Team
    from wsss_bench.runs.plan import Cell
    from wsss_bench.runs.store.folders import Store

HOST = "127.0.0.1"

END = 2.0
"""Seconds that a process gets to end before it is killed."""


def launched() -> int:
    """Return how many processes a launcher has started for one run; 1 where there was none."""
    if "RANK" not in os.environ:
        return 1
    return int(os.environ.get("WORLD_SIZE", "1"))


def follows() -> bool:
    """Return whether this process was launched to follow the trainings of another one."""
    return launched() > 1 and int(os.environ["RANK"]) > 0


def check_leads() -> None:
    """Raise `RecipeError` in a process that was launched to follow: two that lead would get in each other's way."""
    if follows():
        what = f"process {os.environ['RANK']} was launched to share a run's trainings, and cannot start a run."
        raise RecipeError(f"{what} Launch `-m wsss_bench run`, or say gpus=N.")


def gpus_of(asked: int | None) -> int:
    """Return how many processes train together: as many as were launched, else what was asked for.

    Raises:
        RecipeError: the two differ.
    """
    started = launched()
    if asked is None or started == 1:
        return asked or started
    if asked != started:
        what = f"--gpus {asked}, but the launcher has started {started} processes."
        raise RecipeError(f"{what} Leave out --gpus.")
    return started


def hush(gpus: int) -> None:
    """Keep torch from telling a terminal, once for each training, that it looks for unused parameters."""
    if gpus > 1:
        # Read when torch is imported, which a run does later than this.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def check_gpus(gpus: int, device: str) -> None:
    """Raise `RecipeError` where this machine has too few GPUs for one training; `device` is a resolved one."""
    if gpus == 1 or device == "cpu":
        return
    if ":" in device:
        what = f"--gpus {gpus} with --device {device}: one training uses several cards."
        fix = "Say --device cuda, and choose cards with CUDA_VISIBLE_DEVICES."
        raise RecipeError(f"{what} {fix}")
    import torch

    here = int(os.environ.get("LOCAL_WORLD_SIZE", gpus))
    count = torch.cuda.device_count()
    if here > count:
        raise RecipeError(
            f"--gpus {gpus}: this machine has {count} CUDA devices. Use --gpus {max(1, count)}."
        )


def check_batches(cells: Sequence[Cell], store: Store, gpus: int) -> None:
    """Raise `RecipeError` for the first batch of a stage to be computed that `gpus` processes cannot share evenly."""
    if gpus == 1:
        return
    from wsss_bench.engine.ranks import check_share

    for cell in cells:
        for step in cell.steps:
            if step.method is None or store.folder(step.spec).commit_record():
                continue
            for name, batch in _batches(step.handed).items():
                check_share(batch, gpus, f"{cell.label}: {step.name}.{name}")


def _batches(params: Mapping[str, Any]) -> dict[str, int]:
    found = {}
    for name, value in params.items():
        named = name == "batch" or name.endswith("_batch")
        if named and isinstance(value, int):
            found[name] = value
    return found


_team: Team | None = None


def team_of(gpus: int, plugins: Sequence[Path] = ()) -> Ranks | None:
    """Return the processes that train together under this one, None where it trains alone; they start when needed."""
    global _team
    if gpus == 1:
        return None
    from wsss_bench.engine.team import Team

    if _team is None or _team.world != gpus or _team.plugins != tuple(plugins):
        dismiss()
        recruit = Launched if launched() > 1 else lambda: Started(gpus)
        _team = Team(gpus, recruit, tuple(plugins))
        atexit.register(dismiss)
    return _team


def dismiss() -> None:
    """Let the processes end that follow this one."""
    global _team
    if _team is not None:
        _team.close()
    _team = None
    atexit.unregister(dismiss)


@contextmanager
def dismissing() -> Iterator[None]:
    """Dismiss whoever follows this process when the block ends, however it ends."""
    try:
        yield
    finally:
        dismiss()


class Launched:
    """The processes that a launcher has started; it looks after them."""

    def __init__(self) -> None:
        self.store = _rendezvous()

    def gone(self) -> str:
        """Return nothing: the launcher ends this process when another one is gone."""
        return ""

    def end(self) -> None:
        """Leave it to them: they have been told."""

    def replaceable(self) -> bool:
        """Return false: only the launcher can start others."""
        return False


def _rendezvous() -> Any:
    from torch.distributed import rendezvous

    # Address, port and ranks are in the environment; torchrun itself has the store.
    store, _, _ = next(iter(rendezvous("env://")))
    return store


class Started:
    """Processes on this machine, one for each GPU but the first, which end with this one."""

    def __init__(self, world: int) -> None:
        from torch.distributed import TCPStore

        self.store = TCPStore(HOST, 0, world, is_master=True, wait_for_workers=False)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._says: list[Any] = []
        try:
            for rank in range(1, world):
                self._start(rank, world)
        except BaseException:
            self.end()
            raise

    def _start(self, rank: int, world: int) -> None:
        place = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": world,
            "LOCAL_WORLD_SIZE": world,
            "MASTER_ADDR": HOST,
            "MASTER_PORT": self.store.port,
        }
        words = {name: str(value) for name, value in place.items()}
        # What libraries say there would come between the lines of the run; it is asked for if the process dies.
        says = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._says.append(says)
        process = subprocess.Popen(
            [sys.executable, "-m", "wsss_bench.runs.ranks"],
            env={**os.environ, **words},
            stdin=subprocess.DEVNULL,
            stdout=says,
            stderr=says,
        )
        self._processes.append(process)

    def gone(self) -> str:
        """Return how the first process that is gone has ended, and its last words."""
        for rank, process in enumerate(self._processes, start=1):
            status = process.poll()
            if status is None:
                continue
            how = f"with status {status}"
            if status < 0:
                how = f"by {signal.Signals(-status).name}"
            what = f"process {rank} of the training was ended {how}."
            return f"{what} {_last_line(self._says[rank - 1])}".strip()
        return ""

    def replaceable(self) -> bool:
        """Return true: they are this process's own."""
        return True

    def end(self) -> None:
        """End all of them now: whatever they do is of no use without this process."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for says in self._says:
            says.close()
        self._processes, self._says = [], []


def _last_line(says: Any) -> str:
    says.seek(0)
    lines = says.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def follow() -> int:
    """Follow the trainings of rank 0 until it is done; returns the exit status."""
    hush(launched())
    from wsss_bench.engine.team import serve

    # Ctrl-C reaches every process of a terminal; rank 0 says what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rank = int(os.environ["RANK"])
    serve(_store(), rank, launched(), _load)
    return 0


def _store() -> Any:
    try:
        return _rendezvous()
    except RuntimeError as error:
        what = f"process {os.environ['RANK']} cannot reach process 0 ({error})."
        raise RecipeError(
            f"{what} Start both with one launcher, or with --gpus."
        ) from error


_loaded: set[Path] = set()


def _load(plugins: Sequence[Path]) -> None:
    """Load methods from files, so that their classes are known here."""
    from wsss_bench.methods.catalog import load_file

    for path in plugins:
        if path in _loaded:
            continue
        _loaded.add(path)
        try:
            load_file(path)
        except PluginError:
            # The run goes on without a broken file, and says so.
            continue


if __name__ == "__main__":
    # As a module of its own name, for what is loaded here is looked up by name.
    from wsss_bench.runs import ranks

    try:
        sys.exit(ranks.follow())
    except WsssError as error:
        sys.exit(str(error))
