"""Mechanisms whose epsilon is known, and how often a 95 % bound exceeds it."""

import functools
import math

import numpy as np
from scipy.stats import binom

from dpbench import privacy
from dpbench.privacy.accounting.gaussian import epsilon_gaussian
from dpbench.privacy.audits.trials import Trials

REPEATS = 2000


def coins(rng, shape):
    return rng.random(shape) < 0.5


def randomised_response(rng, shape, epsilon=1.0):
    """Each bit is told right with probability e^eps / (1 + e^eps): (epsilon, 0)-DP, tight."""
    members = coins(rng, shape)
    honest = rng.random(shape) < 1 / (1 + math.exp(-epsilon))
    return np.where(honest, members, ~members).astype(float), members


def gaussian(rng, shape, mu=2.0):
    """Each bit, times mu, with standard normal noise: the tight example of mu-GDP."""
    members = coins(rng, shape)
    return rng.standard_normal(shape) + mu * members, members


def sampled_gaussian(rng, shape, *, rate=0.6, sigma=0.5, steps=2):
    """Each bit enters each step with a probability; scores are exact likelihood ratios."""
    members = coins(rng, shape)
    entered = (rng.random((steps, *np.shape(members))) < rate) & members
    seen = entered + sigma * rng.standard_normal(entered.shape)
    ratio = 1 - rate + rate * np.exp((2 * seen - 1) / (2 * sigma**2))
    return np.log(ratio).sum(0), members


def revealing(rng, shape, delta, epsilon=0.0):
    """With probability delta a model shows all its bits, else randomised response: dependent."""
    scores, members = randomised_response(rng, shape, epsilon)
    shown = rng.random((shape[0], 1)) < delta
    return np.where(shown, np.where(members, 2.0, -1.0), scores), members


def leave_one_out(scores, members):
    """Scores each pair by its place between the means of the other models' members and others."""
    others = len(scores) - 1
    inside = members.sum(0) - members
    mean_in = ((scores * members).sum(0) - scores * members) / np.maximum(inside, 1)
    mean_out = ((scores * ~members).sum(0) - scores * ~members) / np.maximum(others - inside, 1)
    return (scores - (mean_in + mean_out) / 2) * (mean_in - mean_out)


DRAWS = {
    "response": randomised_response,
    "gaussian": gaussian,
    "sampled": sampled_gaussian,
}


@functools.cache
def true_epsilon(mechanism, delta):
    """Returns the epsilon of a mechanism of `DRAWS`."""
    if mechanism == "response":
        return 1.0
    if mechanism == "gaussian":
        return epsilon_gaussian(delta, 2.0)
    event = privacy.SampledGaussian(noise_multiplier=0.5, sampling_rate=0.6, steps=2).event()
    return privacy.epsilon(event, delta)


def failures(audit, draw, true, repeats=REPEATS):
    """Returns how many experiments claim more than the true epsilon, and all bounds."""
    bounds = np.array([audit(*draw(np.random.default_rng([7, i]))) for i in range(repeats)])
    return int(np.count_nonzero(bounds > true + 1e-9)), bounds


def holds(failed, repeats=REPEATS):
    """Tells whether so many failures are likely enough (0.1 %) if each has probability 5 %."""
    return binom.sf(failed - 1, repeats, 0.05) > 1e-3


def fails(failed, repeats=REPEATS):
    """Tells whether so many failures are next to impossible (1e-6) at 5 %."""
    return binom.sf(failed - 1, repeats, 0.05) < 1e-6


def of_trials(audit, **settings):
    """Returns the bound of an audit as a function of scores and bits."""
    return lambda scores, members: audit(Trials.independent(scores, members), **settings).epsilon
