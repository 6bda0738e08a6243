"""A mixer: photographs and tags blended, cut along a drawn border, or features blended at a random layer."""

from wsss_bench import MethodCard, hookimpl

DEFAULTS = {
    "inherit": ["methods/classifier.py"],
    "localize": {"mixer": "mixup", "alpha": 1.0},
}


@hookimpl
def method_card():
    return MethodCard("mixed", "1", stages=("localize",), defaults=DEFAULTS)


@hookimpl
def localize(view, out, ctx):
    from wsss_bench.toolbox import training
    from wsss_bench.toolbox.classifier import train_classifier, write_seeds

    kind, alpha = ctx.params["mixer"], ctx.params["alpha"]
    mixers = {
        "mixup": training.Mixup(1.0, alpha),
        "fmix": training.FMix(1.0, alpha),
        "manifold": training.ManifoldMixup(1.0, alpha),
    }
    objective = training.ManifoldMixupLoss((0, 1, 2)) if kind == "manifold" else None
    model = train_classifier(view, ctx, mixer=mixers[kind], objective=objective)
    return write_seeds(model, view, out, ctx)
