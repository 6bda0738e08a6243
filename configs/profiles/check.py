"""What the conformance kit runs: the embedded data's profile, shortened until every stage takes seconds on a CPU.

The result is no measurement. A key applies where a method has a parameter of that name, so a method that calls its
length ``iterations``, ``epochs``, ``steps`` … and its sizes ``batch``, ``crop``, ``draws`` is shortened without knowing
of this file.
"""

_base_ = "shapes.py"

_short = dict(
    iterations=8,
    epochs=1,
    steps=8,
    max_iters=8,
    max_epochs=1,
    batch=8,
    batch_size=8,
    crop=64,
    crop_size=64,
)

localize = {"*": dict(_short, resize=(64, 80), scales=(1.0,), draws=4)}
refine = {"*": dict(_short)}
segment = {
    "*": dict(_short, resize=(0.75, 1.25), test_scales=(1.0,), test_flip=False),
}
