"""A segmentor that is its localizer: the classifier outlives its stage and labels new photographs by its own maps."""

from wsss_bench import MethodCard, hookimpl

STAGES = ("localize", "segment")
DEFAULTS = {
    "inherit": ["methods/classifier.py"],
    "segment": {"presence": 0.5, "background": 0.3, "test_scales": (1.0,), "crf": ""},
    "test_settings": {"segment": ("test_scales", "crf")},
}


@hookimpl
def method_card():
    return MethodCard("itself", "1", stages=STAGES, defaults=DEFAULTS)


@hookimpl
def localize(view, out, ctx):
    from wsss_bench.toolbox.classifier import train_classifier, write_seeds
    from wsss_bench.toolbox.training import save_state

    model = train_classifier(view, ctx)
    save_state(model.state_dict(), ctx.scratch / "classifier.pth")
    ctx.keep(ctx.scratch / "classifier.pth")
    built = ("backbone", "backbone_options", "normalize", "weights")
    out.facts["classifier"] = {key: ctx.params[key] for key in built}
    return write_seeds(model, view, out, ctx)


@hookimpl
def segment(view, seeds, ctx):
    from wsss_bench.toolbox.segmentation import classifier_segmentor

    own = {key: ctx.params[key] for key in ("presence", "background")}
    kept, params = seeds.kept("classifier.pth"), seeds.manifest["classifier"]
    return classifier_segmentor(kept, view, ctx, params=params, **own)
