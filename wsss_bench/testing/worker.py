"""The process in which a method is checked: ``python -m wsss_bench.testing.worker JOB.json``.

It loads the method once, then runs every stage in a fork of itself, so that a stage can be killed and the imports are
paid once. One thread, no accelerator, no sealed masks; see `wsss_bench.io.landlock`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from wsss_bench.testing.observed import Kill

TRIES = 3
SALIENCY = "saliency_dir"
"""The parameter that takes a folder of saliency maps, where a method has one."""

_TRAINING = {"lr", "epochs", "iterations"}
"""Parameters by which a stage that trains something is known."""

Work = Callable[[], dict[str, Any]]
"""Runs a stage and returns its facts."""

Facts = Mapping[str, Any]
"""What happened in a stage; see `wsss_bench.testing.observed.run_stage`."""

_NOTHING: Facts = {
    "ok": False,
    "check": "runs",
    "events": 0,
    "seconds": 0.0,
    "touched": [],
    "trainings": [],
    "files": {},
}
"""What is known of a stage whose process ended before it could say anything."""


def main(path: Path) -> int:
    """Do the job and leave ``result.json`` beside it."""
    job = json.loads(path.read_text())
    guard = {"landlock": False}
    if job["sealed"] is not None:
        from wsss_bench.io.landlock import landlock
        from wsss_bench.io.sealing import refuse_reading

        refuse_reading(Path(job["sealed"]), Path(job["opened"]))
        guard["landlock"] = landlock(Path(job["sealed"]))
    result = {**guard, "passes": _Job(job).run()}
    path.with_name("result.json").write_text(json.dumps(result))
    return 0


class _Job:
    def __init__(self, job: Mapping[str, Any]) -> None:
        from wsss_bench.methods.catalog import Catalog
        from wsss_bench.testing.sandbox import view_from_json

        self.job, self.root = job, Path(job["folder"])
        self.view = view_from_json(job["train"])
        self.val = view_from_json(job["val"])
        files = [Path(path) for path in job["files"]]
        self.method = Catalog(local=files).load(job["method"])
        self.params = {}
        for hook in self.method.card.stages:
            self.params[hook] = self._params(hook)
        # Forks share what is imported by now; a method that trains nothing is spared the seconds.
        if any(map(_needs_engine, self.params, self.params.values())):
            import wsss_bench.engine
            from wsss_bench.engine.registry import register

            assert wsss_bench.engine
            register()

    def _params(self, hook: str) -> dict[str, Any]:
        job = self.job
        params = params_of(self.method, hook, job["profiles"], job["params"])
        passed = job["params"].get(hook, {})
        if job["saliency"] and SALIENCY in params and SALIENCY not in passed:
            params[SALIENCY] = job["saliency"]
        return params

    def _test_settings(self, hook: str) -> tuple[str, ...]:
        from wsss_bench.methods.profiles import test_settings

        return test_settings(self.method, hook)

    def run(self) -> dict[str, dict[str, Any]]:
        """Run every pass over the stages: ``plain`` runs them, ``killed`` kills each on its way and runs it again."""
        done: dict[str, dict[str, Any]] = {}
        for name in self.job["passes"]:
            done[name] = self._pass(name, done.get("plain", {}))
        return done

    def _pass(self, name: str, plain: Facts) -> dict[str, Any]:
        results: dict[str, Any] = {}
        for stage in self.job["stages"]:
            before = plain.get(stage) if name == "killed" else None
            results[stage] = self._stage(name, stage, before)
            if not results[stage]["ok"]:
                return results
        segments = [stage for stage in results if stage.startswith("segment")]
        if segments and name == "plain":
            results["predict"] = self._predict(self.root / name, segments[-1])
        return results

    def _predict(self, base: Path, segment: str) -> dict[str, Any]:
        from wsss_bench.runs.plan import mapped_test
        from wsss_bench.testing.observed import predict_val

        out, folder = base / segment / "out", base / "predict"
        test = mapped_test(self.params["segment"], self._test_settings("segment"))

        def work() -> dict[str, Any]:
            return predict_val(out, self.val, folder, test)

        return forked(work, folder, self.job["timeout"])

    def _stage(self, which: str, name: str, plain: Facts | None) -> dict[str, Any]:
        from wsss_bench.runs.plan import without
        from wsss_bench.testing.observed import Stage, run_stage

        hook = name.partition(".")[0]
        folder = self.root / which / name
        params, names = self.params[hook], self._test_settings(hook)
        # As in a run: a segmentor is trained without its test settings and predicts in a step of its own.
        if hook == "segment":
            params, names = without(params, names), ()
        sealed = self.job["sealed"]
        stage = Stage(
            self.method,
            name,
            params,
            self.view,
            folder,
            test_settings=names,
            sealed=(Path(sealed),) if sealed else (),
            **self._inputs(name),
        )
        killed = 0
        for kill in [*_kills(plain), None]:

            def work(kill: Kill | None = kill) -> dict[str, Any]:
                return run_stage(stage, kill)

            result = forked(work, folder, self.job["timeout"])
            if result.get("signal") != signal.SIGKILL or kill is None:
                break
            killed += 1
        result["killed"] = killed
        result["trains"] = bool(_TRAINING & set(params))
        return result

    def _inputs(self, name: str) -> dict[str, Path | None]:
        """Return the inputs of a stage.

        They are always those of the plain pass (or the kit's own), so that a difference belongs to the stage itself.
        """
        hook, _, number = name.partition(".")
        base, stages = self.root / "plain", self.job["stages"]
        masks = Path(self.job["masks"]) if self.job["masks"] else None
        inputs: dict[str, Path | None] = {"masks": masks}
        if hook == "localize":
            return inputs
        given = Path(self.job["given"])
        localized = "localize" in stages
        inputs["seeds"] = base / "localize/out" if localized else given / "seeds"
        if number:
            inputs["previous"] = base / "segment/out"
            inputs["previous_labels"] = self._labels("refine")
        if hook == "segment":
            inputs["labels"] = self._labels(f"refine.{number}" if number else "refine")
        return inputs

    def _labels(self, refine: str) -> Path:
        if refine in self.job["stages"]:
            return self.root / "plain" / refine / "out"
        return Path(self.job["given"]) / "labels"


def _needs_engine(hook: str, params: Mapping[str, Any]) -> bool:
    trained = {"backbone", "network", *_TRAINING}
    return hook == "segment" or bool(trained & set(params))


def _kills(plain: Facts | None) -> list[Kill]:
    """Return when to kill a stage that ran undisturbed like `plain`: in each kept training, then twice further on."""
    from wsss_bench.testing.observed import Kill

    if plain is None:
        return []
    kills = []
    for first, last in plain["trainings"]:
        # A training that reports nothing has no moment that could be hit for certain.
        if last - first >= 2:
            kills.append(Kill(event=(first + last) // 2 + 1))
    event = 0
    if plain["events"] >= 4:
        event = round(0.4 * plain["events"])
    further = Kill(event, 0.4 * plain["seconds"])
    return kills + [further] * (TRIES - 1)


def params_of(
    method: Any,
    hook: str,
    profiles: list[str],
    passed: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a stage's parameters under profiles, the later ones over the earlier, then those passed (by stage)."""
    from wsss_bench.methods.profiles import (
        HARNESS,
        defaults,
        load_profile,
        with_profiles,
    )
    from wsss_bench.methods.values import put
    from wsss_bench.runs.plan import without

    params = defaults(method, hook)
    # Reading a profile imports mmengine; there is nothing to override where a method has no parameters of its own.
    if set(params) - set(HARNESS.get(hook, {})):
        loaded = [load_profile(name) for name in profiles]
        params = with_profiles(method, hook, loaded)
    own = passed.get(hook, {})
    for key, value in own.items():
        who = f"method {method.name!r}: parameter {hook}.{key}"
        put(params, key, value, who)
    return without(params, HARNESS.get(hook, {}))


def forked(work: Work, folder: Path, timeout: float) -> dict[str, Any]:
    """Do `work` in a fork and return its result.

    A fork that does not answer has failed the check ``runs``; then ``signal`` is what ended it, or "timeout".
    """
    folder.mkdir(parents=True, exist_ok=True)
    answer = folder / "result.json"
    answer.unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _child(work, answer)
    code = _wait(child, timeout)
    if code is None:
        what = f"took longer than {timeout:.0f} s on the small data."
        return {**_NOTHING, "message": what, "signal": "timeout"}
    if answer.exists():
        result: dict[str, Any] = json.loads(answer.read_text())
        return result
    how = f"ended its process with status {code}"
    if code < 0:
        how = f"was ended by signal {-code} ({signal.strsignal(-code)})"
    what = f"the stage {how}; a plugin must raise instead."
    return {**_NOTHING, "message": what, "signal": -code}


def _wait(child: int, timeout: float) -> int | None:
    """Return the exit status of a child, negative for a signal; None where it was killed after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.01)


def _child(work: Work, answer: Path) -> NoReturn:
    code = 1
    try:
        text = json.dumps(work())
        # Renamed into place: a kill in the middle of the write must not leave half an answer.
        temporary = answer.with_suffix(".part")
        temporary.write_text(text)
        temporary.rename(answer)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: nothing of the parent's may be tidied up by its fork.
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
