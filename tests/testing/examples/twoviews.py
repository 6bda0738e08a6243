"""An objective over the model and the batch: the maps of a photograph and of its mirror image must agree."""

from wsss_bench import MethodCard, hookimpl

DEFAULTS = {"inherit": ["methods/classifier.py"], "localize": {"agreement": 1.0}}


@hookimpl
def method_card():
    return MethodCard("twoviews", "1", stages=("localize",), defaults=DEFAULTS)


@hookimpl
def localize(view, out, ctx):
    from wsss_bench.toolbox.classifier import train_classifier, write_seeds

    weight = ctx.params["agreement"]

    def consistent(model, batch):
        features = model.features(batch["inputs"])
        mirrored = model.features(batch["inputs"].flip(3))
        losses = model.head.loss(features, batch["tags"][:, 1:])
        distance = model.head.cam(features) - model.head.cam(mirrored).flip(3)
        return {**losses, "loss_views": weight * distance.abs().mean()}

    model = train_classifier(view, ctx, objective=consistent)
    return write_seeds(model, view, out, ctx)
