"""Where in a data root a dataset lies."""

from __future__ import annotations

from pathlib import Path

from wsss_bench.data.base import ROOT_VARIABLE
from wsss_bench.errors import DataError


def find_folder(
    kind: str, root: Path | None, candidates: tuple[str, ...], marker: str, how: str
) -> Path:
    """Return the first ``root/candidate`` that holds `marker`.

    Args:
        kind: the kind of dataset that is looked for, for messages.
        root: the data root; None where the user named none.
        candidates: folders under the root, best first; ``"."`` is the root itself.
        marker: a file or folder that the dataset certainly has.
        how: how to come by the data, as a sentence that ends messages.

    Raises:
        DataError: no root, or none that holds the dataset; the message says where was looked.
    """
    if root is None:
        needs = f"dataset {kind!r} needs a data root"
        raise DataError(f"{needs}: pass --data-root or set {ROOT_VARIABLE}. {how}")
    root = Path(root).expanduser()
    for candidate in candidates:
        if (root / candidate / marker).exists():
            return root / candidate
    if not root.exists():
        raise DataError(f"data root {root} does not exist. {how}")
    looked = ", ".join(str(root / candidate / marker) for candidate in candidates)
    raise DataError(f"no {kind} under {root} (looked for {looked}). {how}")
