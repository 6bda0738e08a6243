"""Two networks trained together inside one stage: each learns what the other says, and both make the maps."""

from wsss_bench import MethodCard, hookimpl


@hookimpl
def method_card():
    defaults = {"inherit": ["methods/classifier.py"]}
    return MethodCard("mutual", "1", stages=("localize",), defaults=defaults)


@hookimpl
def localize(view, out, ctx):
    from wsss_bench.toolbox import training
    from wsss_bench.toolbox.classifier import build_classifier, linear_cam, write_seeds

    class Pair(training.Network):
        def __init__(self):
            super().__init__()
            make = lambda: build_classifier(ctx.training_params, view.num_classes - 1)
            self.one, self.two = make(), make()

        def forward(self, inputs, tags, mode="loss"):
            features = [net.features(inputs) for net in (self.one, self.two)]
            one = self.one.head.loss(features[0], tags[:, 1:])["loss_cls"]
            two = self.two.head.loss(features[1], tags[:, 1:])["loss_cls"]
            apart = self.one.head.scores(features[0]) - self.two.head.scores(features[1])
            return {"loss_one": one, "loss_two": two, "loss_apart": apart.square().mean()}

    def both(pair, pixels, classes):
        return linear_cam(pair.one, pixels, classes) + linear_cam(pair.two, pixels, classes)

    pair = training.seeded(Pair, ctx.seed, "mutual")
    augment = training.Augment.of(ctx.training_params)
    data = training.TrainingSet(view.with_labels(), augment, training.derive(ctx.seed, "mutual"))
    training.fit(pair, data, ctx, new=("one.head.", "two.head."), name="mutual")
    return write_seeds(pair, view, out, ctx, both)
