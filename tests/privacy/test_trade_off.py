"""The trade-off curve in both directions, against likelihood-ratio tests."""

import dp_accounting
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from dpbench import privacy
from dpbench.errors import UserError
from dpbench.privacy.accounting.loss import privacy_loss
from dpbench.privacy.accounting.mechanism import trade_off
from dpbench.seeds import rng_for

FPR = np.concatenate([np.logspace(-9, -1, 25), np.linspace(0.1, 0.999, 40)])


def dp_sgd(sigma, rate, steps):
    return privacy.SampledGaussian(noise_multiplier=sigma, sampling_rate=rate, steps=steps).event()


def member_test(sigma, rate, fpr):
    """One step, rejecting N(0, sigma^2) for the mixture: the ratio rises with the output."""
    threshold = sigma * norm.isf(fpr)
    return (1 - rate) * fpr + rate * norm.sf((threshold - 1) / sigma)


def absence_test(sigma, rate, fpr):
    """One step, rejecting the mixture for N(0, sigma^2): the ratio falls with the output."""

    def excess(x):
        return (1 - rate) * norm.cdf(x / sigma) + rate * norm.cdf((x - 1) / sigma) - fpr

    threshold = brentq(excess, -60 * sigma, 60 * sigma + 1, xtol=1e-14)
    return norm.cdf(threshold / sigma)


@pytest.mark.parametrize(
    ("sigma", "rate"), [(1.0, 0.1), (0.5, 0.01), (0.3, 0.5), (2.0, 0.9), (0.05, 0.2), (20.0, 0.3)]
)
def test_one_step_is_the_likelihood_ratio_test(sigma, rate):
    event = dp_sgd(sigma, rate, 1)
    member = member_test(sigma, rate, FPR)
    absence = np.array([absence_test(sigma, rate, fpr) for fpr in FPR])
    for exact, direction in ((member, "remove"), (absence, "add")):
        found = trade_off(event, FPR, direction)
        assert np.all(found >= exact - 1e-12)
        assert found == pytest.approx(exact, abs=3e-3)
        assert found == pytest.approx(exact, rel=5e-3)
    both = trade_off(event, FPR)
    assert np.all(both >= np.maximum(member, absence) - 1e-12)


@pytest.mark.parametrize(("sigma", "rate", "steps"), [(1.0, 0.2, 20), (0.5, 0.05, 50)])
def test_compositions_agree_with_simulated_tests(sigma, rate, steps):
    rng = rng_for(0, "trade-off", steps)
    trials = 100_000
    noise = sigma * rng.standard_normal((2, steps, trials), dtype=np.float32)
    noise[1] += rng.random((steps, trials)) < rate
    ratio = np.log1p(rate * np.expm1((2 * noise - 1) / (2 * sigma**2))).sum(axis=1)
    fpr = np.array([1e-3, 0.01, 0.1, 0.3, 0.7])
    event = dp_sgd(sigma, rate, steps)
    directions = (("remove", ratio[0], ratio[1]), ("add", -ratio[1], -ratio[0]))
    for direction, null, alternative in directions:
        thresholds = np.quantile(null, 1 - fpr)
        tpr = (alternative[:, None] > thresholds).mean(axis=0)
        # The deviation of the TPR itself, and of the threshold times the slope of the curve.
        slope = np.gradient(trade_off(event, np.stack([fpr * 0.99, fpr * 1.01]), direction), axis=0)
        slope = slope[0] / (0.02 * fpr)
        deviation = np.sqrt((tpr * (1 - tpr) + slope**2 * fpr * (1 - fpr)) / trials)
        error = trade_off(event, fpr, direction) - tpr
        assert np.all(np.abs(error) < 4 * deviation + 5e-4)


EVENTS = {
    "dp_sgd": dp_sgd(1.0, 0.05, 200),
    "large_rate": dp_sgd(4.0, 0.5, 100),
    "little_noise": dp_sgd(0.2, 0.02, 30),
    "laplace": dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(0.2, dp_accounting.LaplaceDpEvent(1.0)), 10
    ),
}


@pytest.mark.parametrize("direction", ["both", "add", "remove"])
@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_curves_are_concave_rocs(event, direction):
    fpr = np.linspace(0, 1, 1001)
    tpr = trade_off(event, fpr, direction)
    slopes = np.diff(tpr) / np.diff(fpr)
    assert np.all(tpr >= fpr)
    assert tpr[-1] == 1
    assert np.all(slopes >= 0)
    assert np.all(np.diff(slopes) <= 1e-9)


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_directions_are_mirror_images_below_the_symmetric_curve(event):
    fpr = np.concatenate([np.logspace(-6, -2, 100), np.linspace(0.01, 1, 2000)])
    remove, add, both = (trade_off(event, fpr, name) for name in ("remove", "add", "both"))
    # Models with the example and models without it exchange their roles.
    mirrored = trade_off(event, 1 - remove, "add")
    inside = (remove < 1 - 1e-6) & (fpr < 1 - 1e-6)
    assert mirrored[inside] == pytest.approx(1 - fpr[inside], abs=2e-6)
    assert np.all(both >= np.maximum(remove, add))
    assert np.max(remove - fpr) == pytest.approx(privacy.advantage(event), rel=1e-3)
    assert np.max(add - fpr) == pytest.approx(privacy.advantage(event), rel=1e-3)
    # A member shows by rare large gains, so that members are caught at small FPR.
    assert np.all(remove[:100] > 1.001 * add[:100])
    again = trade_off(event, 1 - both)
    inside = (both < 1 - 1e-6) & (fpr < 1 - 1e-6)
    assert again[inside] == pytest.approx(1 - fpr[inside], abs=2e-6)


def test_shapes_and_ends():
    event = EVENTS["dp_sgd"]
    grid = np.linspace(0, 1, 5000).reshape(50, 100)
    assert trade_off(event, 0.1).shape == ()
    assert trade_off(event, []).shape == (0,)
    assert np.array_equal(trade_off(event, grid).ravel(), trade_off(event, grid.ravel()))
    for direction in ("both", "add", "remove"):
        assert trade_off(event, 0.0, direction) < 1e-10
        assert trade_off(event, 1.0, direction) == 1
        no_noise = dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(0.0))
        assert trade_off(no_noise, 0.0, direction) == 1


def test_full_batches_have_one_direction():
    event = dp_sgd(3.0, 1.0, 9)
    expected = privacy.tpr_gaussian(FPR, 1.0)
    for direction in ("both", "add", "remove"):
        assert np.array_equal(trade_off(event, FPR, direction), expected)


@pytest.mark.parametrize("wrong", [{"direction": "removed"}, {"adjacency": "replace"}])
def test_unknown_words_are_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(UserError, match=f"{name}: '{value}' is unknown"):
        trade_off(dp_sgd(3.0, 1.0, 9), 0.1, **wrong)


@pytest.mark.oracle
@pytest.mark.parametrize(("sigma", "rate", "steps"), [(1.0, 0.05, 200), (4.0, 0.5, 100)])
def test_the_symmetric_curve_agrees_with_riskcal(sigma, rate, steps):
    conversions = pytest.importorskip("riskcal.analysis")
    event = dp_sgd(sigma, rate, steps)
    distribution = privacy_loss(event).composed._pld
    fpr = np.concatenate([np.logspace(-6, -1, 50), np.linspace(0.1, 1, 50)])
    tpr = 1 - conversions.get_beta_from_pld(distribution, alpha=fpr)
    found = trade_off(event, fpr)
    assert np.all(found >= tpr - 1e-9)
    assert found == pytest.approx(tpr, abs=1e-4)
    assert found[fpr >= 1e-4] == pytest.approx(tpr[fpr >= 1e-4], rel=1e-3)
    expected = conversions.get_advantage_from_pld(distribution)
    assert privacy.advantage(event) == pytest.approx(expected, rel=1e-9)
