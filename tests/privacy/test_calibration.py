import json
import math
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpbench import privacy
from dpbench.errors import UserError
from dpbench.privacy.accounting import cache, calibration
from dpbench.privacy.accounting.calibration import (
    MIN_MU,
    calibrate,
    calibrate_advantage,
    calibrate_tpr,
    noiseless_tpr,
    search,
)
from dpbench.privacy.accounting.loss import privacy_loss

SHIPPED = json.loads(files("dpbench.privacy.accounting").joinpath("calibrations.json").read_text())


def dp_sgd(sigma, *, sampling_rate, steps, **_):
    return privacy.SampledGaussian(
        noise_multiplier=sigma, sampling_rate=sampling_rate, steps=steps
    ).event()


def realised(sigma, *, delta, **query):
    return privacy.epsilon(dp_sgd(sigma, **query), delta)


@given(st.floats(1e-3, 1e4), st.floats(-10, -1), st.integers(1, 10_000))
def test_full_batch_never_overshoots(epsilon, log_delta, steps):
    query = {"delta": 10**log_delta, "sampling_rate": 1.0, "steps": steps}
    sigma = calibrate(epsilon=epsilon, **query)
    assert 0.9999 * epsilon <= realised(sigma, **query) <= epsilon


@settings(max_examples=6)
@given(
    st.floats(math.log(0.1), math.log(100)),
    st.floats(-8, -3),
    st.floats(0.02, 0.95),
    st.integers(1, 300),
)
def test_search_never_overshoots_and_is_close(log_epsilon, log_delta, rate, steps):
    epsilon = math.exp(log_epsilon)
    query = {"delta": 10**log_delta, "sampling_rate": rate, "steps": steps}
    reached = realised(search(epsilon=epsilon, **query), **query)
    assert 0.99 * epsilon <= reached <= epsilon


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(1e4, 1e-5), (1e3, 1e-10), (0.01, 1e-5), (0.01, 0.1)]
)
def test_the_edges_of_the_range_are_reached(epsilon, delta):
    query = {"delta": delta, "sampling_rate": 0.25, "steps": 100}
    assert 0.99 * epsilon <= realised(search(epsilon=epsilon, **query), **query) <= epsilon


def test_no_privacy_needs_no_noise():
    assert calibrate(epsilon=math.inf, delta=1e-5, sampling_rate=0.1, steps=10) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"epsilon": 0.0},
        {"epsilon": -1.0},
        {"epsilon": math.nan},
        {"epsilon": 2e4},
        {"delta": 0.0},
        {"delta": 1.0},
        {"sampling_rate": 0.0},
        {"sampling_rate": 1.5},
        {"steps": 0},
        {"steps": 10**7},
    ],
)
def test_values_out_of_range_are_named(wrong):
    query = {"epsilon": 1.0, "delta": 1e-5, "sampling_rate": 0.1, "steps": 10}
    ((name, _),) = wrong.items()
    with pytest.raises(UserError, match=f"{name}: .*\n  allowed: "):
        calibrate(**(query | wrong))


def test_a_delta_that_sampling_alone_guarantees_is_refused():
    with pytest.raises(UserError, match="odds to be sampled"):
        calibrate(epsilon=2.0, delta=1e-5, sampling_rate=1e-6, steps=10)


def test_the_shipped_table_answers_without_a_search(monkeypatch):
    monkeypatch.setattr(calibration, "search", None)
    for row in SHIPPED:
        query = {key: value for key, value in row.items() if key != "noise_multiplier"}
        assert calibrate(**query) == row["noise_multiplier"]
    assert len(SHIPPED) > 0


@pytest.mark.parametrize("row", SHIPPED[:: max(1, len(SHIPPED) // 5)])
def test_the_shipped_table_holds_what_it_promises(row):
    assert 0.99 * row["epsilon"] <= realised(row["noise_multiplier"], **row) <= row["epsilon"]


def test_a_search_is_done_once(monkeypatch, tmp_path):
    monkeypatch.setenv("DPBENCH_CACHE", str(tmp_path))
    query = {"epsilon": 3.1, "delta": 1e-4, "sampling_rate": 0.37, "steps": 3}
    cache.forget()
    first = calibrate(**query)
    cache.forget()
    monkeypatch.setattr(calibration, "search", None)
    assert calibrate(**query) == first


@given(st.floats(1e-3, 0.9999), st.integers(1, 10_000))
def test_full_batch_advantage_never_overshoots(advantage, steps):
    query = {"sampling_rate": 1.0, "steps": steps}
    sigma = calibrate_advantage(advantage=advantage, **query)
    assert 0.9999 * advantage <= privacy.advantage(dp_sgd(sigma, **query)) <= advantage


@given(st.floats(-6, -0.1), st.floats(0.01, 4), st.integers(1, 10_000))
def test_full_batch_tpr_never_overshoots(log_fpr, mu, steps):
    fpr, query = 10**log_fpr, {"sampling_rate": 1.0, "steps": steps}
    tpr = float(privacy.tpr_gaussian(fpr, mu))
    sigma = calibrate_tpr(tpr=tpr, fpr=fpr, **query)
    assert sigma == pytest.approx(math.sqrt(steps) / mu, rel=1e-6)
    assert 0.9999 * tpr <= privacy.trade_off(dp_sgd(sigma, **query), fpr) <= tpr


rates, step_counts = st.floats(0.02, 0.95), st.integers(1, 300)


@settings(max_examples=8)
@given(st.floats(0.01, 0.99), rates, step_counts)
def test_advantage_is_reached_and_not_exceeded(share, rate, steps):
    query = {"sampling_rate": rate, "steps": steps}
    advantage = 5e-4 + share * (noiseless_tpr(0.0, **query) - 5e-4)
    sigma = calibrate_advantage(advantage=advantage, **query)
    assert 0.999 * advantage <= privacy.advantage(dp_sgd(sigma, **query)) <= advantage


@settings(max_examples=8)
@given(
    st.floats(0.05, 0.95),
    st.floats(-4, -0.3),
    rates,
    step_counts,
    st.sampled_from(["both", "add", "remove"]),
)
def test_tpr_is_reached_and_not_exceeded(share, log_fpr, rate, steps, direction):
    fpr, query = 10**log_fpr, {"sampling_rate": rate, "steps": steps, "direction": direction}
    tpr = fpr + share * (noiseless_tpr(fpr, **query) - fpr)
    sigma = calibrate_tpr(tpr=tpr, fpr=fpr, **query)
    assert 0.999 * tpr <= privacy.trade_off(dp_sgd(sigma, **query), fpr, direction) <= tpr


@pytest.mark.parametrize("advantage", [5e-4, 0.99999])
def test_the_edges_of_the_advantage_are_reached(advantage):
    query = {"sampling_rate": 0.25, "steps": 100}
    sigma = calibrate_advantage(advantage=advantage, **query)
    assert 0.999 * advantage <= privacy.advantage(dp_sgd(sigma, **query)) <= advantage


def test_a_tpr_close_to_the_fpr_still_has_its_noise():
    # Within 1e-3 of this TPR lies the FPR itself, where the noise is infinite.
    query = {"sampling_rate": 0.25, "steps": 100}
    sigma = calibrate_tpr(tpr=0.5005, fpr=0.5, **query)
    central_limit = 0.25 * math.sqrt(100) / sigma
    gained = float(privacy.tpr_gaussian(0.5, central_limit)) - 0.5
    assert gained == pytest.approx(5e-4, rel=2e-3)


def test_directions_need_different_noise():
    query = {"tpr": 0.1, "fpr": 1e-3, "sampling_rate": 0.1, "steps": 50}
    both, add, remove = (
        calibrate_tpr(direction=direction, **query) for direction in ("both", "add", "remove")
    )
    assert add < 0.95 * remove
    assert remove == pytest.approx(both, rel=2e-3)


def test_without_noise_it_shows_who_was_sampled():
    sampling = {"sampling_rate": 0.1, "steps": 3}
    sampled = 1 - 0.9**3
    little = dp_sgd(0.1, **sampling)
    assert privacy.advantage(little) == pytest.approx(sampled)
    for direction in ("both", "add", "remove"):
        for fpr in (1e-3, 0.5, 0.9, 1.0):
            limit = noiseless_tpr(fpr, direction=direction, **sampling)
            found = privacy.trade_off(little, fpr, direction)
            assert found == pytest.approx(limit, abs=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"advantage": 0.0},
        {"advantage": -0.5},
        {"advantage": 1.0},
        {"advantage": math.nan},
        {"advantage": 1e-5},
        {"advantage": 0.66},
        {"sampling_rate": 0.0},
        {"steps": 10**7},
    ],
)
def test_impossible_advantages_are_named(wrong):
    query = {"advantage": 0.1, "sampling_rate": 0.1, "steps": 10}
    ((name, _),) = wrong.items()
    with pytest.raises(UserError, match=f"{name}: .*\n  allowed: "):
        calibrate_advantage(**(query | wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        {"tpr": 0.01},
        {"tpr": 0.005},
        {"tpr": 0.01001},
        {"tpr": 1.0},
        {"tpr": math.nan},
        {"tpr": 0.67},
        {"fpr": 0.0},
        {"fpr": 1.0},
        {"fpr": math.nan},
        {"sampling_rate": 1.5},
        {"steps": 0},
        {"direction": "remote"},
    ],
)
def test_impossible_rates_are_named(wrong):
    query = {"tpr": 0.1, "fpr": 0.01, "sampling_rate": 0.1, "steps": 10}
    ((name, _),) = wrong.items()
    with pytest.raises(UserError, match=f"{name}: .*\n  allowed: "):
        calibrate_tpr(**(query | wrong))


def test_the_least_target_is_stated():
    with pytest.raises(UserError, match=r"allowed: 0\.0004 up to below 1"):
        calibrate_advantage(advantage=1e-6, sampling_rate=0.5, steps=10)
    assert float(privacy.advantage_gaussian(MIN_MU)) == pytest.approx(4e-4, rel=0.01)


@pytest.mark.parametrize(
    ("function", "target"),
    [(calibrate_advantage, {"advantage": 0.21}), (calibrate_tpr, {"tpr": 0.2, "fpr": 0.1})],
    ids=["advantage", "tpr"],
)
def test_every_search_is_done_once(monkeypatch, tmp_path, function, target):
    monkeypatch.setenv("DPBENCH_CACHE", str(tmp_path))
    cache.forget()
    first = function(sampling_rate=0.37, steps=3, **target)
    cache.forget()
    monkeypatch.setattr(calibration, "_least_noise", None)
    assert function(sampling_rate=0.37, steps=3, **target) == first


@pytest.mark.oracle
def test_riskcal_agrees_that_the_targets_are_met():
    conversions = pytest.importorskip("riskcal.analysis")
    query = {"sampling_rate": 0.2, "steps": 50}
    sigma = calibrate_advantage(advantage=0.3, **query)
    distribution = privacy_loss(dp_sgd(sigma, **query)).composed._pld
    assert 0.299 < conversions.get_advantage_from_pld(distribution) <= 0.3 + 1e-9
    sigma = calibrate_tpr(tpr=0.05, fpr=0.01, **query)
    distribution = privacy_loss(dp_sgd(sigma, **query)).composed._pld
    tpr = 1 - float(conversions.get_beta_from_pld(distribution, alpha=0.01))
    assert 0.0498 < tpr <= 0.05 + 1e-9
