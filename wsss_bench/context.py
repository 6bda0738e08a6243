"""`StageContext`: what a hook is given besides its data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wsss_bench.artifacts import Segmentor

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``."""


def _silent(what: str, done: int, total: int) -> None:
    """Report to nobody."""


@dataclass
class StageContext:
    """Seed, device, parameters and places of one stage of one recipe.

    Attributes:
        seed: the run's seed. Derive every random choice from it with `wsss_bench.rng`, never from global state.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        params: the resolved parameters of this stage (defaults, profile and the user's overrides merged).
        scratch: a folder that outlives an interruption of this stage and is deleted when the stage is finished.
        round: 1, or the number of the retrain round.
        workers: processes or threads that per-image work may use.
        progress: report progress as ``progress("epoch 2/5", done, total)``.
        log: a logger whose lines end in the run's log file.
        masks: pixel masks by image id, only for methods whose card declares masks as supervision; else None.
    """

    seed: int
    device: str
    params: Mapping[str, Any]
    scratch: Path
    out_dir: Path
    round: int = 1
    workers: int = 1
    progress: Progress = _silent
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("wsss_bench"))
    masks: Callable[[str], NDArray[np.uint8]] | None = None
    visualizers: tuple[str, ...] = ("local",)

    def train(self, config: Any, name: str = "train") -> Path:
        """Run one mmengine training and return the path of its final weights.

        Resumes from the last checkpoint in `scratch` if there is one. `config` is an mmengine `Config` or dict as
        `wsss_bench.engine` builds them; its seed, device and work dir are set here.
        """
        from wsss_bench.engine import train

        return train(config, self, name)

    def segmentor(self, config: Any, checkpoint: Path, **facts: Any) -> Segmentor:
        """Keep `config` and `checkpoint` in this stage's folder and return the `Segmentor` to hand back from the hook."""
        from wsss_bench.engine import keep_segmentor

        return keep_segmentor(config, checkpoint, self.out_dir, facts)
