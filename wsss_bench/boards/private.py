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
    r"""Return text with every absolute path in it cut to its last part, as in ``mine[weights=/home/me/my.pth]``.

    A path that is quoted may hold spaces. Addresses (``https://…``) and relative paths stay.
    """
    short = _QUOTED.sub(_cut, text)
    short = _SHARE.sub("", short)
    return _ABSOLUTE.sub("", short)


def file_name(value: str) -> str:
    """Return the last part of a value that is one absolute path, spaces and all; else what `without_paths` does."""
    return _last(value) if _WHOLE.fullmatch(value) else without_paths(value)


def _cut(found: re.Match[str]) -> str:
    quote, path = found.groups()
    return quote + _last(path) + quote


def _last(path: str) -> str:
    # As Windows sees it: both kinds of slashes part folders there.
    return PureWindowsPath(path).name or path
