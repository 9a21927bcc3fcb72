"""Replace-one adjacency: closed forms, quadrature, and conversions from add/remove."""

import math

import dp_accounting
import numpy as np
import pytest
from scipy.stats import norm

from dpbench import privacy
from dpbench.errors import UserError
from dpbench.privacy.accounting.adjacency import replace_one_mu
from dpbench.privacy.accounting.mechanism import advantage, delta, epsilon, trade_off

FPR = np.concatenate([np.logspace(-6, -1, 30), np.linspace(0.1, 1, 30)])
REPLACE = {"adjacency": "replace_one"}


def dp_sgd(sigma, rate, steps):
    return privacy.SampledGaussian(noise_multiplier=sigma, sampling_rate=rate, steps=steps).event()


def test_full_batches_are_twice_as_far_apart():
    event = dp_sgd(3.0, 1.0, 9)
    mu = replace_one_mu(1.0)
    assert mu == 2
    assert epsilon(event, 1e-5, **REPLACE) == privacy.epsilon_gaussian(1e-5, mu)
    assert delta(event, 0.5, **REPLACE) == privacy.delta_gaussian(0.5, mu)
    assert advantage(event, **REPLACE) == privacy.advantage_gaussian(mu)
    assert np.array_equal(trade_off(event, FPR, **REPLACE), privacy.tpr_gaussian(FPR, mu))
    nearly = dp_sgd(3.0, 1 - 1e-9, 9)
    assert epsilon(nearly, 1e-5, **REPLACE) == pytest.approx(
        privacy.epsilon_gaussian(1e-5, mu), rel=5e-4
    )


@pytest.mark.parametrize(
    ("sigma", "rate"), [(1.0, 0.1), (0.5, 0.3), (2.0, 0.9), (0.3, 0.5), (0.1, 0.3)]
)
def test_one_step_is_the_test_between_opposite_examples(sigma, rate):
    event = dp_sgd(sigma, rate, 1)
    x = np.linspace(-1 - 12 * sigma, 1 + 12 * sigma, 400_001)
    weight = x[1] - x[0]
    with_z = (1 - rate) * norm.pdf(x, 0, sigma) + rate * norm.pdf(x, 1, sigma)
    with_other = with_z[::-1]
    for value in (0.0, 0.2, 1.0):
        exact = np.maximum(with_z - np.exp(value) * with_other, 0).sum() * weight
        assert delta(event, value, **REPLACE) == pytest.approx(exact, rel=5e-4)
        assert delta(event, value, **REPLACE) > exact - 1e-9
    # The ratio of the two rises with the output.
    tpr = np.interp(FPR, np.cumsum(with_other[::-1]) * weight, np.cumsum(with_z[::-1]) * weight)
    found = trade_off(event, FPR, **REPLACE)
    assert np.all(found >= tpr - 1e-9)
    assert found == pytest.approx(tpr, abs=2e-3)


@pytest.mark.parametrize(("sigma", "rate"), [(1.0, 0.1), (0.5, 0.3), (0.4, 0.9), (2.0, 0.5)])
def test_opposite_examples_are_the_worst_pair(sigma, rate):
    axis = np.linspace(-1 - 6 * sigma, 1 + 6 * sigma, 301)
    x, y = np.meshgrid(axis, axis)
    weight = (axis[1] - axis[0]) ** 2

    def output(example):
        def density(at):
            square = (x - at[0]) ** 2 + (y - at[1]) ** 2
            return np.exp(-square / (2 * sigma**2)) / (2 * np.pi * sigma**2)

        return (1 - rate) * density((0, 0)) + rate * density(example)

    first, opposite = output((1, 0)), output((-1, 0))
    others = [(r * math.cos(a), r * math.sin(a)) for r in (0, 0.5, 1) for a in (0.5, 1.5, 2.5, 3)]
    for growth in np.exp([-2.0, -0.3, 0.0, 0.3, 2.0]):
        worst = np.maximum(first - growth * opposite, 0).sum() * weight
        for other in others:
            # A coarse grid misses the kink of the maximum by a few millionths.
            found = np.maximum(first - growth * output(other), 0).sum() * weight
            assert found <= worst + 2e-5


@pytest.mark.parametrize(
    ("sigma", "rate", "steps"), [(1.0, 0.01, 300), (1.0, 0.1, 100), (4.0, 0.5, 100)]
)
def test_the_mechanism_itself_is_between_one_change_and_two(sigma, rate, steps):
    event = dp_sgd(sigma, rate, steps)
    replaced = epsilon(event, 1e-5, **REPLACE)
    assert epsilon(event, 1e-5) < replaced
    half = epsilon(event, 1e-5 / (1 + math.exp(replaced / 2)))
    assert replaced < 2 * half
    assert advantage(event) < advantage(event, **REPLACE) < 2 * advantage(event)
    exact = trade_off(event, FPR, **REPLACE)
    assert np.all(exact >= trade_off(event, FPR, "remove") - 1e-9)
    assert np.all(exact <= trade_off(event, trade_off(event, FPR, "add"), "remove") + 1e-9)
    for direction in ("add", "remove"):
        assert np.array_equal(exact, trade_off(event, FPR, direction, **REPLACE))


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_converted_curve_is_exact_for_laplace(scale):
    # Two shifts in a row are one of twice the length: tests of both use the same threshold.
    odds = math.exp(-2 / scale)
    with np.errstate(divide="ignore"):
        exact = np.where(
            odds / 2 > FPR,
            FPR / odds,
            np.where(FPR < 0.5, 1 - odds / (4 * FPR), 1 - odds * (1 - FPR)),
        )
    event = dp_accounting.LaplaceDpEvent(scale)
    found = trade_off(event, FPR, **REPLACE)
    assert np.all(found >= exact - 1e-12)
    assert found == pytest.approx(exact, abs=2e-3)
    for quantity in (epsilon, delta):
        with pytest.raises(UserError, match="under replace_one"):
            quantity(event, 0.1, **REPLACE)
    with pytest.raises(UserError, match="under replace_one"):
        advantage(event, **REPLACE)


def test_the_converted_curve_is_symmetric_and_above_the_exact_one():
    scale, rate = 0.5, 0.3
    event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.LaplaceDpEvent(scale))
    x = np.linspace(-20, 20, 400_001)
    weight = x[1] - x[0]
    with_z = ((1 - rate) * np.exp(-abs(x) / scale) + rate * np.exp(-abs(x - 1) / scale)) / 2 / scale
    with_other = with_z[::-1]
    tpr = np.interp(FPR, np.cumsum(with_other[::-1]) * weight, np.cumsum(with_z[::-1]) * weight)
    found = trade_off(event, FPR, **REPLACE)
    assert np.all(found >= tpr - 1e-4)
    # Whoever exchanges the two examples exchanges the two errors.
    inside = (found < 0.999) & (FPR < 0.999)
    mirrored = 1 - trade_off(event, 1 - found, **REPLACE)
    assert mirrored[inside] == pytest.approx(FPR[inside], abs=1e-4)


@pytest.mark.parametrize("quantity", [epsilon, delta])
def test_unknown_relations_are_refused(quantity):
    with pytest.raises(UserError, match="adjacency: 'add' is unknown\n  allowed: add_remove, rep"):
        quantity(dp_sgd(3.0, 1.0, 9), 0.1, adjacency="add")
