"""Errors that a user can act on.

Every one of them says who failed, where, what happened and what to do next, so the command line prints the message
alone, without a traceback. Anything else that escapes is a bug in the harness.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches


class WsssError(Exception):
    """Base of every error whose message is meant for the user."""


class PluginError(WsssError):
    """A plugin could not be loaded, broke its contract, or raised.

    The message reads ``<who>: <where>: <what> <fix>``.
    """

    def __init__(self, who: str, where: str, what: str, fix: str = "") -> None:
        self.who, self.where, self.what, self.fix = who, where, what, fix
        super().__init__(f"{who}: {where}: {what}" + (f" {fix}" if fix else ""))


class RecipeError(WsssError):
    """A recipe or one of its parameters cannot be understood."""


class DataError(WsssError):
    """A dataset root, a list, an image or a mask is missing or malformed."""


class ArtifactError(WsssError):
    """What passes between two stages is missing, unreadable, or breaks its contract."""


class LeakError(WsssError):
    """Something asked for supervision that its method card does not declare."""


_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)


def disk_error(error: BaseException, who: str) -> ArtifactError | None:
    """The message for a write that the system refused (disk full, quota, read-only, a file too large), or None for any other."""
    if not isinstance(error, OSError) or error.errno not in _DISK:
        return None
    what = f"cannot write {error.filename}" if error.filename else "cannot write"
    found = ArtifactError(
        f"{who}: {what}: {error.strerror}. Free some space or choose another --work-dir."
    )
    found.__cause__ = error
    return found


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the closest known name, then the list of all; both within one sentence each."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    return f"{hint} Known: {', '.join(names) or 'none'}."
