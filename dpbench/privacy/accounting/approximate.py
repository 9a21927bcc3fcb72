"""Mechanisms of which only one (epsilon, delta) is known."""

from dataclasses import dataclass

import numpy as np

from dpbench.privacy.accounting.ranges import in_range


@dataclass(frozen=True)
class ApproximateDp:
    """Takes the place of a `dp_accounting.DpEvent` for proofs that give one (epsilon, delta) only.

    Everything else follows from the worst mechanism with that guarantee: with probability delta it
    reveals the bit, otherwise it is randomised response at epsilon (Kairouz, Oh & Viswanath 2015,
    theorem 3.3). dp_accounting has no such event.

    Attributes:
        epsilon: Of (epsilon, delta)-DP.
        delta: Of (epsilon, delta)-DP.
    """

    epsilon: float
    delta: float = 0.0

    def __post_init__(self) -> None:
        """Validates the fields.

        Raises:
            UserError: A number is out of range.
        """
        in_range("epsilon", self.epsilon)
        in_range("delta", self.delta)

    def epsilon_at(self, delta: float) -> float:
        """Returns the smallest epsilon at another delta; inf below the known delta.

        Above it, `hockey_stick` falls to `delta` at a smaller epsilon.
        """
        if delta < self.delta:
            return float("inf")
        if delta == self.delta:
            return self.epsilon
        # Numerator and denominator are divided by e^epsilon, which may overflow.
        left = 1 - (delta - self.delta) / (1 - self.delta) * (1 + np.exp(-self.epsilon))
        return max(0.0, self.epsilon + float(np.log(left))) if left > 0 else 0.0

    def hockey_stick(self, epsilon: float) -> float:
        """Returns the smallest delta at another epsilon."""
        if epsilon >= self.epsilon:
            return self.delta
        # As above.
        rest = (1 - np.exp(epsilon - self.epsilon)) / (1 + np.exp(-self.epsilon))
        return float(self.delta + (1 - self.delta) * rest)
