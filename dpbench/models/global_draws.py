"""Torch's global generators, from which `nn.Dropout` and most random functions draw."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def global_draws(seed: int, device: str = "cpu") -> Iterator[None]:
    """Seeds the global generators of the CPU and of `device`, then puts them back as they were.

    A network's code can only draw from a named generator if it was written for one. Under this
    context every other draw follows from the seed too, and the process does not notice.

    Args:
        seed: Derived by name, see `dpbench.seeds`.
        device: Torch device name.
    """
    place = torch.device(device)
    gpus = []
    if place.type == "cuda" and torch.cuda.is_available():
        gpus.append(torch.cuda.current_device() if place.index is None else place.index)
    with torch.random.fork_rng(gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            torch.cuda.default_generators[gpu].manual_seed(seed)
        yield
