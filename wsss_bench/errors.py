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
        self.who = who
        self.where = where
        self.what = what
        self.fix = fix
        remedy = f" {fix}" if fix else ""
        super().__init__(f"{who}: {where}: {what}{remedy}")


class RecipeError(WsssError):
    """A recipe or one of its parameters cannot be understood."""


class DataError(WsssError):
    """A dataset root, a list, an image or a mask is missing or malformed."""


class ArtifactError(WsssError):
    """What passes between two stages is missing, unreadable, or breaks its contract."""


class LeakError(WsssError):
    """Something asked for supervision that its method card does not declare."""


# What the user can help. Any other `OSError` is a bug of ours or of a plugin.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)


def disk_error(error: BaseException, who: str) -> ArtifactError | None:
    """Return the error for a write that the system refused, None for any other `error`.

    Refused is a write to a full or read-only disk, beyond a quota, or of a file that is too large.
    """
    if not isinstance(error, OSError) or error.errno not in _DISK:
        return None
    what = f"cannot write {error.filename}" if error.filename else "cannot write"
    fix = "Free some space or choose another --work-dir."
    found = ArtifactError(f"{who}: {what}: {error.strerror}. {fix}")
    # Set here, for the error is returned and not raised: the cause belongs into its traceback all the same.
    found.__cause__ = error
    return found


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return two sentences for a message about an unknown name: `` Did you mean 'x'? Known: x, y.``

    The first is left out where no known name is close.
    """
    names = sorted(known)
    # Looser than `difflib`'s own 0.6: of a short name, two letters that are off leave a half.
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    guesses = " or ".join(map(repr, close))
    hint = f" Did you mean {guesses}?" if close else ""
    listed = ", ".join(names) or "none"
    return f"{hint} Known: {listed}."
