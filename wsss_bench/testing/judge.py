"""From what the workers saw to a verdict on each check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wsss_bench.testing.report import CHECKS, FAIL, PASS, SKIP, Check, Report

if TYPE_CHECKING:
    from wsss_bench.methods.catalog import LoadedMethod
    from wsss_bench.testing.sandbox import Sandbox

_DEPEND = "Derive every random choice from ctx.seed with wsss_bench.rng, sort what comes from a set, and write no paths or times."
_RESUME = "Skip images for which out.done(id); train with ctx.train or toolbox functions; keep half-done work in ctx.scratch only."


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
        return any(
            not same(self.first(s), self.other(s))
            and not _alike(self.first(s), self.other(s))
            for s in self.stages
        )

    def first(self, stage: str) -> Mapping[str, Any] | None:
        """The guarded run of a stage; None where it was not reached."""
        return of(self.guarded, "plain", stage)

    def other(self, stage: str) -> Mapping[str, Any] | None:
        """The run of a stage where there are no masks."""
        return of(self.bare, "plain", stage)


def of(
    worker: Mapping[str, Any] | None, which: str, stage: str
) -> Mapping[str, Any] | None:
    """A worker's result for one stage of one pass."""
    return None if worker is None else worker["passes"].get(which, {}).get(stage)


def ok(result: Mapping[str, Any] | None) -> bool:
    """Whether a stage was run and ended well."""
    return result is not None and bool(result["ok"])


def same(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> bool:
    """Whether two runs ended well with the same bytes."""
    return (
        a is not None and b is not None and ok(a) and ok(b) and a["files"] == b["files"]
    )


def _alike(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> bool:
    """Whether both wrote the same wrong output (or neither was reached); what raises may have missed the masks."""
    if a is None or b is None:
        return a is b
    return (
        not ok(a)
        and not ok(b)
        and a["check"] == "outputs"
        and a["message"] == b["message"]
    )


def unloadable(method: str, error: Exception, seconds: float) -> Report:
    """The report on a plugin that cannot be loaded: the reason under ``loads`` or ``card``, all else skipped."""
    failed = "card" if getattr(error, "where", "") == "method_card" else "loads"
    message = str(error)
    checks = [
        Check(
            "loads",
            "",
            PASS if failed == "card" else FAIL,
            "" if failed == "card" else message,
        )
    ]
    checks.append(
        Check(
            "card",
            "",
            FAIL if failed == "card" else SKIP,
            message if failed == "card" else "not loaded.",
        )
    )
    checks += [Check(name, "", SKIP, "not run.") for name in list(CHECKS)[2:]]
    return Report(method, getattr(error, "who", method), tuple(checks), seconds)


def judge(method: LoadedMethod, evidence: Evidence) -> list[Check]:
    """Every check of every stage, ordered by check."""
    checks = [Check("loads", "", PASS), *_card(method)]
    for stage in evidence.stages:
        checks += _runs(method, evidence, stage)
        checks.append(_inputs(evidence, stage))
        checks.append(_repeatable(evidence, stage))
        checks.append(_resumes(evidence, stage))
        checks.append(_sealed(evidence, stage))
    checks.append(_prediction(evidence))
    checks += list(_baselines(method, evidence))
    order = list(CHECKS)
    return sorted(
        (check for check in checks if check is not None),
        key=lambda check: order.index(check.name),
    )


def _card(method: LoadedMethod) -> Iterator[Check]:
    """Loading has checked names and stages; what is left is whether the card says enough to be put on a board."""
    card = method.card
    missing = []
    if not card.paper:
        missing.append("paper is empty; give a citation, or '-' for a utility.")
    if not card.supervision:
        missing.append(
            "supervision is empty; a localizer or refiner that is trained uses at least 'image labels'."
        )
    if not card.extra_data:
        missing.append("extra_data is empty; write '-' when nothing else is used.")
    yield Check(
        "card",
        "",
        FAIL if missing else PASS,
        " ".join(f"{method.who}: method_card: {m}" for m in missing),
    )


def _runs(method: LoadedMethod, evidence: Evidence, stage: str) -> Iterator[Check]:
    result = evidence.first(stage)
    if result is None:
        why = evidence.guarded.get("error")
        yield Check(
            "runs",
            stage,
            FAIL if why else SKIP,
            f"{method.who}: {why}" if why else "a stage before it failed.",
        )
        return
    check, message = result["check"], result["message"]
    if check == "sealed masks" or evidence_of_leak(evidence, stage):
        yield Check("runs", stage, SKIP, "stopped, see 'sealed masks'.")
        return
    yield Check(
        "runs",
        stage,
        FAIL if check == "runs" else PASS,
        message if check == "runs" else "",
    )
    if check != "runs":
        yield Check(
            "outputs",
            stage,
            FAIL if check == "outputs" else PASS,
            message if check == "outputs" else "",
        )
    yield Check(
        "no GPU",
        stage,
        PASS if ok(result) else SKIP,
        "" if ok(result) else "did not run through.",
    )


def _prediction(evidence: Evidence) -> Any:
    result = of(evidence.guarded, "plain", "predict")
    return (
        None
        if result is None
        else Check(
            "outputs", "predict", PASS if ok(result) else FAIL, result["message"]
        )
    )


def _inputs(evidence: Evidence, stage: str) -> Check:
    runs = [
        of(worker, which, stage)
        for worker, which in ((evidence.guarded, "plain"), (evidence.bare, "killed"))
    ]
    touched = sorted(
        {name for run in runs if run is not None for name in run["touched"]}
    )
    if touched:
        what = f"{stage} changed {', '.join(touched[:3])}{' and more' if len(touched) > 3 else ''}. "
        return Check(
            "inputs",
            stage,
            FAIL,
            what + "Work on copies; write to `out` and ctx.scratch only.",
        )
    return (
        Check("inputs", stage, PASS)
        if runs[0] is not None
        else Check("inputs", stage, SKIP, "not run.")
    )


def _repeatable(evidence: Evidence, stage: str) -> Check:
    a, b = evidence.first(stage), evidence.other(stage)
    if not ok(a) or evidence_of_leak(evidence, stage):
        return Check("repeatable", stage, SKIP, "did not run through.")
    if same(a, b):
        return Check("repeatable", stage, PASS)
    assert a is not None
    if b is None or not ok(b):
        what = "it was not reached" if b is None else b["message"]
        return Check(
            "repeatable",
            stage,
            FAIL,
            f"{stage} ran once, but not again in another process: {what}",
        )
    return Check(
        "repeatable",
        stage,
        FAIL,
        f"{stage} of the same seed wrote other bytes: {_changed(a, b)}. {_DEPEND}",
    )


def _resumes(evidence: Evidence, stage: str) -> Check:
    plain, killed = evidence.other(stage), of(evidence.bare, "killed", stage)
    if not ok(plain) or killed is None:
        return Check("resumes", stage, SKIP, "did not run through.")
    assert plain is not None
    if not ok(killed):
        return Check(
            "resumes",
            stage,
            FAIL,
            f"{stage} fails when it is run again after a kill: {killed['message']} {_RESUME}",
        )
    if not killed["killed"]:
        return Check("resumes", stage, SKIP, "it was over before it could be killed.")
    if not same(plain, killed):
        if not same(evidence.first(stage), plain):
            return Check(
                "resumes", stage, SKIP, "cannot be told: it is not repeatable."
            )
        return Check(
            "resumes",
            stage,
            FAIL,
            f"{stage}, killed and run again, wrote other bytes: {_changed(plain, killed)}. {_RESUME}",
        )
    return Check("resumes", stage, PASS)


def _sealed(evidence: Evidence, stage: str) -> Check:
    if evidence.sees_masks:
        return Check(
            "sealed masks", stage, SKIP, "the card declares masks as supervision."
        )
    leak = evidence_of_leak(evidence, stage)
    if leak:
        return Check("sealed masks", stage, FAIL, leak)
    if evidence.first(stage) is None:
        return Check("sealed masks", stage, SKIP, "not run.")
    return Check("sealed masks", stage, PASS)


def evidence_of_leak(evidence: Evidence, stage: str) -> str:
    """How it shows that a stage looked at masks; "" where it does not."""
    if evidence.sees_masks:
        return ""
    a, b, c = (
        evidence.first(stage),
        evidence.other(stage),
        of(evidence.again, "plain", stage),
    )
    if a is not None and a["check"] == "sealed masks":
        return f"{stage}: {a['message']}"
    opened = evidence.guarded.get("opened", [])
    if opened and a is not None:
        return f"{stage} or an import of the plugin tried to open {', '.join(opened[:3])}, which are sealed masks."
    free = of(evidence.unguarded, "plain", stage)
    if a is not None and not ok(a) and ok(free):
        return f"{stage} runs only where it can read the folder of masks beside the photographs (sealed: {a['message']})."
    differs = ok(free) and ok(b) and same(b, c) and not same(free, b)
    if differs:
        return f"{stage} gives other results where there are no masks beside the photographs, so it looks at them."
    return ""


def _changed(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    names = sorted({*a["files"], *b["files"]})
    other = [name for name in names if a["files"].get(name) != b["files"].get(name)]
    return f"{len(other)} of {len(names)} files differ (first: {other[0]})"


def _baselines(method: LoadedMethod, evidence: Evidence) -> Iterator[Check]:
    from wsss_bench.testing.baseline import baseline

    worker, sandbox, full = evidence.guarded, evidence.sandbox, False
    if evidence.full is not None and evidence.full_sandbox is not None:
        worker, sandbox, full = evidence.full, evidence.full_sandbox, True
    for stage in evidence.stages:
        result = of(worker, "plain", stage)
        if not ok(result) or evidence_of_leak(evidence, stage):
            message = result["message"] if full and result else "did not run through."
            yield Check("baseline", stage, FAIL if full else SKIP, message)
            continue
        yield baseline(
            stage,
            worker["folder"] / "plain",
            sandbox,
            full=full,
            trained=_trained(method, stage, result),
        )


def _trained(
    method: LoadedMethod, stage: str, result: Mapping[str, Any] | None
) -> bool:
    """Whether a stage's result hangs on a training, which is far too short on the small data to be judged by."""
    untrained = stage == "refine" and "localize" not in method.card.stages
    return not untrained or bool(result and result.get("trains"))
