"""Lets the Linux kernel deny a process a folder, by Landlock, where the kernel has it.

This also stops libraries that open files in C, such as OpenCV, which `io.sealing` does not see.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# linux/landlock.h and the system call table, the same numbers on every architecture. The C library has no functions for
# these calls, so they go through `syscall`.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_NO_NEW_PRIVILEGES = 38


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    # The kernel declares it packed; with padding, the descriptor would be read from the wrong bytes.
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def landlock_version() -> int:
    """Return the kernel's Landlock version, 0 where it has none (or this is no Linux)."""
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    size = ctypes.c_size_t(0)
    version = int(libc.syscall(_CREATE_RULESET, None, size, _ASK_VERSION))
    return max(0, version)


def landlock(folder: Path) -> bool:
    """Let the kernel deny reads below `folder` to this process and its children; return whether it does.

    Landlock knows allowances only, so everything is allowed that does not lie on the way to the folder. A file that
    is made later right beside that way is denied too: give the process a temporary folder of its own.
    """
    if landlock_version() == 0:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    ruleset = _new_ruleset(libc)
    if ruleset < 0:
        return False
    try:
        for path in _beside(Path(os.path.realpath(folder))):
            _allow(libc, ruleset, path)
        # Without this promise the kernel lets only root restrict itself: a program that gains privileges could be
        # misled.
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _new_ruleset(libc: Any) -> int:
    attributes = _RulesetAttributes(_READ_FILE | _READ_DIR)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    descriptor: int = libc.syscall(_CREATE_RULESET, ctypes.byref(attributes), size, 0)
    return descriptor


def _beside(folder: Path) -> Iterator[Path]:
    """Yield everything that lies beside `folder` or beside one of its parents."""
    way = [folder, *folder.parents]
    for parent, child in zip(folder.parents, way, strict=False):
        for path in parent.iterdir():
            # A link is looked up where it leads; allowing it would allow its target, which may be on the way.
            if path != child and not path.is_symlink():
                yield path


def _allow(libc: Any, ruleset: int, path: Path) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # it went away, or nobody may look at it
        return
    try:
        # The kernel refuses a rule that grants listing on a file.
        access = _READ_FILE | _READ_DIR if path.is_dir() else _READ_FILE
        rule = _PathBeneath(access, handle)
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    except OSError:
        return
    finally:
        os.close(handle)
