"""Randomness by name: every draw is seeded from what it is for, never from the state a process happens to be in."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def derive(*parts: object) -> int:
    """A 63-bit seed from `parts` (run seed, stage, iteration, image id, …); equal parts give equal seeds on every machine."""
    digest = hashlib.blake2b(
        "\x1f".join(map(str, parts)).encode(), digest_size=8
    ).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: object) -> np.random.Generator:
    """A NumPy generator for `parts`."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(derive(*parts)))


def torch_generator(*parts: object) -> torch.Generator:
    """A CPU torch generator for `parts`."""
    import torch

    return torch.Generator().manual_seed(derive(*parts))
