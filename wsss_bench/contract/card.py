"""`MethodCard`: what a method says about itself, and what the leaderboard shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_bench.contract.names import CONTRACT, STAGES

SUPERVISION = ("image labels", "saliency", "text", "boxes", "masks")


@dataclass(frozen=True)
class MethodCard:
    """A method's name, origin, needs and defaults.

    Attributes:
        name: the name in recipes; must equal the entry point's name.
        version: the method implementation's version; part of every stage key.
        stages: which of ``localize``, ``refine``, ``segment`` the plugin implements.
        paper: citation (authors, title, venue, year), or ``"-"`` for a utility.
        supervision: what training looks at beyond images, drawn from `SUPERVISION`.
        extra_data: anything used beyond the dataset and an ImageNet classifier ("-" when nothing).
        recipe: the three picks that the bare name stands for; ``_`` is the method itself where it implements the stage
            and the harness's default where it does not, ``-`` in the first place leaves localization out.
        defaults: per stage, a mapping of parameters, or the path of an mmengine config that holds one mapping per
            stage. Beside the stages it may hold ``profiles`` (by profile, then stage: what the method sets there) and
            ``test_settings`` (by stage: names of parameters that trainings do not depend on, such as scales).
        pins: per stage, names of parameters that make the method what it is, such as a network of its own: no profile
            replaces their values; a user still can, by name.
        notes: one line for the board's footnote.
        url: where the paper or the released code is found.
        contract: the hook contract the plugin was written for.
    """

    name: str
    version: str
    stages: tuple[str, ...]
    paper: str = "-"
    supervision: tuple[str, ...] = ("image labels",)
    extra_data: str = "-"
    recipe: str = "_/_/_"
    defaults: Mapping[str, Mapping[str, Any]] | Path = field(default_factory=dict)
    pins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: str = ""
    url: str = ""
    contract: int = CONTRACT

    def __post_init__(self) -> None:
        for problem in self.problems():
            raise ValueError(f"method card {self.name!r}: {problem}")

    def problems(self) -> list[str]:
        """Return everything wrong with the card, as sentences; nothing when it is complete."""
        found = []
        plain = self.name.replace("_", "").replace("-", "")
        if not plain.isalnum():
            may = "must consist of letters, digits, '-' and '_'."
            found.append(f"name {self.name!r} {may}")
        if not self.version:
            found.append("version is empty.")
        found += self._wrong_words()
        # Recipes are written with slashes between the picks, the card's own too.
        if self.recipe.count("/") != len(STAGES) - 1:
            found.append(f"recipe {self.recipe!r} must have three slots, like '_/_/_'.")
        if self.contract > CONTRACT:
            what = f"it was written for hook contract {self.contract}"
            upgrade = "Upgrade wsss-bench: pip install -U wsss-bench"
            found.append(f"{what}, this wsss-bench has {CONTRACT}. {upgrade}")
        return found

    def _wrong_words(self) -> list[str]:
        found = []
        stages, kinds = ", ".join(STAGES), ", ".join(SUPERVISION)
        if not self.stages:
            found.append(f"stages is empty; name at least one of {stages}.")
        for stage in self.stages:
            if stage not in STAGES:
                found.append(f"unknown stage {stage!r}; stages are {stages}.")
        for stage in self.pins:
            if stage not in self.stages:
                found.append(f"pins names stage {stage!r}, which the method has not.")
        for kind in self.supervision:
            if kind not in SUPERVISION:
                found.append(f"unknown supervision {kind!r}; use {kinds}.")
        return found
