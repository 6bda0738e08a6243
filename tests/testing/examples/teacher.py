"""An objective with a state of its own: a slow copy of the head teaches the head. The copy is resumed, and not kept."""

from wsss_bench import MethodCard, hookimpl


@hookimpl
def method_card():
    defaults = {"inherit": ["methods/classifier.py"]}
    return MethodCard("teacher", "1", stages=("localize",), defaults=defaults)


@hookimpl
def localize(view, out, ctx):
    from wsss_bench.toolbox.classifier import train_classifier, write_seeds
    from wsss_bench.toolbox.training import backbone_of, seeded

    channels = backbone_of(ctx.params["backbone"]).channels[-1]
    # Its first weights are drawn, so they are drawn from the run's seed.
    objective = seeded(lambda: make_teacher(channels, view.num_classes - 1), ctx.seed, "teacher")
    model = train_classifier(view, ctx, objective=objective)
    return write_seeds(model, view, out, ctx)


def make_teacher(channels, classes):
    import torch

    from wsss_bench.toolbox.training import LinearCamHead

    class Teacher(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = LinearCamHead(channels, classes).requires_grad_(False)

        def forward(self, model, batch):
            features = model.features(batch["inputs"])
            self.head.classifier.weight.lerp_(model.head.classifier.weight.detach(), 0.1)
            wrong = model.head.scores(features) - self.head.scores(features.detach())
            losses = model.head.loss(features, batch["tags"][:, 1:])
            return {**losses, "loss_teacher": wrong.square().mean()}

    return Teacher()
