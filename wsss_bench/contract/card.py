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
        defaults: per stage, a mapping of parameters, or the path of an mmengine config that holds one mapping per stage.
            Beside the stages it may hold ``profiles`` (by profile, then stage: what the method sets there) and
            ``test_settings`` (by stage: names of parameters that trainings do not depend on, such as scales).
        notes: one line for the board's footnote.
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
    notes: str = ""
    url: str = ""
    contract: int = CONTRACT

    def __post_init__(self) -> None:
        for problem in self.problems():
            raise ValueError(f"method card {self.name!r}: {problem}")

    def problems(self) -> list[str]:
        """Everything wrong with the card, as sentences; empty when it is complete."""
        found = []
        if not self.name or not self.name.replace("_", "").replace("-", "").isalnum():
            found.append(
                f"name {self.name!r} must consist of letters, digits, '-' and '_'."
            )
        if not self.version:
            found.append("version is empty.")
        if not self.stages:
            found.append(
                "stages is empty; name at least one of localize, refine, segment."
            )
        found += [
            f"unknown stage {s!r}; stages are {', '.join(STAGES)}."
            for s in self.stages
            if s not in STAGES
        ]
        found += [
            f"unknown supervision {s!r}; use {', '.join(SUPERVISION)}."
            for s in self.supervision
            if s not in SUPERVISION
        ]
        if self.recipe.count("/") != len(STAGES) - 1:
            found.append(f"recipe {self.recipe!r} must have three slots, like '_/_/_'.")
        if self.contract > CONTRACT:
            found.append(
                f"it was written for hook contract {self.contract}, this wsss-bench has {CONTRACT}. "
                "Upgrade wsss-bench: pip install -U wsss-bench"
            )
        return found
