"""Whatever is edited in place, a run over the old store gives the numbers of a fresh one, and computes no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).resolve().parents[1] / "fakes" / "stale_driver.py"


@pytest.mark.parametrize(
    ("edits", "seed"),
    [(20, 1), pytest.param(200, 0, marks=pytest.mark.slow)],
)
def test_edits_in_place(edits: int, seed: int, tmp_path: Path) -> None:
    environment = {**os.environ, "WSSS_BENCH_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, str(DRIVER), str(tmp_path / "try"), str(edits)]
    done = subprocess.run(
        [*command, str(seed)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["edits"] == edits
    assert found["wrong"] == []
    # Else nothing would be told by "no more than that".
    assert found["steps_reused"] > edits
