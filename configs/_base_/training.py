"""What every training shares. Optimiser, schedule and length come from the method's parameters."""

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    # Scalars go to the visualizer's back ends; the console belongs to the harness.
    logger=dict(type="LoggerHook", interval=20, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    # Nothing is selected on validation scores; the one before the last is there for a kill in the middle of a write.
    checkpoint=dict(
        type="CheckpointHook",
        interval=500,
        by_epoch=False,
        max_keep_ckpts=2,
        save_last=False,
    ),
    sampler_seed=dict(type="DistSamplerSeedHook"),
)
