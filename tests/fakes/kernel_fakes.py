"""Tests of what happens where numba is not installed."""

from __future__ import annotations

import importlib
import sys

import pytest

from wsss_bench.toolbox import kernels


def hide_kernel(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make importing `wsss_bench.toolbox.kernels.<name>` fail until the test ends, and check that it does."""
    module = f"wsss_bench.toolbox.kernels.{name}"
    monkeypatch.setitem(sys.modules, module, None)
    # A submodule that was imported before is an attribute of its package too, where
    # `from ... import` looks first.
    monkeypatch.delattr(kernels, name, raising=False)
    assert not hasattr(kernels, name)
    with pytest.raises(ImportError):
        importlib.import_module(module)
