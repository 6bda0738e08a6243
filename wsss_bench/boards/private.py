"""What a board must not publish: where files lie on somebody's machine."""

from __future__ import annotations

import re
from pathlib import PureWindowsPath

# A scheme, a home folder or a drive, and a slash that does not begin the host of an address.
_START = r"(?:file://)?(?:~[\w.-]*|[A-Za-z]:)?[/\\](?![/\\])"
_ENDS = r"\s,;'\"|()\[\]{}<>"
_WHOLE = re.compile(f"{_START}.*")
_QUOTED = re.compile(rf"(['\"])({_START}[^'\"]*)\1")
# Not in the middle of a relative path, of an address, or of a recipe, whose stages are parted by slashes.
_ABSOLUTE = re.compile(rf"(?<![\w/\\.~\])}}-]){_START}[^{_ENDS}]*[/\\]")
# A share of Windows begins with two backslashes, which no address does.
_SHARE = re.compile(rf"\\\\[^{_ENDS}]*\\")


def without_paths(text: str) -> str:
    r"""Return text with every absolute path cut to its last part: ``/home/me/nets/my.pth`` becomes ``my.pth``.

    Paths may stand anywhere in the text, as in ``mine[weights=/home/me/my.pth]``; one that is quoted, or is the whole
    text, may hold spaces. Addresses (``https://…``) and relative paths stay.
    """
    if _WHOLE.fullmatch(text):
        return _last(text)
    short = _QUOTED.sub(lambda found: found[1] + _last(found[2]) + found[1], text)
    return _ABSOLUTE.sub("", _SHARE.sub("", short))


def _last(path: str) -> str:
    # As Windows sees it: both kinds of slashes part folders there.
    return PureWindowsPath(path).name or path
