"""Where a number comes from: command, versions, git state, code, hardware."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from wsss_bench.io.paths import checkout

PACKAGES = (
    "torch",
    "torchvision",
    "onedl-mmengine",
    "onedl-mmcv",
    "onedl-mmsegmentation",
    "pydensecrf2",
    "numpy",
    "scipy",
    "numba",
    "opencv-python",
    "pillow",
    "timm",
)
"""Distributions whose versions can change a number."""

ENVIRONMENT = re.compile(
    r"(OMP|MKL|OPENBLAS|NUMBA)_NUM_THREADS|OMP_WAIT_POLICY"
    r"|CUDA_VISIBLE_DEVICES|CUBLAS_WORKSPACE_CONFIG|NVIDIA_TF32_OVERRIDE"
    r"|PYTHONHASHSEED|PYTORCH_\w+|TORCH_\w+|WSSS_BENCH_PLUGINS"
)
"""Variables that can change a number, or what it costs."""

_ABSOLUTE = re.compile(r"(^|[=\[(,'\"\s])((?:/[^/\s,\])'\"]+)+)/?")
"""An absolute path at the start of a text or after ``= [ ( ,``, a quote or a space; not the slashes of a recipe."""


@cache
def versions() -> dict[str, str]:
    """Return versions of Python, of the harness (with its git commit in a checkout) and of `PACKAGES`; imports none."""
    from wsss_bench import __version__

    found = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "wsss-bench": __version__,
    }
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    commit = git_state()
    return {**found, "git": commit} if commit else found


def git_state() -> str | None:
    """Return the checkout's commit, with ``+changes`` where tracked files differ; None in a wheel or without git."""
    root = checkout()
    if root is None or not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout.strip()


def device_name(device: str) -> str:
    """Return ``cpu (model name, cores)`` or the accelerator's name."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    return f"cpu ({_cpu_model()}, {os.cpu_count()} cores)"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    # ARM machines list parts by number only.
    return platform.machine()


def machine(device: str) -> dict[str, Any]:
    """Return the hardware and the variables of `ENVIRONMENT` that are set."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    set_here = [key for key in sorted(os.environ) if ENVIRONMENT.fullmatch(key)]
    found: dict[str, Any] = {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        # A container or `taskset` may allow fewer.
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "gpus": [],
        "environment": {key: os.environ[key] for key in set_here},
    }
    if device.startswith("cuda"):
        import torch

        numbers = range(torch.cuda.device_count())
        found["gpus"] = [torch.cuda.get_device_name(number) for number in numbers]
        found["cuda"] = torch.version.cuda
    return found


def portable(value: Any) -> Any:
    """Return `value` with absolute paths cut to their last part: a record is to say nothing of the machine."""
    if isinstance(value, str | Path):
        return _ABSOLUTE.sub(lambda found: found[1] + Path(found[2]).name, str(value))
    if isinstance(value, Mapping):
        return {str(key): portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [portable(item) for item in value]
    return value


def command(arguments: Sequence[str]) -> list[str]:
    """Return the command line as typed, without this machine's paths."""
    return ["wsss-bench", *(str(portable(argument)) for argument in arguments)]
