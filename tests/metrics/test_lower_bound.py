import math

import numpy as np
import pytest
from scipy.stats import binomtest, t

from dpbench.metrics.lower_bound import epsilon_lower, rate_upper
from dpbench.metrics.thresholds import fold_curves


def bound(scores, members, *, delta=0.0, models=None, source=None):
    models = np.arange(len(scores)) if models is None else np.asarray(models)
    selection = (scores, members) if source is None else source
    return epsilon_lower(
        scores[models],
        members[models],
        models=models,
        curves=fold_curves(*selection),
        selection=selection,
        delta=delta,
    )


def randomised_response(rng, epsilons, examples, delta=0.0):
    """Releases each bit with its model's epsilon, and in the clear with probability delta."""
    members = rng.random((len(epsilons), examples)) < 0.5
    honest = rng.random(members.shape) < 1 / (1 + np.exp(-np.asarray(epsilons)))[:, None]
    answer = np.where(honest, members, ~members).astype(float)
    in_clear = rng.random(members.shape) < delta
    return np.where(in_clear, np.where(members, 2.0, -1.0), answer), members


def test_the_bound_holds_for_randomised_response_with_a_known_epsilon():
    true, experiments, above, sizes = 1.2, 400, 0, []
    for experiment in range(experiments):
        rng = np.random.default_rng([1, experiment])
        found = bound(*randomised_response(rng, np.full(24, true), 100))
        above += found > true
        sizes.append(found)
    assert above / experiments <= 0.05
    # And it is not idle: 1200 answers per fold resolve a fifth of an epsilon.
    assert np.median(sizes) > true - 0.35


def test_the_bound_holds_when_models_leak_differently():
    """Ten models in a hundred leak everything; the average rates obey this epsilon and no less."""
    experiments, above = 400, 0
    average = 0.9 / (1 + math.exp(-0.5)) + 0.1 / (1 + math.exp(-4))
    true = math.log(average / (1 - average))
    for experiment in range(experiments):
        rng = np.random.default_rng([2, experiment])
        epsilons = np.where(rng.random(40) < 0.1, 4.0, 0.5)
        above += bound(*randomised_response(rng, epsilons, 60)) > true
    assert above / experiments <= 0.05


def test_the_bound_holds_for_continuous_scores_with_model_offsets():
    """Gaussian scores of mu 1 satisfy (epsilon, delta)-DP with epsilon 4.3772 at delta 1e-5."""
    above = 0
    for experiment in range(200):
        rng = np.random.default_rng([3, experiment])
        members = rng.random((16, 200)) < 0.5
        offsets = 0.5 * rng.normal(size=(16, 1))
        found = bound(members + offsets + rng.normal(size=members.shape), members, delta=1e-5)
        above += found > 4.3772
    assert above == 0


def test_guessing_proves_nothing():
    above = 0
    for experiment in range(200):
        rng = np.random.default_rng([4, experiment])
        members = rng.random((16, 100)) < 0.5
        above += bound(rng.normal(size=members.shape), members) > 0
    assert above / 200 <= 0.05


def test_delta_is_not_mistaken_for_epsilon():
    rng = np.random.default_rng(5)
    scores, members = randomised_response(rng, np.full(40, 0.0), 1000, delta=0.6)
    assert bound(scores, members) > 1
    assert bound(scores, members, delta=0.6) == 0


def test_a_perfect_attack_is_limited_by_the_number_of_models():
    rng = np.random.default_rng(6)
    members = rng.random((64, 1000)) < 0.5
    found = bound(members.astype(float), members)
    limit = 1 - 0.025 ** (1 / 32)
    assert found == pytest.approx(math.log((1 - limit) / limit))
    # Continuous scores let a threshold be chosen that makes a countable number of errors.
    found = bound(members + 0.1 * rng.random(members.shape), members)
    assert 4 < found < 8


def test_two_models_prove_nothing():
    members = np.random.default_rng(7).random((2, 1000)) < 0.5
    assert bound(members.astype(float), members) == 0


def test_only_held_out_models_of_the_reported_half_count():
    rng = np.random.default_rng(8)
    scores, members = randomised_response(rng, np.full(40, 2.0), 200)
    even, odd = np.arange(0, 40, 2), np.arange(1, 40, 2)
    assert bound(scores, members) == bound(scores, members, models=odd)
    spoiled = scores.copy()
    spoiled[even] = rng.permuted(spoiled[even], axis=1)
    # The even half decides the threshold of the odd one, never its counts.
    assert bound(spoiled, members, models=odd) == pytest.approx(
        bound(scores, members, models=odd), abs=1e-12
    )
    assert bound(spoiled, members, models=even) < 0.5 < bound(scores, members, models=even)


def test_the_threshold_is_not_chosen_on_the_models_it_is_judged_by():
    members = np.random.default_rng(12).random((40, 300)) < 0.5
    scores = members.astype(float)
    scores[0::2] = 5.0
    # All that even models teach is "members score 5", which no odd model does.
    assert bound(scores, members) == 0
    assert bound(scores[1:], members[1:]) == 0


def test_a_static_attacker_chooses_thresholds_elsewhere():
    rng = np.random.default_rng(9)
    members = rng.random((40, 300)) < 0.5
    shifted = members + rng.normal(size=members.shape)
    source = shifted + 100
    assert bound(shifted, members) > 0.5
    assert bound(shifted, members, source=(source, members)) == 0


def test_rate_limit_is_students_where_all_models_err():
    errors, trials = np.array([30, 40, 50, 44]), np.full(4, 100)
    expected = 0.41 + t.ppf(0.975, 3) * np.std(errors / 100, ddof=1) / 2
    assert rate_upper(errors, trials) == pytest.approx(expected)


def test_rate_limit_is_at_least_the_pooled_binomial_one():
    errors, trials = np.full(10, 5), np.full(10, 100)
    pooled = binomtest(50, 1000).proportion_ci(0.95, "exact").high
    assert rate_upper(errors, trials) == pytest.approx(pooled)


def test_rate_limit_without_errors_counts_models_not_examples():
    many = rate_upper(np.zeros(20, dtype=int), np.full(20, 10_000))
    assert many == pytest.approx(1 - 0.025 ** (1 / 20))
    assert rate_upper(np.zeros(1, dtype=int), np.full(1, 10_000)) == 1
    assert rate_upper(np.zeros(5, dtype=int), np.zeros(5, dtype=int)) == 1


def test_rate_limit_covers_errors_that_only_few_models_make():
    """One model in twenty errs on everything: the mean rate is 0.05, whatever the others show."""
    below, experiments = 0, 2000
    rng = np.random.default_rng(10)
    for _ in range(experiments):
        errors = np.where(rng.random(32) < 0.05, 100, 0)
        below += rate_upper(errors, np.full(32, 100)) < 0.05
    assert below / experiments <= 0.03
