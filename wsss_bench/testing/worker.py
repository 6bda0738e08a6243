"""The process in which a method is checked: ``python -m wsss_bench.testing.worker JOB.json``.

It loads the method once, then runs every stage in a fork of itself, so that a stage can be killed and the imports are paid
once. One thread, no accelerator, no sealed masks; see `wsss_bench.io.sealing` and `wsss_bench.io.landlock`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TRIES = 3
_TRAINING = {"lr", "epochs", "iterations"}
"""Parameters by which a stage that trains something is known."""


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
        self.view, self.val = view_from_json(job["train"]), view_from_json(job["val"])
        self.method = Catalog(local=[Path(p) for p in job["files"]]).load(job["method"])
        self.params = {
            hook: params_of(self.method, hook, job["profiles"], job["params"])
            for hook in self.method.card.stages
        }
        # Forks share what is imported by now; a method that trains nothing is spared the seconds.
        if any(
            hook == "segment" or {"backbone", "network", *_TRAINING} & set(params)
            for hook, params in self.params.items()
        ):
            import wsss_bench.engine
            from wsss_bench.engine.registry import register

            assert wsss_bench.engine
            register()

    def run(self) -> dict[str, dict[str, Any]]:
        """Every pass over the stages: ``plain`` runs them, ``killed`` kills each twice on its way."""
        done: dict[str, dict[str, Any]] = {}
        for name in self.job["passes"]:
            done[name] = self._pass(name, done.get("plain", {}))
        return done

    def _pass(self, name: str, plain: Mapping[str, Any]) -> dict[str, Any]:
        results: dict[str, Any] = {}
        for stage in self.job["stages"]:
            results[stage] = self._stage(
                name, stage, plain.get(stage) if name == "killed" else None
            )
            if not results[stage]["ok"]:
                return results
        segments = [stage for stage in results if stage.startswith("segment")]
        if segments and name == "plain":
            from wsss_bench.testing.observed import predict_val

            out, folder = (
                self.root / name / segments[-1] / "out",
                self.root / name / "predict",
            )
            results["predict"] = forked(
                lambda: predict_val(out, self.val, folder), folder, self.job["timeout"]
            )
        return results

    def _stage(
        self, which: str, name: str, plain: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        from wsss_bench.testing.observed import Kill, Stage, run_stage

        hook, kills = name.partition(".")[0], []
        if plain is not None:
            event = round(0.4 * plain["events"]) if plain["events"] >= 4 else 0
            kills = [Kill(event, 0.4 * plain["seconds"])] * (TRIES - 1)
        folder = self.root / which / name
        inputs = self._inputs(which, name)
        stage = Stage(self.method, name, self.params[hook], self.view, folder, **inputs)
        killed = 0
        for kill in [*kills, None]:
            result = forked(
                lambda kill=kill: run_stage(stage, kill), folder, self.job["timeout"]
            )  # type: ignore[misc]
            if result.get("signal") != signal.SIGKILL or kill is None:
                break
            killed += 1
        return {
            **result,
            "killed": killed,
            "trains": bool(_TRAINING & set(self.params[hook])),
        }

    def _inputs(self, which: str, name: str) -> dict[str, Path | None]:
        """Inputs are always those of the plain pass (or the kit's own), so that a difference belongs to the stage itself."""
        hook, _, number = name.partition(".")
        base, given = self.root / "plain", Path(self.job["given"])
        stages = self.job["stages"]
        inputs: dict[str, Path | None] = {
            "masks": Path(self.job["masks"]) if self.job["masks"] else None
        }
        if hook == "localize":
            return inputs
        inputs["seeds"] = (
            base / "localize" / "out" if "localize" in stages else given / "seeds"
        )
        inputs["previous"] = base / "segment" / "out" if number else None
        if hook == "segment":
            refine = f"refine.{number}" if number else "refine"
            inputs["labels"] = (
                base / refine / "out" if refine in stages else given / "labels"
            )
        return inputs


def params_of(
    method: Any, hook: str, profiles: list[str], passed: Mapping[str, Any]
) -> dict[str, Any]:
    """A stage's parameters under profiles, the later ones over the earlier, then those passed (``{"localize": {…}}``)."""
    from wsss_bench.methods.profiles import (
        HARNESS,
        defaults,
        load_profile,
        with_profiles,
    )
    from wsss_bench.methods.values import put

    params = defaults(method, hook)
    # Reading a profile imports mmengine; there is nothing to override where a method has no parameters of its own.
    if set(params) - set(HARNESS.get(hook, {})):
        params = with_profiles(method, hook, [load_profile(name) for name in profiles])
    for key, value in passed.get(hook, {}).items():
        put(params, key, value, f"method {method.name!r}: parameter {hook}.{key}")
    return {
        key: value for key, value in params.items() if key not in HARNESS["segment"]
    }


def forked(
    work: Callable[[], dict[str, Any]], folder: Path, timeout: float
) -> dict[str, Any]:
    """`work` in a fork: its result, or a failure of check ``runs`` with the ``signal`` that ended it (or "timeout")."""
    folder.mkdir(parents=True, exist_ok=True)
    answer = folder / "result.json"
    answer.unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _child(work, answer)
    deadline, failed = (
        time.monotonic() + timeout,
        {
            "ok": False,
            "check": "runs",
            "events": 0,
            "seconds": 0.0,
            "touched": [],
            "files": {},
        },
    )
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return {
                **failed,
                "message": f"took longer than {timeout:.0f} s on the small data.",
                "signal": "timeout",
            }
        time.sleep(0.01)
    if answer.exists():
        result: dict[str, Any] = json.loads(answer.read_text())
        return result
    code = os.waitstatus_to_exitcode(status)
    how = (
        f"was ended by signal {-code} ({signal.strsignal(-code)})"
        if code < 0
        else f"ended its process with status {code}"
    )
    return {
        **failed,
        "message": f"the stage {how}; a plugin must raise instead.",
        "signal": -code,
    }


def _child(work: Callable[[], dict[str, Any]], answer: Path) -> None:
    code = 1
    try:
        text = json.dumps(work())
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
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
