"""Names that both sides of the contract use: the stages, and the version of the contract."""

from __future__ import annotations

CONTRACT = 1
"""Version of the hook contract; a card that asks for a newer one is refused."""

STAGES = ("localize", "refine", "segment")

KEPT = "kept"
"""The folder, in a stage's folder of results, of the files that `StageContext.keep` put there."""
