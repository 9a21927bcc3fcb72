"""The noise multiplier that reaches a target epsilon, never more."""

import functools
import importlib.resources
import json
import math

from dpbench.errors import UserError
from dpbench.privacy.cache import recall
from dpbench.privacy.gaussian import mu_gaussian
from dpbench.privacy.mechanism import SampledGaussian, accountant

MAX_EPSILON = 1e4
MIN_DELTA = 1e-10
MAX_STEPS = 100_000
_WITHIN = 1e-3
_ATTEMPTS = 100


def calibrate(*, epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """Returns the noise multiplier at which DP-SGD is (epsilon, delta)-DP.

    Full batches are solved in closed form. Otherwise the shipped table answers, then the cache,
    then a search with the privacy-loss accountant: seconds, half a minute at the edges of its
    range.

    Returns:
        A sigma whose epsilon is at most the target and at least 0.999 of it; 0 for infinity.

    Raises:
        UserError: A value is outside the range the accountant can answer.
    """
    if epsilon == math.inf:
        return 0.0
    _check(epsilon, delta, sampling_rate, steps)
    if sampling_rate == 1:
        # A billionth of slack absorbs the rounding of sqrt(steps) / sigma.
        return math.sqrt(steps) / mu_gaussian(epsilon, delta) * (1 + 1e-9)
    shipped = _table().get((epsilon, delta, sampling_rate, steps))
    if shipped is not None:
        return shipped
    query = {"epsilon": epsilon, "delta": delta, "sampling_rate": sampling_rate, "steps": steps}
    return float(
        recall(
            {"quantity": "noise_multiplier", **query},
            lambda: search(epsilon=epsilon, delta=delta, sampling_rate=sampling_rate, steps=steps),
        )
    )


def search(*, epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """Returns `calibrate`'s answer for a subsampled mechanism, without table or cache.

    False position on log(epsilon) against log(sigma), which is close to a straight line, from the
    central-limit guess mu = q sqrt(T (e^(1/sigma^2) - 1)) of Dong et al. 2022.
    """
    aim = math.log(epsilon * (1 - _WITHIN / 2))
    mu = mu_gaussian(epsilon, delta)
    point = -0.5 * math.log(math.log1p((mu / sampling_rate) ** 2 / steps))
    above: tuple[float, float] | None = None
    below: tuple[float, float] | None = None
    for _ in range(_ATTEMPTS):
        sigma = math.exp(point)
        mechanism = SampledGaussian(
            noise_multiplier=sigma, sampling_rate=sampling_rate, steps=steps
        )
        reached = accountant(mechanism.event()).get_epsilon(delta)
        if epsilon * (1 - _WITHIN) <= reached <= epsilon:
            return sigma
        # Epsilon may be 0 or inf at a bad guess; the clipping keeps the line finite.
        height = min(max(math.log(max(reached, 1e-300)), aim - 3), aim + 3)
        above, below = ((point, height), below) if reached > epsilon else (above, (point, height))
        if above is None or below is None:
            point += 1.1 * (height - aim) + math.copysign(1e-3, height - aim)
        else:
            share = (above[1] - aim) / (above[1] - below[1])
            point = above[0] + min(max(share, 0.05), 0.95) * (below[0] - above[0])
    raise UserError(
        f"no noise multiplier found for epsilon={epsilon:g}, delta={delta:g}, "
        f"sampling_rate={sampling_rate:g}, steps={steps}",
        next_step="set noise_multiplier instead of epsilon",
    )


@functools.cache
def _table() -> dict[tuple[float, float, float, int], float]:
    """Returns the shipped calibrations, made by bench/make_calibration_table.py."""
    text = importlib.resources.files("dpbench.privacy").joinpath("calibrations.json").read_text()
    return {
        (row["epsilon"], row["delta"], row["sampling_rate"], row["steps"]): row["noise_multiplier"]
        for row in json.loads(text)
    }


def _check(epsilon: float, delta: float, sampling_rate: float, steps: int) -> None:
    _require("epsilon", epsilon, 0 < epsilon <= MAX_EPSILON, f"up to {MAX_EPSILON:g}, or .inf")
    _require("delta", delta, MIN_DELTA <= delta < 1, f"{MIN_DELTA:g} up to, but not including, 1")
    _require("sampling_rate", sampling_rate, 0 < sampling_rate <= 1, "above 0 up to 1")
    _require("steps", steps, 1 <= steps <= MAX_STEPS, f"1 to {MAX_STEPS}")
    if sampling_rate < 1:
        # An example that is never sampled leaks nothing: such a delta needs no noise at all.
        sampled = -math.expm1(steps * math.log1p(-sampling_rate))
        _require("delta", delta, delta < sampled, f"below {sampled:g}, the odds to be sampled")


def _require(name: str, value: float, holds: bool, allowed: str) -> None:
    if not holds:
        raise UserError(f"{name}: {value!r} cannot be calibrated", allowed=allowed)
