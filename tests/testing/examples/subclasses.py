"""Rounds with features of the whole set between them: two clusters a class become targets of an auxiliary head."""

import numpy as np

from wsss_bench import MethodCard, hookimpl


@hookimpl
def method_card():
    defaults = {"inherit": ["methods/classifier.py"], "localize": {"rounds": 2}}
    return MethodCard("subclasses", "1", stages=("localize",), defaults=defaults)


@hookimpl
def localize(view, out, ctx):
    import torch

    from wsss_bench.toolbox.classifier import pixels_of, train_classifier, write_seeds
    from wsss_bench.toolbox.features import collect
    from wsss_bench.toolbox.training import LinearCamHead

    class Head(LinearCamHead):
        def __init__(self, channels, classes):
            super().__init__(channels, classes)
            self.sub = LinearCamHead(channels, 2 * classes)

        def loss(self, features, targets):
            classes = view.num_classes - 1
            sub = self.sub.loss(features, targets[:, classes:])["loss_cls"]
            return {**super().loss(features, targets[:, :classes]), "loss_sub": sub}

    @torch.no_grad()
    def mean(image):
        features = model.features(pixels_of(image.read(), (64, 64), ctx.device))
        return {"mean": features.mean((0, 2, 3)).cpu().numpy()}

    targets = {image.id: target(view, image, 0) for image in view}
    for number in range(ctx.params["rounds"]):
        model = train_classifier(view, ctx, Head, targets=targets, name=f"round{number}")
        found = collect(view, ctx, mean, f"means{number}")
        targets = {image.id: target(view, image, found[image.id]["mean"].argmax() % 2) for image in view}
    return write_seeds(model, view, out, ctx)


def target(view, image, cluster):
    subs = [view.num_classes + 2 * (c - 1) + cluster for c in image.present]
    return np.isin(np.arange(3 * view.num_classes - 2), [0, *image.present, *subs]).astype(np.float32)
