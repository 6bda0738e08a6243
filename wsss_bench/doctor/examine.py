"""What works on this machine, what does not, and the exact line that repairs it.

Nothing here imports torch or mmengine, so the answer comes at once even where they are what is broken; versions are read from
the installed distributions, the GPU is asked through its driver. Each heavy package can be imported in a process of its own
(`check_imports`), which takes seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from wsss_bench.doctor.findings import FAIL, OK, WARN, Check
from wsss_bench.doctor.machine import check_gpu, check_work_dir
from wsss_bench.doctor.packages import (
    DISTRIBUTION,
    PIP,
    _source,
    check_crf,
    check_imports,
    check_install,
    check_packages,
    check_python,
)
from wsss_bench.errors import WsssError


def examine(
    data_root: Path | None,
    work_dir: Path,
    plugins: Sequence[Path] = (),
    *,
    imports: bool = False,
) -> Iterator[Check]:
    """All checks, in the order in which a new user needs them; a check that itself breaks is a failure, not the end."""
    parts: list[tuple[str, Callable[[], Iterable[Check]]]] = [
        ("python", check_python),
        ("packages", check_packages),
        ("install", check_install),
        ("crf", check_crf),
        ("gpu", check_gpu),
        ("data", lambda: check_data(data_root)),
        ("work dir", lambda: check_work_dir(work_dir)),
        ("plugins", lambda: check_plugins(plugins)),
    ]
    if imports:
        parts.append(("imports", check_imports))
    for part, check in parts:
        try:
            yield from check()
        except Exception as error:
            yield Check(
                part,
                FAIL,
                f"the check itself failed: {type(error).__name__}: {error}",
                f"{PIP} --upgrade {DISTRIBUTION}",
            )


# ---- data, work dir, plugins


def check_data(root: Path | None) -> Iterator[Check]:
    """Which datasets can be opened; nothing but their folders and lists is read."""
    from wsss_bench.data.base import ROOT_VARIABLE
    from wsss_bench.data.opening import KINDS, open_dataset

    yield Check("data", OK, "shapes: drawn on the spot")
    named = root or (
        Path(os.environ[ROOT_VARIABLE]) if os.environ.get(ROOT_VARIABLE) else None
    )
    get = "wsss-bench data prepare --dataset voc2012 --data-root FOLDER --download"
    if named is None:
        what = f"no data root: neither --data-root nor {ROOT_VARIABLE} is given, so only shapes can be used."
        yield Check("data", WARN, what, f"{get} && export {ROOT_VARIABLE}=FOLDER")
        return
    if not named.expanduser().is_dir():
        yield Check(
            "data",
            FAIL,
            f"data root {named} is no folder.",
            get.replace("FOLDER", str(named)),
        )
        return
    for kind in [kind for kind in KINDS if kind != "shapes"]:
        line = f"wsss-bench data verify --dataset {kind} --data-root {named}"
        try:
            dataset = open_dataset(kind, named)
            splits = ", ".join(dataset.available_splits())
            yield Check(
                "data", OK, f"{kind} at {dataset.root}: {splits} (every file: {line})"
            )
        except WsssError as error:
            what = str(error).partition(" (looked for")[0].rstrip(".")
            yield Check(
                "data",
                WARN,
                f"{kind}: {what}.",
                get.replace("FOLDER", str(named)).replace("voc2012", kind),
            )


def check_plugins(files: Sequence[Path] = ()) -> Iterator[Check]:
    """Load every method, installed or local; a broken one is named with its error."""
    from wsss_bench.methods.catalog import RESTRICT, Catalog

    if RESTRICT in os.environ:
        yield Check(
            "plugins",
            WARN,
            f"{RESTRICT}={os.environ[RESTRICT]!r} hides all other plugins.",
            f"unset {RESTRICT}",
        )
    catalog = Catalog(local=files)
    for listing in catalog.listings():
        try:
            stages = ", ".join(catalog.load(listing.name).card.stages)
            yield Check("plugins", OK, f"{listing.who}: {stages}")
        except WsssError as error:
            yield Check(
                "plugins",
                FAIL,
                str(error),
                _plugin_fix(listing.distribution, listing.version),
            )


def _plugin_fix(distribution: str, version: str) -> str:
    if version == "local":
        return (
            f"wsss-bench plugin check {Path(distribution).stem} --plugin {distribution}"
        )
    if distribution == DISTRIBUTION:
        return f"{PIP} --force-reinstall {_source()}"
    return f"python -m pip uninstall -y {distribution}"
