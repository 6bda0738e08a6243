"""The upper bound: DeepLab on the true masks of the training split, and the one method that may see masks."""

from __future__ import annotations

from wsss_bench import (
    LabelSet,
    LabelWriter,
    MethodCard,
    StageContext,
    WeakView,
    hookimpl,
)


class Supervised:
    """Hands the masks of the training split on as labels."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """Return a card that declares masks as supervision."""
        return MethodCard(
            name="supervised",
            version="1.0",
            stages=("refine",),
            supervision=("image labels", "masks"),
            recipe="-/_/_",
            defaults={"refine": {}},
            notes="upper bound: trains on the true masks of the training split",
        )

    @hookimpl
    def refine(self, view: WeakView, out: LabelWriter, ctx: StageContext) -> LabelSet:
        """Copy the true masks; raises `LeakError` where the harness handed none over."""
        from wsss_bench.errors import LeakError

        if ctx.masks is None:
            what = "supervised: the harness handed over no masks."
            fix = "Run it through `wsss-bench run`, which reads its card."
            raise LeakError(f"{what} {fix}")
        for index, image in enumerate(view):
            if not out.done(image.id):
                out.write(image.id, ctx.masks(image.id))
            ctx.progress("images", index + 1, len(view))
        return out.close()


plugin = Supervised()
