"""Randomness by name: every draw is seeded from what it is for, never from the state a process happens to be in."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def derive(*parts: object) -> int:
    """Return a 63-bit seed from `parts` (run seed, stage, iteration, image id, …).

    Equal parts give equal seeds on every machine.
    """
    # Joined by a character that no name holds: ("a", "bc") and ("ab", "c") must differ. Python's own `hash` of a text
    # changes from one process to the next.
    text = "\x1f".join(map(str, parts))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    # 63 bits, for torch takes a signed seed.
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: object) -> np.random.Generator:
    """Return a NumPy generator for `parts`."""
    import numpy as np

    # By name, for `default_rng` may become another generator in a later NumPy, with other draws.
    return np.random.Generator(np.random.PCG64(derive(*parts)))


def torch_generator(*parts: object) -> torch.Generator:
    """Return a CPU torch generator for `parts`."""
    import torch

    return torch.Generator().manual_seed(derive(*parts))
