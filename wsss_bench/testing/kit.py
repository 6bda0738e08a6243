"""`check_method`: the conformance kit's one entry."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.contract.names import STAGES
from wsss_bench.errors import PluginError, WsssError
from wsss_bench.testing.judge import Evidence, judge, unloadable
from wsss_bench.testing.report import Report

if TYPE_CHECKING:
    from wsss_bench.methods.catalog import LoadedMethod
    from wsss_bench.testing.sandbox import Sandbox

PROFILES = ("shapes", "check")
"""Two profiles, the later over the earlier: sizes for the drawn data, then lengths for a check."""

_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def check_method(
    method: str | Path | object,
    *,
    files: Sequence[Path] = (),
    params: Mapping[str, Mapping[str, Any]] | None = None,
    full: bool = False,
    keep: Path | None = None,
    timeout: float = 900.0,
) -> Report:
    """Check a method against everything `wsss_bench.testing.report.CHECKS` names; on a CPU, in processes of its own.

    The data are 16 drawn photographs of 64 pixels; trainings run eight iterations (profile ``check``), so the scores
    mean nothing: a method that learns is only said to beat a trivial answer or not to be told apart from it. `full`
    adds the embedded data at their usual size and length (minutes), where it must beat it.

    A stage is run by the same code as in a run, so a plugin that passes here keeps its trainings, has its masks
    sealed and its results checked as there. Each stage is killed on its way, in the middle of each kept training too,
    and run again. Where the card declares ``saliency`` as supervision, maps of the training images are drawn, and
    their folder is handed to every stage that has a parameter ``saliency_dir`` (unless `params` names another one).

    Args:
        method: a name from an entry point; the path of a ``.py`` file; or a plugin object that a module holds by name.
        files: local plugin files to load besides (for a name).
        params: parameters by stage, laid over those of the profile, to check other ways through the method:
            ``check_method("mine", params={"localize": {"scales": [1.0]}, "segment": {"rounds": 2}})``. A name that
            the method does not have, or a value of another type, is an error like on the command line.
        full: also run at the usual size, and require to beat the trivial answer there.
        keep: leave everything that was made in this folder (which must not exist); default: a folder that is deleted.
        timeout: seconds that one stage may take on the small data.

    Returns:
        The report; a method that cannot be loaded has one too. Use ``check_method(...).require()`` in a test.
    """
    from wsss_bench.methods.catalog import Catalog

    start = time.monotonic()
    try:
        name, local = _target(method, files)
        loaded = Catalog(local=local).load(name)
    except WsssError as error:
        return unloadable(str(method), error, time.monotonic() - start)
    with ExitStack() as stack:
        root = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(
                    prefix="wsss-check-", ignore_cleanup_errors=True
                )
            )
        )
        bench = _Bench(loaded, local, root, params or {}, timeout)
        try:
            evidence = bench.gather(full)
            checks = judge(loaded, evidence)
        finally:
            if keep is not None:
                _copy(root, keep)
    seconds = time.monotonic() - start
    return Report(loaded.name, loaded.who, tuple(checks), seconds)


def _target(
    method: str | Path | object, files: Sequence[Path]
) -> tuple[str, list[Path]]:
    """Name and local files; raises `PluginError` for an object that no other process could find."""
    local = [Path(path) for path in files]
    if isinstance(method, str) and not method.endswith(".py"):
        return method, local
    if isinstance(method, str | Path):
        return _name_in(Path(method)), [*local, Path(method)]
    from wsss_bench.methods.catalog import Catalog
    from wsss_bench.methods.checks import check_plugin, read_card

    who = f"{type(method).__name__} object"
    check_plugin(method, who)
    name = read_card(method, who).name
    catalog = Catalog(local=local)
    if name in catalog.names() and catalog.load(name).plugin is method:
        return name, local
    source = inspect.getsourcefile(type(method))
    if (
        source is None
        or getattr(sys.modules.get(type(method).__module__), "plugin", None)
        is not method
    ):
        fix = "Give its name (installed with an entry point) or the path of its .py file, where it is called `plugin`."
        raise PluginError(
            name, "discovery", "the object cannot be found by another process.", fix
        )
    return name, [*local, Path(source)]


def _name_in(path: Path) -> str:
    from wsss_bench.methods.catalog import load_file

    return load_file(path).name


def _copy(root: Path, keep: Path) -> None:
    import shutil

    shutil.copytree(root, keep, dirs_exist_ok=True)


@dataclass
class _Bench:
    """Runs workers for one method and collects what they say."""

    method: LoadedMethod
    files: Sequence[Path]
    root: Path
    params: Mapping[str, Any]
    timeout: float
    _running: list[tuple[Path, subprocess.Popen[bytes]]] = field(default_factory=list)

    def gather(self, full: bool) -> Evidence:
        """Run the method with the sealed masks beside the images and, in another process, where there are none."""
        from wsss_bench.testing.sandbox import FULL, SMALL

        sandbox = self._sandbox("small", SMALL)
        stages = stages_of(self.method, self.params)
        self._start(sandbox, "guarded", stages, ["plain"], masks=True)
        self._start(sandbox, "bare", stages, ["plain", "killed"], masks=False)
        guarded, bare = self._finish()
        evidence = Evidence(stages, sandbox, guarded, bare, sees_masks=self._sees_masks)
        # Only a failure needs more runs: they tell what it comes from.
        if evidence.suspicious and not self._sees_masks:
            once = ["plain"]
            self._start(sandbox, "bare-again", stages, once, masks=False)
            self._start(sandbox, "unguarded", stages, once, masks=True, guard=False)
            evidence.again, evidence.unguarded = self._finish()
        if full:
            large = self._sandbox("full", FULL)
            self._start(
                large,
                "full",
                stages,
                ["plain"],
                masks=True,
                profiles=PROFILES[:1],
                timeout=8 * self.timeout,
            )
            evidence.full_sandbox = large
            (evidence.full,) = self._finish()
        return evidence

    def _sandbox(self, name: str, options: Mapping[str, int]) -> Sandbox:
        from wsss_bench.testing.sandbox import draw_saliency, give_inputs, make_sandbox

        sandbox = make_sandbox(self.root / name, options)
        give_inputs(sandbox)
        if self._sees_saliency:
            draw_saliency(sandbox)
        return sandbox

    @property
    def _sees_masks(self) -> bool:
        return "masks" in self.method.card.supervision

    @property
    def _sees_saliency(self) -> bool:
        return "saliency" in self.method.card.supervision

    def _start(
        self,
        sandbox: Sandbox,
        name: str,
        stages: Sequence[str],
        passes: Sequence[str],
        *,
        masks: bool,
        guard: bool = True,
        profiles: Sequence[str] = PROFILES,
        timeout: float | None = None,
    ) -> None:
        from wsss_bench.testing.sandbox import view_to_json

        folder = sandbox.root / name
        folder.mkdir()
        sealed = str(sandbox.sealed)
        saliency = sandbox.root / "saliency"
        guarded = guard and masks and not self._sees_masks
        job = {
            "method": self.method.name,
            "files": [str(Path(path).resolve()) for path in self.files],
            "stages": list(stages),
            "passes": list(passes),
            "folder": str(folder),
            "given": str(sandbox.root / "given"),
            "profiles": list(profiles),
            "params": self.params,
            "timeout": timeout or self.timeout,
            "opened": str(folder / "opened.txt"),
            "sealed": sealed if guarded else None,
            "masks": sealed if self._sees_masks else None,
            "saliency": str(saliency) if self._sees_saliency else None,
            "train": view_to_json(sandbox.train(masks=masks)),
            "val": view_to_json(sandbox.val),
        }
        self._launch(sandbox, folder, job)

    def _launch(self, sandbox: Sandbox, folder: Path, job: Mapping[str, Any]) -> None:
        path = folder / "job.json"
        path.write_text(json.dumps(job))
        log = (folder / "log.txt").open("wb")
        # -P: what lies in the current folder (an old egg-info, say) must not come before what this process sees.
        command = [sys.executable, "-P", "-m", "wsss_bench.testing.worker", str(path)]
        # Another hash seed each: an order that comes from a set of names must not hide.
        hash_seed = sum(folder.name.encode()) % 1000 + 1
        environment = _environment(sandbox.root / "tmp", str(hash_seed))
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        self._running.append((folder, process))

    def _finish(self) -> list[dict[str, Any]]:
        try:
            return [_result(folder, run.wait()) for folder, run in self._running]
        finally:
            # Ctrl-C ends the waiting, not the workers.
            for _, process in self._running:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            self._running.clear()


def _result(folder: Path, code: int) -> dict[str, Any]:
    """Return what a worker found; a worker that died before it could say so has an ``error``."""
    opened = folder / "opened.txt"
    names: set[str] = set()
    if opened.exists():
        names.update(opened.read_text().splitlines())
    facts = {"opened": sorted(names - {""}), "folder": folder}
    answer = folder / "result.json"
    if answer.exists() and code == 0:
        return {**json.loads(answer.read_text()), **facts}
    log = (folder / "log.txt").read_text(errors="replace")
    tail = log.strip().splitlines()
    why = tail[-1] if tail else f"the process ended with status {code}."
    return {"passes": {}, "error": why, **facts}


def _environment(temporary: Path, hash_seed: str) -> dict[str, str]:
    env = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "TMPDIR": str(temporary),
        "PYTHONHASHSEED": hash_seed,
    }
    # An empty entry means the current folder, which the worker need not share.
    places = [path or os.getcwd() for path in sys.path]
    env["PYTHONPATH"] = os.pathsep.join(places)
    return env | dict.fromkeys(_THREADS, "1")


def stages_of(
    method: LoadedMethod,
    params: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[str]:
    """Return the method's own stages in the order in which they run: a second round is tried where it has one.

    `params` are those of `check_method`: they may ask for more rounds than the card.
    """
    own = method.card.stages
    first: list[str] = [stage for stage in STAGES if stage in own]
    if "segment" not in first:
        return first
    from wsss_bench.methods.profiles import defaults

    passed = (params or {}).get("segment", {})
    rounds = passed.get("rounds", defaults(method, "segment")["rounds"])
    if int(rounds) < 2:
        return first
    return first + [f"{stage}.2" for stage in first if stage != "localize"]
