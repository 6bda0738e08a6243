"""What works on this machine, what does not, and the exact line that repairs it.

Nothing here imports torch or mmengine, so the answer comes at once even where they are what is broken; versions are read from
the installed distributions, the GPU is asked through its driver. Each heavy package can be imported in a process of its own
(`check_imports`), which takes seconds.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.errors import WsssError
from wsss_bench.paths import checkout

if TYPE_CHECKING:
    from packaging.requirements import Requirement

OK, WARN, FAIL = "ok", "warn", "fail"
DISTRIBUTION = "wsss-bench"
PIP = "python -m pip install"

CLASHES = {
    "mmcv": ("onedl-mmcv", "both install the module mmcv"),
    "mmcv-full": ("onedl-mmcv", "both install the module mmcv"),
    "mmcv-lite": ("onedl-mmcv", "both install the module mmcv"),
    "mmengine": ("onedl-mmengine", "both install the module mmengine"),
    "mmsegmentation": ("onedl-mmsegmentation", "both install the module mmseg"),
    "pydensecrf": ("pydensecrf2", "both install the module pydensecrf"),
    "opencv-python-headless": ("opencv-python", "both install the module cv2"),
    "opencv-contrib-python": ("opencv-python", "both install the module cv2"),
}
"""Distributions that overwrite files of one that is needed, and why."""

HEAVY = ("torch", "torchvision", "mmengine.runner", "mmcv", "mmseg", "scipy.sparse", "pandas")
"""Modules that `check_imports` imports; light ones are imported by the other checks."""

APT = "apt-get install -y libgl1 libglib2.0-0"
COMPILER = "apt-get install -y g++ python3-dev"
LOW_SPACE, LITTLE_SPACE = 1 << 30, 10 << 30
"""Free bytes below which a work dir is of no use, and below which VOC-sized runs will not fit."""


@dataclass(frozen=True)
class Check:
    """One finding: `part` of the machine, `level` (`OK`, `WARN`, `FAIL`), `what` was found, and the command that repairs it."""

    part: str
    level: str
    what: str
    fix: str = ""


def examine(data_root: Path | None, work_dir: Path, plugins: Sequence[Path] = (), *, imports: bool = False) -> Iterator[Check]:
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
                part, FAIL, f"the check itself failed: {type(error).__name__}: {error}", f"{PIP} --upgrade {DISTRIBUTION}"
            )


# ---- Python and packages


def project() -> Mapping[str, Any]:
    """``requires-python``, ``dependencies`` and ``methods`` (entry points) as the source says, else as installed.

    Raises:
        PackageNotFoundError: there is neither a checkout nor an installed distribution.
    """
    root = checkout()
    if root is not None:
        import tomllib

        table = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        methods = table.get("entry-points", {}).get("wsss_bench.methods", {})
        return {"python": table["requires-python"], "dependencies": table["dependencies"], "methods": dict(methods)}
    found = metadata.distribution(DISTRIBUTION)
    points = {p.name: p.value for p in found.entry_points if p.group == "wsss_bench.methods"}
    return {"python": found.metadata["Requires-Python"], "dependencies": found.requires or [], "methods": points}


def check_python() -> Iterator[Check]:
    """The interpreter against ``requires-python``, and the operating system."""
    from packaging.specifiers import SpecifierSet

    wanted, here = project()["python"], platform.python_version()
    if here in SpecifierSet(wanted, prereleases=True):
        yield Check("python", OK, f"{here} ({sys.executable})")
    else:
        fix = f"python3.11 -m venv venv && venv/bin/{PIP} {_source()}"
        yield Check("python", FAIL, f"{here} is not {wanted}.", fix)
    if sys.platform != "linux":
        what = f"{platform.system()}: only Linux is tried; file locks and memory figures may differ."
        yield Check("python", WARN, what)


def check_packages() -> Iterator[Check]:
    """Every dependency against its requirement; clashes; whether torch and torchvision are builds of one kind."""
    wanted = requirements(project()["dependencies"])
    for need in wanted:
        yield _package(need)
    for name, (needed, why) in CLASHES.items():
        if version(name) is not None and version(needed) is not None:
            fix = f"python -m pip uninstall -y {name} {needed} && {PIP} {_quoted(needed, wanted)}"
            yield Check("packages", FAIL, f"{name} {version(name)} lies over {needed}: {why}.", fix)
    torch, vision = version("torch"), version("torchvision")
    if torch is not None and vision is not None and torch.partition("+")[2] != vision.partition("+")[2]:
        what = f"torch {torch} and torchvision {vision} are builds of different kinds."
        fix = f"{PIP} --force-reinstall {_quoted('torch', wanted)} {_quoted('torchvision', wanted)}"
        yield Check("packages", FAIL, what, fix)


def requirements(lines: Iterable[str]) -> list[Requirement]:
    """The requirements that apply here: extras and foreign markers are left out."""
    from packaging.requirements import Requirement

    found = [Requirement(line) for line in lines]
    return [need for need in found if need.marker is None or need.marker.evaluate({"extra": ""})]


def version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _package(need: Requirement) -> Check:
    found = version(need.name)
    fix = f"{PIP} '{need.name}{need.specifier}'"
    if found is None:
        more = f" (its build needs a compiler: {COMPILER})" if need.name == "pydensecrf2" else ""
        return Check("packages", FAIL, f"{need.name} is not installed{more}.", fix)
    if found not in need.specifier and not need.specifier.contains(found, prereleases=True):
        return Check("packages", FAIL, f"{need.name} {found} does not satisfy {need.specifier}.", fix)
    return Check("packages", OK, f"{need.name} {found}" + (f" ({need.specifier})" if need.specifier else ""))


def _quoted(name: str, wanted: Iterable[Requirement]) -> str:
    return next((f"'{need.name}{need.specifier}'" for need in wanted if need.name == name), name)


def _source() -> str:
    """What pip installs the harness from."""
    root = checkout()
    return f"-e {root}" if root is not None else DISTRIBUTION


def check_install() -> Iterator[Check]:
    """Whether the harness is installed, and whether the installation knows the methods that the source names."""
    fix = f"{PIP} {_source()}"
    try:
        installed = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        yield Check("install", FAIL, "wsss-bench is not installed, so no bundled method can be found.", fix)
        return
    known = {point.name: point.value for point in installed.entry_points if point.group == "wsss_bench.methods"}
    stale = sorted(name for name, target in project()["methods"].items() if known.get(name) != target)
    if stale:
        what = f"the installation is older than pyproject.toml: it does not know {', '.join(stale)}."
        yield Check("install", FAIL, what, fix)
        return
    yield Check("install", OK, f"wsss-bench {installed.version}" + (f", from {checkout()}" if checkout() else ""))
    if installed.version != _source_version():
        yield Check("install", WARN, f"installed as {installed.version}, the source is {_source_version()}.", fix)


def _source_version() -> str:
    from wsss_bench import __version__

    return __version__


# ---- what is compiled


def check_crf() -> Iterator[Check]:
    """Both back ends of the CRF, and OpenCV, which fails to load where system libraries are missing."""
    compiled = _import_error("pydensecrf.densecrf")
    if compiled is None:
        yield Check("crf", OK, "pydensecrf loads")
    else:
        fix = f"{COMPILER} && {PIP} --force-reinstall --no-cache-dir pydensecrf2==1.1"
        yield Check("crf", WARN, f"pydensecrf does not load ({compiled}); the own back end does its work.", fix)
    own = _import_error("numba")
    if own is None:
        yield from _numba_cache()
    else:
        yield Check(
            "crf", FAIL, f"numba does not load ({own}), so neither CRF nor evaluator run.", f"{PIP} --force-reinstall numba"
        )
    vision = _import_error("cv2")
    if vision is not None:
        fix = APT if ".so" in vision else f"{PIP} --force-reinstall opencv-python"
        yield Check("crf", FAIL, f"cv2 (OpenCV) does not load: {vision}.", fix)


def _numba_cache() -> Iterator[Check]:
    import wsss_bench.toolbox

    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(str(wsss_bench.toolbox.__file__)).parent)
    if os.access(folder if folder.exists() else nearest(folder), os.W_OK):
        yield Check("crf", OK, "own compiled back end (numba) loads and keeps its cache")
    else:
        what = f"own compiled back end loads, but {folder} is read-only: it is compiled anew where no cache can be kept."
        yield Check("crf", WARN, what, "export NUMBA_CACHE_DIR=$HOME/.cache/numba")


def _import_error(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as error:
        return f"{type(error).__name__}: {error}".rstrip(".")
    return None


def check_imports() -> Iterator[Check]:
    """Import every heavy package, each in a process of its own, all at once; takes seconds."""
    command = [sys.executable, "-W", "ignore", "-c"]
    started = {
        name: subprocess.Popen([*command, f"import {name}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for name in HEAVY
    }
    for name, process in started.items():
        try:
            _, said = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            said = "it took more than 300 seconds"
        if process.returncode == 0:
            yield Check("imports", OK, f"{name} imports")
        else:
            last = (said.strip().splitlines() or ["no message"])[-1]
            yield Check("imports", FAIL, f"{name} does not import: {last}", f"{PIP} --force-reinstall {_source()}")


# ---- GPU


def check_gpu() -> Iterator[Check]:
    """What the driver says, and whether the installed torch can use it; a machine without GPU is a warning, not a failure."""
    build = torch_cuda()
    found = driver()
    if found is None:
        yield Check("gpu", WARN, "no NVIDIA driver: everything runs on the CPU (--device cpu); real data take days.")
        return
    names, release = found
    if not names:
        yield Check("gpu", WARN, "the NVIDIA driver is there, but shows no GPU. Is CUDA_VISIBLE_DEVICES empty?", "nvidia-smi -L")
    elif build is None:
        what = f"{', '.join(names)} is there, but the installed torch is a build without CUDA."
        yield Check("gpu", FAIL, what, f"{PIP} --force-reinstall torch==2.15.0 torchvision==0.29.2")
    elif release < _release(build)[:1]:
        what = f"the driver knows CUDA {release[0]}.{release[1]}, torch is built for {build}: it will not start on the GPU."
        yield Check("gpu", FAIL, what, "update the NVIDIA driver; until then: wsss-bench run --device cpu")
    else:
        yield Check("gpu", OK, f"{', '.join(names)}; driver for CUDA {release[0]}.{release[1]}, torch built for {build}")


def torch_cuda() -> str | None:
    """The CUDA version torch is built for, from its ``version.py``, without importing torch; None for a CPU build."""
    try:
        spec = importlib.util.find_spec("torch")
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text()
    except OSError:
        return None
    found = re.search(r"^cuda\b[^=]*=\s*['\"]([\d.]+)['\"]", text, re.M)
    return found[1] if found else None


def driver() -> tuple[list[str], tuple[int, int]] | None:
    """Names of the GPUs and the newest CUDA version the driver knows; None where there is no driver. Asks libcuda itself."""
    import ctypes

    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    number, count, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(128)
    cuda.cuDriverGetVersion(ctypes.byref(number))
    release = (number.value // 1000, number.value % 1000 // 10)
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return [], release
    names = []
    for index in range(count.value):
        cuda.cuDeviceGetName(name, len(name), index)
        names.append(name.value.decode(errors="replace"))
    return names, release


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


# ---- data, work dir, plugins


def check_data(root: Path | None) -> Iterator[Check]:
    """Which datasets can be opened; nothing but their folders and lists is read."""
    from wsss_bench.data.base import ROOT_VARIABLE
    from wsss_bench.data.opening import KINDS, open_dataset

    yield Check("data", OK, "shapes: drawn on the spot")
    named = root or (Path(os.environ[ROOT_VARIABLE]) if os.environ.get(ROOT_VARIABLE) else None)
    get = "wsss-bench data prepare --dataset voc2012 --data-root FOLDER --download"
    if named is None:
        what = f"no data root: neither --data-root nor {ROOT_VARIABLE} is given, so only shapes can be used."
        yield Check("data", WARN, what, f"{get} && export {ROOT_VARIABLE}=FOLDER")
        return
    if not named.expanduser().is_dir():
        yield Check("data", FAIL, f"data root {named} is no folder.", get.replace("FOLDER", str(named)))
        return
    for kind in [kind for kind in KINDS if kind != "shapes"]:
        line = f"wsss-bench data verify --dataset {kind} --data-root {named}"
        try:
            dataset = open_dataset(kind, named)
            splits = ", ".join(dataset.available_splits())
            yield Check("data", OK, f"{kind} at {dataset.root}: {splits} (every file: {line})")
        except WsssError as error:
            what = str(error).partition(" (looked for")[0].rstrip(".")
            yield Check("data", WARN, f"{kind}: {what}.", get.replace("FOLDER", str(named)).replace("voc2012", kind))


def nearest(folder: Path) -> Path:
    """The folder, or the nearest of its parents that exists."""
    folder = folder.expanduser().absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def check_work_dir(folder: Path) -> Iterator[Check]:
    """Whether a file can be written, renamed and locked there, and how much space is left; leaves nothing behind."""
    import shutil

    there = nearest(folder)
    fix = "wsss-bench run --work-dir OTHER_FOLDER"
    wrong = _try_files(there)
    if wrong is not None:
        yield Check("work dir", FAIL, f"{there}: {wrong}.", fix)
        return
    yield Check("work dir", OK, f"{there}: files can be written, renamed and locked")
    free = shutil.disk_usage(there).free
    level = FAIL if free < LOW_SPACE else WARN if free < LITTLE_SPACE else OK
    yield Check("work dir", level, f"{free / 2**30:.1f} GiB free", "" if level == OK else "wsss-bench cache gc")
    inodes = os.statvfs(there)
    if inodes.f_files > 0 and inodes.f_favail < 100_000:
        what = f"{inodes.f_favail:,} files can still be made; stages keep one per image."
        yield Check("work dir", WARN, what, "wsss-bench cache gc")


def _try_files(folder: Path) -> str | None:
    """Do what the store does; what went wrong, or None."""
    import fcntl
    import tempfile

    if not folder.is_dir():
        return "it is no folder"
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".wsss-bench-doctor-") as place:
            first, second = Path(place) / "a", Path(place) / "b"
            first.write_bytes(b"x" * 4096)
            os.replace(first, second)
            with second.open("rb") as one, second.open("rb") as other:
                fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
                try:
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return None
                return "locks do not hold there (a network file system?), so two runs would disturb each other"
    except OSError as error:
        return f"{error.strerror or error}"


def check_plugins(files: Sequence[Path] = ()) -> Iterator[Check]:
    """Load every method, installed or local; a broken one is named with its error."""
    from wsss_bench.catalog import RESTRICT, Catalog

    if RESTRICT in os.environ:
        yield Check("plugins", WARN, f"{RESTRICT}={os.environ[RESTRICT]!r} hides all other plugins.", f"unset {RESTRICT}")
    catalog = Catalog(local=files)
    for listing in catalog.listings():
        try:
            stages = ", ".join(catalog.load(listing.name).card.stages)
            yield Check("plugins", OK, f"{listing.who}: {stages}")
        except WsssError as error:
            yield Check("plugins", FAIL, str(error), _plugin_fix(listing.distribution, listing.version))


def _plugin_fix(distribution: str, version: str) -> str:
    if version == "local":
        return f"wsss-bench plugin check {Path(distribution).stem} --plugin {distribution}"
    if distribution == DISTRIBUTION:
        return f"{PIP} --force-reinstall {_source()}"
    return f"python -m pip uninstall -y {distribution}"
