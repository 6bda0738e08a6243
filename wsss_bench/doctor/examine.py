"""What works on this machine, what does not, and the exact line that repairs it.

Nothing here imports torch or mmengine, so the answer comes at once even where they are what is broken; versions are
read from the installed distributions, the GPU is asked through its driver. Each heavy package can be imported in a
process of its own (`check_imports`), which takes seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.doctor.compiled import check_crf, check_imports
from wsss_bench.doctor.findings import DISTRIBUTION, FAIL, OK, PIP, WARN, Check
from wsss_bench.doctor.machine import check_gpu, check_work_dir
from wsss_bench.doctor.packages import check_install, check_packages, check_python
from wsss_bench.doctor.requirements import source
from wsss_bench.errors import WsssError

if TYPE_CHECKING:
    from wsss_bench.data.kind import DatasetKind


def examine(
    data_root: Path | None,
    work_dir: Path,
    plugins: Sequence[Path] = (),
    *,
    imports: bool = False,
) -> Iterator[Check]:
    """Run all checks, in the order in which a new user needs them.

    Args:
        data_root: where the data lie; None for what the environment names.
        work_dir: where runs will be kept; it need not exist.
        plugins: local ``.py`` files to load as well; their code runs.
        imports: whether to import the heavy packages too.
    """
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
            # On a machine where much is broken a check may break too; the others must still have their say.
            what = f"the check itself failed: {type(error).__name__}: {error}"
            yield Check(part, FAIL, what, f"{PIP} --upgrade {DISTRIBUTION}")


def check_data(root: Path | None) -> Iterator[Check]:
    """Say which datasets can be opened; nothing but their folders and lists is read."""
    from wsss_bench.data.base import ROOT_VARIABLE
    from wsss_bench.data.registry import KINDS
    from wsss_bench.data.voc.kind import KIND as VOC

    kinds = []
    # First, since a broken kind is one whether or not there are data.
    for listing in KINDS.listings():
        try:
            kinds.append(listing.load())
        except WsssError as error:
            fix = f"python -m pip uninstall -y {listing.distribution}"
            yield Check("data", FAIL, str(error), fix)
    if any(kind.name == "shapes" for kind in kinds):
        yield Check("data", OK, "shapes: drawn on the spot")
    named = root or os.environ.get(ROOT_VARIABLE)
    if not named:
        what = f"no data root: neither --data-root nor {ROOT_VARIABLE} is given, so only shapes can be used."
        get = VOC.how_to_get("FOLDER")
        yield Check("data", WARN, what, f"{get} && export {ROOT_VARIABLE}=FOLDER")
        return
    folder = Path(named)
    if not folder.expanduser().is_dir():
        fix = VOC.how_to_get(folder)
        yield Check("data", FAIL, f"data root {folder} is no folder.", fix)
        return
    for kind in kinds:
        if kind.name != "shapes":
            yield _dataset(kind, folder)


def _dataset(kind: DatasetKind, folder: Path) -> Check:
    from wsss_bench.data.opening import open_dataset

    try:
        dataset = open_dataset(kind.name, folder)
        splits = ", ".join(dataset.available_splits())
    except WsssError as error:
        # The list of places that were looked at is for someone who has the data; here it would drown the others.
        what = str(error).partition(" (looked for")[0].rstrip(".")
        return Check("data", WARN, f"{kind.name}: {what}.", kind.how_to_get(folder))
    line = f"wsss-bench data verify --dataset {kind.name} --data-root {folder}"
    what = f"{kind.name} at {dataset.root}: {splits} (every file: {line})"
    return Check("data", OK, what)


def check_plugins(files: Sequence[Path] = ()) -> Iterator[Check]:
    """Load every method, installed or local; a broken one is named with its error."""
    from wsss_bench.methods.catalog import RESTRICT, Catalog

    if RESTRICT in os.environ:
        what = f"{RESTRICT}={os.environ[RESTRICT]!r} hides all other plugins."
        yield Check("plugins", WARN, what, f"unset {RESTRICT}")
    catalog = Catalog(local=files)
    for listing in catalog.listings():
        try:
            stages = ", ".join(catalog.load(listing.name).card.stages)
            yield Check("plugins", OK, f"{listing.who}: {stages}")
        except WsssError as error:
            fix = _plugin_fix(listing.distribution, listing.version)
            yield Check("plugins", FAIL, str(error), fix)


def _plugin_fix(distribution: str, version: str) -> str:
    if version == "local":
        # The catalogue names a local file in place of a distribution.
        name = Path(distribution).stem
        return f"wsss-bench plugin check {name} --plugin {distribution}"
    if distribution == DISTRIBUTION:
        return f"{PIP} --force-reinstall {source()}"
    return f"python -m pip uninstall -y {distribution}"
