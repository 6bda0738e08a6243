"""mmengine's Python configs as plain dicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsss_bench.errors import RecipeError

Params = dict[str, Any]


def read_config(path: Path) -> Params:
    """The variables of an mmengine Python config as plain dicts, inheritance resolved; this runs the file's code.

    Raises:
        RecipeError: the file is missing or cannot be read.
    """
    from mmengine.config import Config, ConfigDict

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list) else value

    try:
        content = Config.fromfile(path)
        return {
            key: plain(value)
            for key, value in content.items()
            if isinstance(value, dict | ConfigDict)
        }
    except Exception as error:
        raise RecipeError(
            f"config {path} cannot be read ({type(error).__name__}: {error})."
        ) from error
