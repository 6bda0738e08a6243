"""Names that both sides of the contract use: stages, test settings of a segmentor, the contract's version."""

from __future__ import annotations

from collections.abc import Mapping

CONTRACT = 1
"""Version of the hook contract; a card that asks for a newer one is refused."""

STAGES = ("localize", "refine", "segment")

KEPT = "kept"
"""The folder, in a stage's folder of results, of the files that `StageContext.keep` put there."""

TEST_NAMES: Mapping[str, str] = {
    "test_scales": "scales",
    "test_flip": "flip",
    "test_merge": "merge",
    "test_warp": "warp",
    "test_amp": "amp",
    "test_batch": "batch",
    "test_round": "step",
    "crf": "crf",
}
"""Parameters of ``segment`` that a method may declare as test settings, and what `Segmentor.test` calls each."""
