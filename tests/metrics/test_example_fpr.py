import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from shadow_scores import likelihood_ratio

from dpbench.metrics import evaluate, roc
from dpbench.metrics.example_fpr import margins, rank_margins
from dpbench.metrics.intervals import crossed_interval, deviations, resampling_weights
from dpbench.metrics.roc import fpr_at, tpr_at


def rates(scores, members):
    """TPR and FPR at the examples' own thresholds for 1 %."""
    curve = rank_margins(margins(scores, members), members)[1]
    return tpr_at(curve, 0.01), fpr_at(curve, 0.01)


def decisions(scores, members):
    """Who is called a member at them."""
    found = margins(scores, members)
    outside = np.sort(found[~members])[::-1]
    return found > outside[int(0.01 * outside.size)]


def naive_margin(scores, members, model, example):
    others = [
        scores[m, example] for m in range(len(scores)) if m != model and not members[m, example]
    ]
    if len(others) < 2 or scores[model, example] <= max(others):
        return 0.0
    others.sort(reverse=True)
    spread = others[0] - others[len(others) // 2]
    excess = scores[model, example] - others[0]
    return excess / spread if spread > 0 else math.inf


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 8), st.integers(0, 2))
def test_margins_against_a_loop(seed, models, examples, decimals):
    rng = np.random.default_rng(seed)
    members = rng.random((models, examples)) < 0.5
    scores = np.round(2 * rng.normal(size=members.shape), decimals)
    found = margins(scores, members)
    for model in range(models):
        for example in range(examples):
            expected = naive_margin(scores, members, model, example)
            assert found[model, example] == pytest.approx(expected)


def test_a_models_own_bits_are_not_used():
    rng = np.random.default_rng(1)
    members = rng.random((9, 200)) < 0.5
    scores = np.round(rng.normal(size=members.shape), 1)
    flipped = members.copy()
    flipped[4] ^= True
    assert np.array_equal(margins(scores, members)[4], margins(scores, flipped)[4])


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 40), st.integers(0, 2))
def test_the_curve_is_that_of_all_margins(seed, models, examples, decimals):
    rng = np.random.default_rng(seed)
    members = rng.random((models, examples)) < 0.5
    members[0, 0] = True
    found = margins(np.round(rng.normal(size=members.shape) + members, decimals), members)
    ranking, curve = rank_margins(found, members)
    expected = roc(found, members)
    if np.all(found > 0):
        return
    for mine, theirs in zip(curve, expected, strict=True):
        assert np.array_equal(mine, theirs)
    assert np.array_equal(ranking.scores, found.ravel()[ranking.order])
    assert np.array_equal(ranking.members, members.ravel()[ranking.order])
    assert np.count_nonzero(found) == ranking.order.size


def test_rates_against_a_loop():
    rng = np.random.default_rng(2)
    members = rng.random((12, 300)) < 0.5
    scores = rng.normal(size=members.shape) + 2 * members
    called = decisions(scores, members)
    assert rates(scores, members) == (called[members].mean(), called[~members].mean())


def test_one_model_without_the_example_is_above_all_others():
    """So the FPR of a positive margin is 1 / (k + 1) in every example, for any distribution."""
    rng = np.random.default_rng(3)
    members = rng.random((20, 500)) < 0.5
    scores = rng.standard_cauchy(size=members.shape) * rng.random(500) ** 9
    first = (margins(scores, members) > 0) & ~members
    assert np.all(first.sum(0) == 1)


def uneven(rng, models, examples, effect):
    """Examples of every level, spread and shape; a tenth of them are ten times as noisy."""
    members = rng.random((models, examples)) < 0.5
    noise = rng.normal(size=members.shape)
    noise = np.where(np.arange(examples) % 3 == 0, np.expm1(noise), noise)
    scale = np.where(np.arange(examples) % 10 == 0, 10.0, 1.0)
    level = 0.3 * rng.normal(size=examples)
    return level + scale * (noise + effect * members), members


def test_no_example_bears_the_others_false_positives():
    own, pooled, experiments = 0.0, 0.0, 15
    for seed in range(experiments):
        scores, members = uneven(np.random.default_rng([4, seed]), 64, 600, 0.0)
        called = decisions(scores, members)
        assert called[members].mean() == pytest.approx(0.01, abs=0.004)
        assert called[~members].mean() == pytest.approx(0.01, abs=1e-4)
        curve = roc(scores, members)
        cut = curve.thresholds[np.searchsorted(curve.fp, 0.01 * curve.negatives, "right") - 1]
        outside = ~members
        own += (called & outside).sum(0) / outside.sum(0) / experiments
        pooled += ((scores >= cut) & outside).sum(0) / outside.sum(0) / experiments
    noisy = np.arange(600) % 10 == 0
    assert pooled[noisy].mean() > 0.08
    assert pooled[~noisy].mean() < 0.005
    assert own[noisy].mean() == pytest.approx(0.01, abs=0.004)
    assert own.max() < 0.045


def test_a_planted_signal_is_found_on_every_scale():
    scores, members = uneven(np.random.default_rng(5), 64, 3000, 3.0)
    called = decisions(scores, members)
    noisy, even = np.arange(3000) % 10 == 0, np.arange(3000) % 3 != 0
    tpr = [called[:, at][members[:, at]].mean() for at in (noisy & even, ~noisy & even)]
    # Knowing the distributions would give 0.75 where they are normal; 31 scores give less.
    assert norm.sf(norm.isf(0.01) - 3) - 0.25 < min(tpr) <= max(tpr) < 0.75
    assert abs(tpr[0] - tpr[1]) < 0.04


def test_more_models_find_more():
    rng = np.random.default_rng(6)
    known, found = norm.sf(norm.isf(0.01) - 2), []
    for models in (16, 64):
        members = rng.random((models, 2000)) < 0.5
        scores = rng.normal(size=members.shape) + 2 * members + rng.normal(size=2000)
        found.append(rates(scores, members)[0])
    assert 0.1 < found[0] < found[1] < known
    assert found[1] > known - 0.12


def test_labels_alone_have_few_false_positives_to_spend():
    """A right label stands out only if all other models without the example are wrong."""
    rng = np.random.default_rng(7)
    members = rng.random((64, 1000)) < 0.5
    hard = np.arange(1000) < 300
    right = rng.random(members.shape) < np.where(hard, np.where(members, 0.8, 0.001), 0.9)
    tpr, fpr = rates(right.astype(float), members)
    # Few stand out: the rest of the 1 % is guessed, and finds as few members as others.
    assert fpr == pytest.approx(0.01)
    assert tpr == pytest.approx(0.3 * 0.8, abs=0.03)


def test_shadows_that_are_targets_too_know_too_much():
    """Why `uses_other_bits` switches it off: what a score is compared with knows its bit."""
    rng = np.random.default_rng(8)
    members = rng.random((64, 1000)) < 0.5
    phi = rng.normal(size=members.shape)
    assert rates(phi, members)[0] == pytest.approx(0.01, abs=0.003)
    tpr, fpr = rates(likelihood_ratio(phi, members), members)
    assert fpr == pytest.approx(0.01, abs=1e-4)
    assert tpr < 0.003


def test_what_cannot_be_resolved_is_unknown():
    rng = np.random.default_rng(9)
    members = rng.random((8, 60)) < 0.5
    scores = rng.normal(size=members.shape)

    def found(scores, members, **options):
        row = evaluate(scores, members, rng=rng, replicates=10, uses_other_bits=False, **options)
        return row.tpr_at_example_fpr_0_01.value, row.realised_example_fpr_0_01

    assert not any(map(math.isnan, found(scores, members)))
    assert all(map(math.isnan, found(scores[:, :20], members[:, :20])))
    assert all(map(math.isnan, found(scores, members, models=[3])))
    scores[0, 0] = math.inf
    assert all(map(math.isnan, found(scores, members)))


def test_nobody_stands_out_of_constant_scores():
    members = np.random.default_rng(12).random((20, 50)) < 0.5
    found = evaluate(
        np.zeros(members.shape), members, rng=np.random.default_rng(0), uses_other_bits=False
    )
    assert found.tpr_at_example_fpr_0_01 == pytest.approx((0.01, 0.01, 0.01))
    assert found.realised_example_fpr_0_01 == pytest.approx(0.01)


def test_the_interval_against_resampled_margins():
    rng = np.random.default_rng(13)
    members = rng.random((16, 200)) < 0.5
    scores = rng.normal(size=members.shape) + 3 * members
    options = {"replicates": 25, "uses_other_bits": False}
    found = evaluate(scores, members, rng=np.random.default_rng(3), **options)
    beyond, rng, spread = margins(scores, members), np.random.default_rng(3), []
    for axis, units in enumerate(members.shape):
        times = resampling_weights(units, 25, rng).astype(int).T
        samples = [[np.repeat(x, t, axis=axis) for x in (beyond, members)] for t in times]
        statistics = np.array([tpr_at(roc(*sample), 0.01) for sample in samples])
        spread.append(deviations(statistics, units))
    expected = crossed_interval(rates(scores, members)[0], *spread)
    assert found.tpr_at_example_fpr_0_01 == pytest.approx(expected, abs=1e-6)


def test_the_interval_covers_new_models_and_examples():
    def draw(rng):
        members = rng.random((16, 150)) < 0.5
        scores = rng.normal(size=members.shape) + rng.normal(size=150)
        effect = 2 + 0.5 * rng.normal(size=150) + 0.3 * rng.normal(size=(16, 1))
        return scores + effect * members, members

    truth = np.mean([rates(*draw(np.random.default_rng([10, seed])))[0] for seed in range(400)])
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng([11, seed])
        found = evaluate(*draw(rng), rng=rng, replicates=80, uses_other_bits=False)
        low, high = found.tpr_at_example_fpr_0_01[1:]
        covered += low <= truth <= high
    assert covered >= 90
