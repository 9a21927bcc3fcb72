"""Dropout whose masks come from a given generator, where torch's draws from the global one."""

import torch
from torch import Generator, Tensor, nn


class DrivenDropout(nn.Module):
    """Zeroes each entry with probability `rate` while training and scales the others up.

    Args:
        rate: Probability of zeroing, in [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.generator: Generator | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns the inputs, masked while training."""
        if not self.training:
            return inputs
        if self.generator is None:
            raise RuntimeError("dropout has no generator: call drive_dropout before training")
        keep = 1 - self.rate
        mask = torch.empty_like(inputs).bernoulli_(keep, generator=self.generator)
        return inputs * mask.div_(keep)


def drive_dropout(network: nn.Module, generator: Generator) -> None:
    """Lets every dropout layer of the network draw from `generator`, on the network's device."""
    for module in network.modules():
        if isinstance(module, DrivenDropout):
            module.generator = generator
