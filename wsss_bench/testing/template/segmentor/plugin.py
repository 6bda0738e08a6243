"""@NAME@: DeepLab trained on the pixels it finds hardest (online bootstrapping)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wsss_bench import LabelSet, MethodCard, Segmentor, StageContext, WeakView, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

# Names and values here are the parameters: wsss-bench run --methods 'cam/_/@NAME@[keep=0.5]'
DEFAULTS: dict[str, Any] = {
    "keep": 0.25,
    "network": "deeplabv2",
    "backbone": "resnet101",
    "weights": "imagenet",
    "backbone_options": {"frozen_stages": 1},
    "rates": [],
    "normalize": "imagenet",
    "batch": 10,
    "epochs": 0,
    "iterations": 20000,
    "lr": 2.5e-4,
    "optimizer": "SGD",
    "new_mult": 10.0,
    "bias_mult": 2.0,
    "bias_decay": False,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "schedule": "poly",
    "augment": "scale",
    "resize": [0.5, 1.5],
    "crop": 321,
    "jitter": 0.0,
    "label_stride": 1,
    "test_scales": [1.0],
    "test_flip": False,
    "test_merge": "probs",
    "test_warp": 0,
    "crf": "deeplab",
}


# How the finished network predicts: another value trains nothing.
TEST_SETTINGS = {
    "segment": ("test_scales", "test_flip", "test_merge", "test_warp", "crf")
}


class Template:
    """The hooks; torch is imported inside them, so that listing methods stays fast."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """What the leaderboard shows of the method."""
        return MethodCard(
            name="@NAME@",
            version="0.1.0",
            stages=("segment",),
            defaults={"segment": DEFAULTS, "test_settings": TEST_SETTINGS},
        )

    @hookimpl
    def segment(self, view: WeakView, labels: LabelSet, ctx: StageContext) -> Segmentor:
        """Train the network that ``network`` and ``backbone`` name, with a loss of our own."""
        from wsss_bench.toolbox.segmentation import train_segmentor

        return train_segmentor(view, labels, ctx, make_loss(float(ctx.params["keep"])))


def make_loss(keep: float) -> Any:
    """The loss module: called as ``loss(logits [B, C + 1, h, w], batch) -> dict``."""
    from torch import nn
    from torch.nn import functional as F

    class Loss(nn.Module):
        def forward(
            self, logits: Tensor, batch: dict[str, Tensor]
        ) -> dict[str, Tensor]:
            """``batch["labels"]`` is ``uint8 [B, H, W]``, 255 where there is no label."""
            labels = batch["labels"].long()
            logits = F.interpolate(
                logits.float(),
                tuple(labels.shape[1:]),
                mode="bilinear",
                align_corners=False,
            )
            losses = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
            return {"loss_seg": hardest(losses[labels != 255], keep)}

    return Loss()


def hardest(losses: Tensor, keep: float) -> Tensor:
    """Mean of the `keep` share of ``losses [N]`` that are highest (at least one); 0 where N is 0."""
    if not len(losses):
        return losses.sum()
    return losses.topk(max(1, round(keep * len(losses)))).values.mean()


plugin = Template()
