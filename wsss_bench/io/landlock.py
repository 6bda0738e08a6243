"""Keeps a process away from the sealed masks: an audit hook that notes and refuses, and Landlock where the kernel has it.

The audit hook sees every open that goes through Python. Landlock also stops libraries that open files in C, such as OpenCV.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wsss_bench.io.sealing import Seal, arm

# linux/landlock.h and the system call table, the same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_NO_NEW_PRIVILEGES = 38


def refuse_reading(folder: Path, log: Path) -> None:
    """From now on, in this process and its forks, opening or listing anything in `folder` raises `LeakError`.

    What was tried is appended to `log`, so that a plugin that swallows the error is found all the same. Cannot be undone.
    """
    arm(Seal((os.path.realpath(folder),), str(log)))


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def landlock_version() -> int:
    """The kernel's Landlock version, 0 where it has none (or this is no Linux)."""
    if sys.platform != "linux":
        return 0
    return max(
        0,
        int(
            ctypes.CDLL(None, use_errno=True).syscall(
                _CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION
            )
        ),
    )


def landlock(folder: Path) -> bool:
    """Let the kernel deny reads below `folder` to this process and its children; returns whether it does.

    Landlock knows allowances only, so everything is allowed that does not lie on the way to the folder. A file that is made
    later right beside that way is denied too: give the process a temporary folder of its own.
    """
    if landlock_version() == 0:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = _RulesetAttributes(_READ_FILE | _READ_DIR)
    ruleset = libc.syscall(
        _CREATE_RULESET,
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
        0,
    )
    if ruleset < 0:
        return False
    try:
        for path in _beside(Path(os.path.realpath(folder))):
            _allow(libc, ruleset, path)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _beside(folder: Path) -> Iterator[Path]:
    """Everything that lies beside `folder` or beside one of its parents."""
    for parent, child in zip(folder.parents, [folder, *folder.parents], strict=False):
        # A link is looked up where it leads; allowing it would allow its target, which may be on the way.
        yield from (
            path for path in parent.iterdir() if path != child and not path.is_symlink()
        )


def _allow(libc: Any, ruleset: int, path: Path) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # it went away, or nobody may look at it
        return
    try:
        access = _READ_FILE | _READ_DIR if path.is_dir() else _READ_FILE
        rule = _PathBeneath(access, handle)
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    except OSError:
        return
    finally:
        os.close(handle)
