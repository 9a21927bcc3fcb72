"""Gaussian audits: right for Gaussian mechanisms, and not for sampled ones."""

import math

import numpy as np
import pytest
from known_mechanisms import (
    fails,
    failures,
    gaussian,
    holds,
    of_trials,
    sampled_gaussian,
)
from scipy.stats import norm

from dpbench import privacy
from dpbench.privacy.accounting.gaussian import epsilon_gaussian
from dpbench.privacy.audits.clopper_pearson import audit_clopper_pearson
from dpbench.privacy.audits.gaussian_audit import audit_gaussian
from dpbench.privacy.audits.thresholds import Bonferroni, Explicit


@pytest.mark.parametrize(
    "choice", [None, Bonferroni(), Explicit(threshold=1.0)], ids=["split", "bonferroni", "explicit"]
)
def test_the_gaussian_audit_holds_for_gaussian_mechanisms(choice):
    found = of_trials(audit_gaussian, delta=1e-5, choice=choice)
    true = epsilon_gaussian(1e-5, 2.0)
    failed, bounds = failures(found, lambda rng: gaussian(rng, 100), true)
    assert holds(failed)
    assert np.median(bounds) > 3


def test_the_gaussian_conversion_claims_too_much_for_a_sampled_gaussian():
    """With sampling, few members are found with certainty: at low FPR they look like a large mu."""
    rate, sigma = 0.1, 0.5
    mechanism = privacy.SampledGaussian(noise_multiplier=sigma, sampling_rate=rate, steps=1)
    ratio = (2 * sigma * norm.isf(0.01) - 1) / (2 * sigma**2)
    threshold = Explicit(threshold=math.log(1 - rate + rate * math.exp(ratio)))

    def draw(rng):
        return sampled_gaussian(rng, 20_000, rate=rate, sigma=sigma, steps=1)

    true = privacy.epsilon(mechanism.event(), 0.03)
    found = of_trials(audit_gaussian, delta=0.03, choice=threshold)
    assert fails(failures(found, draw, true, 150)[0], 150)
    found = of_trials(audit_clopper_pearson, delta=0.03, choice=threshold)
    assert holds(failures(found, draw, true, 150)[0], 150)


def test_the_bound_comes_close_to_a_gaussian():
    true = epsilon_gaussian(1e-5, 1.0)
    found = of_trials(audit_gaussian, delta=1e-5)
    _, bounds = failures(found, lambda rng: gaussian(rng, 2000, 1.0), true, 300)
    assert np.median(bounds) > 0.85 * true
    assert np.quantile(bounds, 0.05) > 0.65 * true
