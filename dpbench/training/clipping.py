"""The clipping norm of every model: fixed, or following a private quantile of gradient norms."""

import torch
from torch import Generator, Tensor

from dpbench.training.resumable import State
from dpbench.training.task import Mechanism

_RATE = 0.2
"""How fast the logarithm of a norm follows, as published."""


class ClippingNorms:
    """The norms C `(K,)` of K models.

    Andrew et al. 2021, algorithm 1: the share of a batch's gradients no longer than C is counted
    with noise, and C is multiplied by `exp(-0.2 (share - quantile))`. Each example is counted as
    plus or minus one half, so the count has sensitivity 1/2; the mechanism's claim has to charge
    it.

    Args:
        mechanism: Says where C starts, and which quantile it follows, if any.
        models: K.
        batch: Expected batch, the denominator of the share.
        generator: Of the noise on the counts; its device is the norms'.

    Attributes:
        now: C.
        first: What every C starts with, and stays where it does not follow a quantile.
        adaptive: Whether it follows one.
    """

    def __init__(
        self, mechanism: Mechanism, *, models: int, batch: float, generator: Generator
    ) -> None:
        self._mechanism, self._batch, self._generator = mechanism, batch, generator
        device = generator.device
        # In 32 bits, as the norms are: a GPU need not be asked for it at every step.
        self.first = float(torch.tensor(float(mechanism.max_grad_norm)))
        self.now = torch.full((models,), self.first, device=device)
        self.adaptive = mechanism.quantile is not None

    def follow(self, below: Tensor, sampled: Tensor) -> None:
        """Takes one step towards the quantile.

        Args:
            below: `(K,)` numbers of sampled examples whose gradient is no longer than C.
            sampled: `(K,)` numbers of sampled examples.
        """
        quantile = self._mechanism.quantile
        if quantile is None:
            return
        noise = torch.empty_like(self.now).normal_(
            0, self._mechanism.count_noise, generator=self._generator
        )
        # Each example counts as plus or minus one half: adding or removing one changes the sum by
        # 1/2, where counts of 0 and 1 would change it by 1.
        share = 0.5 + (below - sampled / 2 + noise) / self._batch
        # Geometric steps reach a norm of any magnitude, and never a negative one.
        self.now.mul_(torch.exp(-_RATE * (share - quantile)))

    def state(self) -> State:
        """Returns the norms; the noise on the counts has a generator of its own."""
        return {"now": self.now}

    def restore(self, state: State) -> None:
        """Goes on from there."""
        self.now.copy_(state["now"])
