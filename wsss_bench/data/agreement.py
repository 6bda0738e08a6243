"""Masks against image-level labels: how many images disagree, and which slip would explain it.

A mask can be well-formed and hold other class ids than the dataset's: COCO's category ids (1 to 90 with gaps), ids that
begin at 0 because the background was left out, two classes exchanged. Scores are then low, and nothing says why. Labels
of the same images do: under the right reading of the values, (nearly) no mask shows a class that its image lacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from wsss_bench.contract.view import IGNORE

DISAGREEMENT = 0.1
"""Share of images whose mask shows an unlabelled class; above it the labels must belong to something else.

VOC has below 1 %.
"""

EXPLAINED = 0.05
"""Share of images that may still disagree under a reading for it to be named."""

FEWEST = 2
"""Images that must disagree before a slip is guessed at: a single one can be explained by anything."""

Reading = Mapping[int, int]
"""Class id by the value in a mask; a value that is not in it is no class."""

_NOT_SURE = (
    "Check which ids the masks hold, and whether --labels belongs to these data."
)


@dataclass
class Agreement:
    """Labels against masks of many images.

    Attributes:
        classes: class names by mask id, background first.
        category_ids: mask id by the source's own class id, where there are such; see `Dataset.category_ids`.
    """

    classes: Sequence[str]
    category_ids: Mapping[int, int] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    _seen: list[tuple[frozenset[int], frozenset[int]]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many images were compared."""
        return len(self._seen)

    def add(
        self, image_id: str, values: Collection[int], labels: Collection[int]
    ) -> None:
        """Compare one image.

        Args:
            image_id: its id.
            values: the values in its mask; those that are no class here included, 0 and 255 do not count.
            labels: the classes it is labelled with.
        """
        present = frozenset(values) - {0, IGNORE}
        wanted = frozenset(labels)
        self._seen.append((present, wanted))
        if present - wanted:
            self.unlabelled.append(image_id)
        if wanted - present:
            self.hidden.append(image_id)

    @property
    def disagree(self) -> bool:
        """Whether so many masks show an unlabelled class that something must be wrong."""
        return len(self.unlabelled) > DISAGREEMENT * self.count

    def slip(self) -> str:
        """Return what the values of the masks seem to be and what to do; empty where no slip explains them."""
        if not self.disagree or len(self.unlabelled) < FEWEST:
            return ""
        for words, reading in self._readings():
            if self._explains(reading):
                return words
        return ""

    def doubt(self, where: str) -> str | None:
        """Return a warning that names images and the likely slip; None where masks and labels agree."""
        if not self.disagree or len(self.unlabelled) < FEWEST:
            return None
        who = f"{len(self.unlabelled)} of {self.count} masks"
        first = f"(first: {self.unlabelled[0]!r})"
        what = f"{where}: {who} show a class that the image-level labels lack {first}."
        return f"{what} {self.slip() or _NOT_SURE}"

    def _explains(self, reading: Reading) -> bool:
        """Return whether masks and labels agree under a reading: nearly all, and most labels are found again."""
        contradicted = 0
        found = 0
        for present, labels in self._seen:
            classes = {reading.get(value, -1) for value in present}
            contradicted += bool(classes - labels)
            found += bool(classes & labels)
        few = contradicted <= EXPLAINED * self.count
        # An empty mask contradicts nothing, so something must be confirmed as well.
        return few and found > self.count / 2

    def _readings(self) -> Iterator[tuple[str, Reading]]:
        """Yield what people's files hold, the most usual first."""
        last = len(self.classes) - 1
        if self.category_ids:
            yield self._categories(last), self.category_ids
        yield (
            f"The values seem to begin at 0 without a background: value 0 is {self.classes[1]!r}. "
            "Write the masks anew with every class one higher, and 0 for the background.",
            {value: value + 1 for value in range(last)},
        )
        yield (
            "The values seem to be one too high. Write the masks anew with every class one lower.",
            {value: value - 1 for value in range(2, last + 2)},
        )
        exchanged = self._exchanged()
        if exchanged:
            yield self._exchange(exchanged), exchanged

    def _categories(self, last: int) -> str:
        low = min(self.category_ids)
        high = max(self.category_ids)
        what = f"The values seem to be the category ids {low} to {high} of the annotations, with gaps"
        fix = f"Write the masks anew with class ids 1 to {last} (the k-th category id is class k)."
        return f"{what}. {fix}"

    def _exchanged(self) -> Reading:
        """Return the identity with two or more classes exchanged, as the labels suggest; empty where they do not."""
        together: dict[int, Counter[int]] = {}
        for present, labels in self._seen:
            for value in present:
                together.setdefault(value, Counter()).update(labels)
        reading = {}
        for value, counts in together.items():
            best = max(counts.values(), default=0)
            # A class that is everywhere goes with every value; the value's own class comes first.
            if best and counts[value] >= (1 - EXPLAINED) * best:
                reading[value] = value
            elif best:
                reading[value] = min(k for k, n in counts.items() if n == best)
        one_to_one = len(set(reading.values())) == len(reading)
        return reading if one_to_one else {}

    def _exchange(self, reading: Reading) -> str:
        moved = {value: k for value, k in reading.items() if value != k}
        shown = [
            f"{value} stands for {self.classes[k]!r}, class {k}"
            for value, k in sorted(moved.items())[:4]
        ]
        what = f"Class ids seem to be exchanged in the masks: {'; '.join(shown)}."
        return (
            f"{what} Write the masks anew, or restore them from the original archive."
        )
