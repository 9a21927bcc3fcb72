"""Pure differential privacy: the largest loss that any output of a mechanism has."""

import math
from typing import TYPE_CHECKING

from dpbench.privacy.accounting.discretisation import components, sampled_loss

# dp_accounting takes more than a second to import, so functions import it when they first need it.
if TYPE_CHECKING:
    from dp_accounting import DpEvent


def pure_epsilon(event: "DpEvent") -> float:
    """Returns the epsilon at delta 0: exact for Laplace noise and randomised response, else inf.

    The largest losses of the steps add up, because one output can have them all. A Gaussian
    mechanism has outputs of any loss. Each mechanism is read under the one relation for which
    dp_accounting knows it.
    """
    return sum((count * _largest(step) for count, step in components(event)), 0.0)


def _largest(step: "DpEvent") -> float:
    import dp_accounting

    rate = 1.0
    if isinstance(step, dp_accounting.NoOpDpEvent):
        return 0.0
    if isinstance(step, dp_accounting.PoissonSampledDpEvent):
        rate, step = float(step.sampling_probability), step.event
    if rate == 0:
        return 0.0
    if isinstance(step, dp_accounting.LaplaceDpEvent):
        scale = float(step.noise_multiplier)
        return float(sampled_loss(1 / scale, rate)) if scale > 0 else math.inf
    if isinstance(step, dp_accounting.dp_event.DiscreteLaplaceDpEvent) and rate == 1:
        return float(step.noise_parameter * step.sensitivity)
    if isinstance(step, dp_accounting.RandomizedResponseDpEvent) and rate == 1:
        told, buckets = 1 - step.noise_parameter, step.num_buckets
        return math.log1p(buckets * told / (1 - told)) if told < 1 else math.inf
    return math.inf
