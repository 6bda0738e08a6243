"""The default segmentor: DeepLab (any network of `configs/models/` or any mmseg config) on the pseudo-labels."""

from __future__ import annotations

from pathlib import Path

from wsss_bench import LabelSet, MethodCard, Segmentor, StageContext, WeakView, hookimpl


class DeepLab:
    """Plain or balanced cross-entropy on dense pseudo-labels."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """Return the segmentor's card."""
        return MethodCard(
            name="deeplab",
            version="1.0",
            stages=("segment",),
            paper="Chen et al., DeepLab, TPAMI 2018",
            defaults=Path(__file__).with_name("config.py"),
        )

    @hookimpl
    def segment(self, view: WeakView, labels: LabelSet, ctx: StageContext) -> Segmentor:
        """Return a segmentor trained on `labels`; 255 is ignored."""
        from wsss_bench.toolbox.segmentation import train_segmentor

        return train_segmentor(view, labels, ctx)


plugin = DeepLab()
