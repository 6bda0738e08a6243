"""From what the workers saw to a verdict on each check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wsss_bench.testing.report import CHECKS, FAIL, PASS, SKIP, WARN, Check, Report

if TYPE_CHECKING:
    from wsss_bench.methods.catalog import LoadedMethod
    from wsss_bench.testing.sandbox import Sandbox

Seen = Mapping[str, Any]
"""What a worker says of one run of one stage; see `wsss_bench.testing.observed.run_stage`."""

_DEPEND = (
    "Derive every random choice from ctx.seed with wsss_bench.rng, "
    "sort what comes from a set, and write no paths or times."
)
_RESUME = (
    "Skip images for which out.done(id); train with ctx.train or toolbox functions; "
    "keep half-done work in ctx.scratch only."
)
_SHOWN = 8
"""Places in the code that a warning names."""

_COPIES = "Work on copies; write to `out` and ctx.scratch only."


@dataclass
class Evidence:
    """Results of the workers.

    Attributes:
        stages: the stages that were run.
        guarded: with masks beside the images, sealed; bare: without any masks, run plainly and with kills.
        again, unguarded: once more without masks, and with masks unsealed; run only where something failed.
        full: at the usual size.
    """

    stages: Sequence[str]
    sandbox: Sandbox
    guarded: Mapping[str, Any]
    bare: Mapping[str, Any]
    sees_masks: bool = False
    again: Mapping[str, Any] | None = None
    unguarded: Mapping[str, Any] | None = None
    full: Mapping[str, Any] | None = None
    full_sandbox: Sandbox | None = None

    @property
    def suspicious(self) -> bool:
        """Whether guarded and bare runs differ; two that fail alike have nothing to do with masks."""
        return any(self._differs(stage) for stage in self.stages)

    def _differs(self, stage: str) -> bool:
        first, other = self.first(stage), self.other(stage)
        return not same(first, other) and not _alike(first, other)

    def first(self, stage: str) -> Seen | None:
        """Return the guarded run of a stage; None where it was not reached."""
        return of(self.guarded, "plain", stage)

    def other(self, stage: str) -> Seen | None:
        """Return the run of a stage where there are no masks; None where it was not reached."""
        return of(self.bare, "plain", stage)


def of(worker: Mapping[str, Any] | None, which: str, stage: str) -> Seen | None:
    """Return a worker's result for one stage of one pass, or None where it has none."""
    if worker is None:
        return None
    results: Mapping[str, Seen] = worker["passes"].get(which, {})
    return results.get(stage)


def ok(result: Seen | None) -> bool:
    """Return whether a stage was run and ended well."""
    return result is not None and bool(result["ok"])


def same(a: Seen | None, b: Seen | None) -> bool:
    """Return whether two runs ended well with the same bytes."""
    if a is None or b is None:
        return False
    return ok(a) and ok(b) and bool(a["files"] == b["files"])


def _alike(a: Seen | None, b: Seen | None) -> bool:
    """Return whether both wrote the same wrong output, or neither was reached.

    What raises may have missed the masks, so two that raise are not alike.
    """
    if a is None or b is None:
        return a is b
    if ok(a) or ok(b) or a["check"] != "outputs":
        return False
    return bool(a["message"] == b["message"])


def unloadable(method: str, error: Exception, seconds: float) -> Report:
    """Return the report on a plugin that cannot be loaded: why, under ``loads`` or ``card``; all else is skipped."""
    message = str(error)
    if getattr(error, "where", "") == "method_card":
        found = [Check("loads", "", PASS), Check("card", "", FAIL, message)]
    else:
        loads = Check("loads", "", FAIL, message)
        found = [loads, Check("card", "", SKIP, "not loaded.")]
    for name in list(CHECKS)[len(found) :]:
        found.append(Check(name, "", SKIP, "not run."))
    who = getattr(error, "who", method)
    return Report(method, who, tuple(found), seconds)


def judge(method: LoadedMethod, evidence: Evidence) -> list[Check]:
    """Return every check of every stage, ordered by check."""
    checks = [Check("loads", "", PASS), _card(method)]
    for stage in evidence.stages:
        checks += _runs(method, evidence, stage)
        checks.append(_inputs(evidence, stage))
        checks.append(_repeatable(evidence, stage))
        checks.append(_resumes(evidence, stage))
        checks.append(_sealed(evidence, stage))
    checks += _prediction(evidence)
    checks += _baselines(method, evidence)
    checks.append(_visible(method))
    order = list(CHECKS)
    return sorted(checks, key=lambda check: order.index(check.name))


def _card(method: LoadedMethod) -> Check:
    """Loading has checked names and stages; what is left is whether the card says enough to be put on a board."""
    card = method.card
    missing = []
    if not card.paper:
        missing.append("paper is empty; give a citation, or '-' for a utility.")
    if not card.supervision:
        least = "a localizer or refiner that is trained uses at least 'image labels'."
        missing.append(f"supervision is empty; {least}")
    if not card.extra_data:
        missing.append("extra_data is empty; write '-' when nothing else is used.")
    if not missing:
        return Check("card", "", PASS)
    message = " ".join(f"{method.who}: method_card: {what}" for what in missing)
    return Check("card", "", FAIL, message)


def _visible(method: LoadedMethod) -> Check:
    """Warn of what a stage's key cannot hold; see `wsss_bench.testing.unseen`."""
    from wsss_bench.testing.unseen import unseen

    found = unseen(method)
    if not found:
        return Check("visible", "", PASS)
    places = "; ".join(map(str, found[:_SHOWN]))
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    fix = "After a change there, raise the card's version: it is part of every key."
    return Check("visible", "", WARN, f"{places}{more}. {fix}")


def _runs(method: LoadedMethod, evidence: Evidence, stage: str) -> Iterator[Check]:
    result = evidence.first(stage)
    if result is None:
        yield _not_reached(method, evidence, stage)
        return
    check, message = result["check"], result["message"]
    # A stage that the seal has stopped says nothing of whether it would have run.
    if check == "sealed masks" or evidence_of_leak(evidence, stage):
        yield Check("runs", stage, SKIP, "stopped, see 'sealed masks'.")
        return
    yield _failed_at("runs", stage, check, message)
    if check != "runs":
        yield _failed_at("outputs", stage, check, message)
    if ok(result):
        yield Check("no GPU", stage, PASS)
    else:
        yield Check("no GPU", stage, SKIP, "did not run through.")


def _not_reached(method: LoadedMethod, evidence: Evidence, stage: str) -> Check:
    why = evidence.guarded.get("error")
    if why:
        return Check("runs", stage, FAIL, f"{method.who}: {why}")
    return Check("runs", stage, SKIP, "a stage before it failed.")


def _failed_at(name: str, stage: str, failed: str, message: str) -> Check:
    """Return the check `name`, which the stage has passed unless it is the one that `failed`."""
    if failed == name:
        return Check(name, stage, FAIL, message)
    return Check(name, stage, PASS)


def _prediction(evidence: Evidence) -> list[Check]:
    result = of(evidence.guarded, "plain", "predict")
    if result is None:
        return []
    status = PASS if ok(result) else FAIL
    return [Check("outputs", "predict", status, result["message"])]


def _inputs(evidence: Evidence, stage: str) -> Check:
    first = evidence.first(stage)
    killed = of(evidence.bare, "killed", stage)
    touched: set[str] = set()
    for run in (first, killed):
        if run is not None:
            touched.update(run["touched"])
    if touched:
        names = ", ".join(sorted(touched)[:3])
        more = " and more" if len(touched) > 3 else ""
        what = f"{stage} changed {names}{more}."
        return Check("inputs", stage, FAIL, f"{what} {_COPIES}")
    if first is None:
        return Check("inputs", stage, SKIP, "not run.")
    return Check("inputs", stage, PASS)


def _repeatable(evidence: Evidence, stage: str) -> Check:
    a, b = evidence.first(stage), evidence.other(stage)
    if a is None or not ok(a) or evidence_of_leak(evidence, stage):
        return Check("repeatable", stage, SKIP, "did not run through.")
    if same(a, b):
        return Check("repeatable", stage, PASS)
    if b is None or not ok(b):
        why = "it was not reached" if b is None else b["message"]
        what = f"{stage} ran once, but not again in another process: {why}"
    else:
        other = f"{stage} of the same seed wrote other bytes: {_changed(a, b)}."
        what = f"{other} {_DEPEND}"
    return Check("repeatable", stage, FAIL, what)


def _resumes(evidence: Evidence, stage: str) -> Check:
    plain = evidence.other(stage)
    killed = of(evidence.bare, "killed", stage)
    if plain is None or killed is None or not ok(plain):
        return Check("resumes", stage, SKIP, "did not run through.")
    if not ok(killed):
        why = killed["message"]
        what = f"{stage} fails when it is run again after a kill: {why} {_RESUME}"
        return Check("resumes", stage, FAIL, what)
    if not killed["killed"]:
        why = "it was over before it could be killed."
        return Check("resumes", stage, SKIP, why)
    if same(plain, killed):
        return Check("resumes", stage, PASS)
    # What differs without a kill too says nothing about resuming.
    if not same(evidence.first(stage), plain):
        why = "cannot be told: it is not repeatable."
        return Check("resumes", stage, SKIP, why)
    other = f"{stage}, killed and run again, wrote other bytes"
    what = f"{other}: {_changed(plain, killed)}. {_RESUME}"
    return Check("resumes", stage, FAIL, what)


def _sealed(evidence: Evidence, stage: str) -> Check:
    if evidence.sees_masks:
        why = "the card declares masks as supervision."
        return Check("sealed masks", stage, SKIP, why)
    leak = evidence_of_leak(evidence, stage)
    if leak:
        return Check("sealed masks", stage, FAIL, leak)
    if evidence.first(stage) is None:
        return Check("sealed masks", stage, SKIP, "not run.")
    return Check("sealed masks", stage, PASS)


def evidence_of_leak(evidence: Evidence, stage: str) -> str:
    """Return how it shows that a stage looked at masks; "" where it does not."""
    if evidence.sees_masks:
        return ""
    first = evidence.first(stage)
    if first is not None:
        seen = _seen_in(evidence, stage, first)
        if seen:
            return seen
    if _knows_masks(evidence, stage):
        what = "where there are no masks beside the photographs, so it looks at them."
        return f"{stage} gives other results {what}"
    return ""


def _seen_in(evidence: Evidence, stage: str, first: Seen) -> str:
    """Return what the guarded run of a stage itself shows; "" where that is nothing."""
    if first["check"] == "sealed masks":
        return f"{stage}: {first['message']}"
    opened = evidence.guarded.get("opened", [])
    if opened:
        names = ", ".join(opened[:3])
        what = f"tried to open {names}, which are sealed masks."
        return f"{stage} or an import of the plugin {what}"
    free = of(evidence.unguarded, "plain", stage)
    if not ok(first) and ok(free):
        what = "runs only where it can read the folder of masks beside the photographs"
        return f"{stage} {what} (sealed: {first['message']})."
    return ""


def _knows_masks(evidence: Evidence, stage: str) -> bool:
    """Return whether results differ with and without masks, and without masks they are the same twice."""
    bare = evidence.other(stage)
    again = of(evidence.again, "plain", stage)
    free = of(evidence.unguarded, "plain", stage)
    # Only what repeats itself can be said to differ because of the masks.
    if not ok(free) or not same(bare, again):
        return False
    return not same(free, bare)


def _changed(a: Seen, b: Seen) -> str:
    ours, theirs = a["files"], b["files"]
    names = sorted({*ours, *theirs})
    other = [name for name in names if ours.get(name) != theirs.get(name)]
    return f"{len(other)} of {len(names)} files differ (first: {other[0]})"


def _baselines(method: LoadedMethod, evidence: Evidence) -> Iterator[Check]:
    from wsss_bench.testing.baseline import baseline, classes

    worker, sandbox, full = evidence.guarded, evidence.sandbox, False
    if evidence.full is not None and evidence.full_sandbox is not None:
        worker, sandbox, full = evidence.full, evidence.full_sandbox, True
    for stage in evidence.stages:
        result = of(worker, "plain", stage)
        if not ok(result) or evidence_of_leak(evidence, stage):
            why = result["message"] if full and result else "did not run through."
            yield Check("baseline", stage, FAIL if full else SKIP, why)
            yield Check("classes", stage, SKIP, why)
            continue
        folder, trained = worker["folder"] / "plain", _trained(method, stage, result)
        yield baseline(stage, folder, sandbox, full=full, trained=trained)
        yield classes(stage, folder, full=full, trained=trained)


def _trained(method: LoadedMethod, stage: str, result: Seen | None) -> bool:
    """Return whether a stage's result hangs on a training, which is too short on the small data to be judged by."""
    # A refiner alone is given good seeds; only what trains something itself is excused.
    if stage == "refine" and "localize" not in method.card.stages:
        return bool(result and result.get("trains"))
    return True
