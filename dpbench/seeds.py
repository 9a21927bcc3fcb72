"""Randomness by name: every random draw has a generator derived from the grid's seed and a path.

Two draws with different paths are independent, and no draw depends on what ran before it, so
results do not change with the order or the parallelism of the work.
"""

import hashlib

import numpy as np


def seed_for(seed: int, *path: str | int) -> int:
    """Returns a 63-bit seed for the draw that `path` names, e.g. `seed_for(0, "train", 3)`."""
    text = "\x1f".join([str(seed), *(f"{type(part).__name__}:{part}" for part in path)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def rng_for(seed: int, *path: str | int) -> np.random.Generator:
    """Returns a NumPy generator for the draw that `path` names."""
    return np.random.default_rng(seed_for(seed, *path))
