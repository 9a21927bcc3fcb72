"""The audit of a known mechanism: never above its epsilon, close to it with sharp rates."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from dpbench import privacy
from dpbench.errors import UserError
from dpbench.privacy.accounting.mechanism import trade_off
from dpbench.privacy.audits.audit import clopper_pearson_upper, epsilon_from_rates, mu_from_rates
from dpbench.privacy.audits.mechanism_audit import epsilon_of_sampled_gaussian
from dpbench.seeds import rng_for

DELTA = 1e-5


def epsilon_of(sigma, rate, steps):
    mechanism = privacy.SampledGaussian(noise_multiplier=sigma, sampling_rate=rate, steps=steps)
    return privacy.epsilon(mechanism.event(), DELTA)


@pytest.mark.parametrize("steps", [1, 100])
@pytest.mark.parametrize("rates", [(0.0037, 0.53), (0.2, 0.1), (0.4, 0.59), (0.6, 0.6), (0.0, 0.3)])
def test_full_batch_is_the_gaussian_audit(rates, steps):
    fpr_upper, fnr_upper = rates
    found = epsilon_of_sampled_gaussian(
        fpr_upper=fpr_upper, fnr_upper=fnr_upper, delta=DELTA, sampling_rate=1.0, steps=steps
    )
    mu = mu_from_rates(fpr_upper=fpr_upper, fnr_upper=fnr_upper)
    assert found == privacy.epsilon_gaussian(DELTA, mu)


def test_full_batch_is_the_limit_of_sampling():
    rates = {"fpr_upper": 0.0037, "fnr_upper": 0.53, "delta": DELTA, "steps": 10}
    full = epsilon_of_sampled_gaussian(sampling_rate=1.0, **rates)
    nearly = epsilon_of_sampled_gaussian(sampling_rate=1 - 1e-9, **rates)
    assert 0.99 * full < nearly < full


@pytest.mark.parametrize(
    ("sigma", "rate", "fpr"), [(1.0, 0.1, 0.01), (0.5, 0.5, 1e-3), (3.0, 0.3, 0.2), (0.3, 0.1, 0.1)]
)
def test_one_step_with_exact_rates(sigma, rate, fpr):
    threshold = sigma * norm.isf(fpr)
    fnr = 1 - (1 - rate) * fpr - rate * norm.sf((threshold - 1) / sigma)
    found = epsilon_of_sampled_gaussian(
        fpr_upper=fpr, fnr_upper=fnr, delta=DELTA, sampling_rate=rate, steps=1
    )
    assert 0.985 * epsilon_of(sigma, rate, 1) < found < epsilon_of(sigma, rate, 1)


@pytest.mark.parametrize(
    ("sigma", "rate", "steps"), [(1.0, 0.1, 200), (4.0, 0.5, 100), (0.7, 0.25, 10)]
)
@pytest.mark.parametrize("fpr", [1e-3, 0.3])
def test_a_point_of_the_curve_gives_its_sigma_back(sigma, rate, steps, fpr):
    mechanism = privacy.SampledGaussian(noise_multiplier=sigma, sampling_rate=rate, steps=steps)
    fnr = 1 - float(trade_off(mechanism.event(), fpr, "remove"))
    found = epsilon_of_sampled_gaussian(
        fpr_upper=fpr, fnr_upper=fnr, delta=DELTA, sampling_rate=rate, steps=steps
    )
    assert 0.99 * epsilon_of(sigma, rate, steps) < found < epsilon_of(sigma, rate, steps)
    ignorant = epsilon_from_rates(fpr_upper=fpr, fnr_upper=fnr, delta=DELTA)
    assert found > ignorant


def test_the_bound_holds_for_a_simulated_attack():
    sigma, rate, steps, models = 1.0, 0.3, 10, 400
    rng = rng_for(0, "mechanism-audit")
    truth = epsilon_of(sigma, rate, steps)
    above, bounds = 0, []
    for _ in range(12):
        outputs = sigma * rng.standard_normal((2, steps, models))
        outputs[1] += rng.random((steps, models)) < rate
        ratio = np.log1p(rate * np.expm1((2 * outputs - 1) / (2 * sigma**2))).sum(axis=1)
        # The threshold was fixed beforehand; each limit holds at 97.5 %.
        limits = clopper_pearson_upper(
            np.array([(ratio[0] > 2).sum(), (ratio[1] <= 2).sum()]), np.array([models, models])
        )
        bounds.append(
            epsilon_of_sampled_gaussian(
                fpr_upper=float(limits[0]),
                fnr_upper=float(limits[1]),
                delta=DELTA,
                sampling_rate=rate,
                steps=steps,
            )
        )
        above += bounds[-1] > truth
    assert above <= 2
    assert np.median(bounds) > truth / 3


def test_rates_that_refute_nothing_and_everything():
    mechanism = {"delta": DELTA, "sampling_rate": 0.1, "steps": 10}
    for fpr, fnr in ((0.5, 0.5), (1.0, 0.0), (0.9, 0.9), (0.3, 0.699999)):
        assert epsilon_of_sampled_gaussian(fpr_upper=fpr, fnr_upper=fnr, **mechanism) == 0
    # Two in three members are sampled at all: nobody can find four in five.
    assert epsilon_of_sampled_gaussian(fpr_upper=0.01, fnr_upper=0.2, **mechanism) == math.inf
    assert epsilon_of_sampled_gaussian(fpr_upper=0.0, fnr_upper=0.5, **mechanism) == math.inf
    assert epsilon_of_sampled_gaussian(fpr_upper=0.2, fnr_upper=0.0, **mechanism) == math.inf


def test_better_rates_claim_more():
    mechanism = {"delta": DELTA, "sampling_rate": 0.2, "steps": 20}
    found = [
        epsilon_of_sampled_gaussian(fpr_upper=fpr, fnr_upper=0.6, **mechanism)
        for fpr in (0.3, 0.1, 0.03, 0.001, 1e-12)
    ]
    assert np.all(np.diff(found) > 0)


@pytest.mark.parametrize("wrong", [{"sampling_rate": 1.5}, {"steps": 0}])
def test_impossible_mechanisms_are_refused(wrong):
    query = {"fpr_upper": 0.1, "fnr_upper": 0.6, "delta": DELTA, "sampling_rate": 0.1, "steps": 9}
    with pytest.raises(UserError, match=next(iter(wrong))):
        epsilon_of_sampled_gaussian(**(query | wrong))
