"""The least noise that reaches a target: an epsilon, an advantage, or a TPR at an FPR.

The target is never exceeded: at the returned noise multiplier, `privacy.epsilon`, `advantage` and
`trade_off` are at most the target, and at least 0.999 of it.
"""

import functools
import importlib.resources
import json
import math
from collections.abc import Callable

from scipy.special import ndtri

from dpbench.errors import UserError
from dpbench.privacy.accounting.adjacency import Direction, require_direction
from dpbench.privacy.accounting.cache import recall
from dpbench.privacy.accounting.gaussian import mu_gaussian
from dpbench.privacy.accounting.loss import PrivacyLoss, privacy_loss
from dpbench.privacy.accounting.mechanism import SampledGaussian
from dpbench.privacy.bounds.bounds import advantage_gaussian, tpr_gaussian

MAX_EPSILON = 1e4
MIN_DELTA = 1e-10
MAX_STEPS = 100_000
# Weaker targets need more noise than the accountant resolves. As a mu, 1e-3 is an advantage of
# 4e-4.
MIN_MU = 1e-3
MIN_FPR = 1e-9
_WITHIN = 1e-3
_ATTEMPTS = 100
# A billionth of slack absorbs the rounding of sqrt(steps) / sigma.
_FULL_BATCH_SLACK = 1 + 1e-9


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
    _require("epsilon", epsilon, 0 < epsilon <= MAX_EPSILON, f"up to {MAX_EPSILON:g}, or .inf")
    _require("delta", delta, MIN_DELTA <= delta < 1, f"{MIN_DELTA:g} up to, but not including, 1")
    sampled = _odds_to_be_sampled(sampling_rate, steps)
    # An example that is never sampled leaks nothing: such a delta needs no noise at all.
    _require("delta", delta, delta < sampled, f"below {sampled:g}, the odds to be sampled")
    if sampling_rate == 1:
        return math.sqrt(steps) / mu_gaussian(epsilon, delta) * _FULL_BATCH_SLACK
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


def calibrate_advantage(*, advantage: float, sampling_rate: float, steps: int) -> float:
    """Returns the noise multiplier at which no attack on DP-SGD has more than this advantage.

    The bound is B7, the total variation of the mechanism. Full batches are solved in closed form,
    others by a search, whose result is cached: a second, half a minute at sampling rates of 1e-3.

    Returns:
        A sigma whose `privacy.advantage` is at most the target and at least 0.999 of it.

    Raises:
        UserError: The target is out of range, or so large that no noise is needed: an example that
            is never sampled leaks nothing.
    """
    least = float(advantage_gaussian(MIN_MU))
    _require("advantage", advantage, least <= advantage < 1, f"{least:.2g} up to below 1")
    sampled = _odds_to_be_sampled(sampling_rate, steps)
    allowed = f"below {sampled:g}, the odds to be sampled"
    _require("advantage", advantage, advantage < sampled, allowed)
    if sampling_rate == 1:
        return math.sqrt(steps) / _mu_of_advantage(advantage) * _FULL_BATCH_SLACK
    query = {"advantage": advantage, "sampling_rate": sampling_rate, "steps": steps}
    found = recall(
        {"quantity": "noise_multiplier", **query},
        lambda: _least_noise(
            lambda loss: loss.delta(0.0),
            target=advantage,
            height=lambda bound: _log(_mu_of_advantage(bound)),
            mu=_mu_of_advantage(advantage),
            sampling_rate=sampling_rate,
            steps=steps,
        ),
    )
    return float(found)


def calibrate_tpr(
    *, tpr: float, fpr: float, sampling_rate: float, steps: int, direction: Direction = "both"
) -> float:
    """Returns the noise multiplier at which no attack on DP-SGD has more than a TPR at an FPR.

    The bound is B8, `privacy.trade_off` in the given direction. Full batches are solved in closed
    form, others by a search, whose result is cached: a second, half a minute at sampling rates of
    1e-3.

    Returns:
        A sigma whose TPR at that FPR is at most the target and at least 0.999 of it.

    Raises:
        UserError: The target is out of range, or so large that no noise is needed: an example that
            is never sampled leaks nothing.
    """
    _require("fpr", fpr, MIN_FPR <= fpr < 1, f"{MIN_FPR:g} up to below 1")
    least = float(tpr_gaussian(fpr, MIN_MU))
    _require("tpr", tpr, least <= tpr < 1, f"{least:.4g} (more than the FPR) up to below 1")
    most = noiseless_tpr(fpr, sampling_rate=sampling_rate, steps=steps, direction=direction)
    _require("tpr", tpr, tpr < most, f"below {most:g}, where no noise is needed")
    if sampling_rate == 1:
        return math.sqrt(steps) / _mu_of_tpr(tpr, fpr) * _FULL_BATCH_SLACK
    query = {"tpr": tpr, "fpr": fpr, "sampling_rate": sampling_rate, "steps": steps}
    found = recall(
        {"quantity": "noise_multiplier", "direction": direction, **query},
        lambda: _least_noise(
            lambda loss: float(loss.profile.tpr(fpr, direction)),
            target=tpr,
            height=lambda bound: _log(_mu_of_tpr(bound, fpr)),
            mu=_mu_of_tpr(tpr, fpr),
            sampling_rate=sampling_rate,
            steps=steps,
        ),
    )
    return float(found)


def noiseless_tpr(
    fpr: float, *, sampling_rate: float, steps: int, direction: Direction = "both"
) -> float:
    """Returns the largest TPR at an FPR of DP-SGD without any noise: it sees who was sampled."""
    require_direction(direction)
    sampled = _odds_to_be_sampled(sampling_rate, steps)
    if direction == "remove":
        return sampled + (1 - sampled) * fpr
    if direction == "add":
        return min(1.0, fpr / (1 - sampled)) if sampled < 1 else 1.0
    return min(1.0, sampled + fpr)


def search(*, epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """Returns the result of `calibrate` for a subsampled mechanism, without table or cache."""
    return _least_noise(
        lambda loss: loss.epsilon(delta),
        target=epsilon,
        height=_log,
        mu=mu_gaussian(epsilon, delta),
        sampling_rate=sampling_rate,
        steps=steps,
    )


def _least_noise(
    bound: Callable[[PrivacyLoss], float],
    *,
    target: float,
    height: Callable[[float], float],
    mu: float,
    sampling_rate: float,
    steps: int,
) -> float:
    """Returns the least noise multiplier whose bound is within 1e-3 below the target.

    False position on the height of the bound against log(sigma), close to a straight line, from the
    central-limit guess mu = q sqrt(T (e^(1/sigma^2) - 1)) of Dong et al. 2022.

    Args:
        bound: Returns the bound from a composed loss; decreasing in sigma.
        target: The largest bound allowed.
        height: Increasing in the bound; -inf where the bound is 0.
        mu: The mu of a Gaussian mechanism at the target, to start from.
        sampling_rate: Of the mechanism.
        steps: Of the mechanism.
    """
    # Both the bound and the mu behind it must be within 1e-3 of the target: near 1, an advantage
    # hardly moves while mu and the noise do.
    top = height(target)
    floor = max(height(target * (1 - _WITHIN)), top + math.log1p(-_WITHIN))
    aim = (top + floor) / 2
    point = -0.5 * math.log(math.log1p((mu / sampling_rate) ** 2 / steps))
    above: tuple[float, float] | None = None
    below: tuple[float, float] | None = None
    for _ in range(_ATTEMPTS):
        sigma = math.exp(point)
        mechanism = SampledGaussian(
            noise_multiplier=sigma, sampling_rate=sampling_rate, steps=steps
        )
        reached = bound(privacy_loss(mechanism.event()))
        if reached <= target and height(reached) >= floor:
            return sigma
        # A bad guess may be infinitely high or low; the clipping keeps the line finite.
        value = min(max(height(reached), aim - 3), aim + 3)
        above, below = ((point, value), below) if reached > target else (above, (point, value))
        if above is None or below is None:
            # Heights fall about as fast as log(sigma) rises; 10 % more steps over the target.
            point += 1.1 * (value - aim) + math.copysign(1e-3, value - aim)
        else:
            # The clip keeps false position from stalling at one end.
            share = (above[1] - aim) / (above[1] - below[1])
            point = above[0] + min(max(share, 0.05), 0.95) * (below[0] - above[0])
    raise UserError(
        f"no noise multiplier found for a target of {target:g}, "
        f"sampling_rate={sampling_rate:g}, steps={steps}",
        next_step="set noise_multiplier instead",
    )


@functools.cache
def _table() -> dict[tuple[float, float, float, int], float]:
    """Returns the shipped calibrations, made by bench/make_calibration_table.py."""
    text = (
        importlib.resources.files("dpbench.privacy.accounting")
        .joinpath("calibrations.json")
        .read_text()
    )
    return {
        (row["epsilon"], row["delta"], row["sampling_rate"], row["steps"]): row["noise_multiplier"]
        for row in json.loads(text)
    }


def _mu_of_advantage(advantage: float) -> float:
    return 2 * float(ndtri((1 + advantage) / 2))


def _mu_of_tpr(tpr: float, fpr: float) -> float:
    return float(ndtri(tpr) - ndtri(fpr))


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _odds_to_be_sampled(sampling_rate: float, steps: int) -> float:
    """Returns the probability that an example is in one batch at least; 1 for full batches."""
    _require("sampling_rate", sampling_rate, 0 < sampling_rate <= 1, "above 0 up to 1")
    _require("steps", steps, 1 <= steps <= MAX_STEPS, f"1 to {MAX_STEPS}")
    return 1.0 if sampling_rate == 1 else -math.expm1(steps * math.log1p(-sampling_rate))


def _require(name: str, value: float, holds: bool, allowed: str) -> None:
    if not holds:
        raise UserError(f"{name}: {value!r} cannot be calibrated", allowed=allowed)
