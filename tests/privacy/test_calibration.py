import json
import math
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpbench import privacy
from dpbench.errors import UserError
from dpbench.privacy import cache, calibration
from dpbench.privacy.calibration import calibrate, search

SHIPPED = json.loads(files("dpbench.privacy").joinpath("calibrations.json").read_text())


def realised(sigma, *, delta, sampling_rate, steps, **_):
    event = privacy.SampledGaussian(
        noise_multiplier=sigma, sampling_rate=sampling_rate, steps=steps
    ).event()
    return privacy.epsilon(event, delta)


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
