import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import binomtest

from dpbench.errors import UserError
from dpbench.privacy.audits.audit_result import Errors
from dpbench.privacy.audits.bayesian import audit_bayesian
from dpbench.privacy.audits.canaries import OneRun
from dpbench.privacy.audits.clopper_pearson import audit_clopper_pearson, conversions
from dpbench.privacy.audits.gaussian_audit import audit_gaussian
from dpbench.privacy.audits.katz import audit_katz
from dpbench.privacy.audits.thresholds import Bonferroni, Explicit, Split
from dpbench.privacy.audits.trials import Trials
from dpbench.seeds import rng_for

TRIAL_AUDITS = [audit_clopper_pearson, audit_gaussian, audit_bayesian, audit_katz]


def split_rng(seed=0):
    return rng_for(seed, "audit split")


def table(models=40, examples=7, seed=0):
    rng = np.random.default_rng(seed)
    members = rng.random((models, examples)) < 0.5
    return rng.standard_normal(members.shape) + 2 * members, members


@pytest.mark.parametrize("audit", TRIAL_AUDITS)
def test_audits_of_trials_refuse_raw_arrays_and_runs_and_say_why(audit):
    scores, members = table()
    run = OneRun.of_model(scores, members, model=0)
    with pytest.raises(TypeError, match=r"shape \(40, 7\).*Trials.one_per_model"):
        audit(scores, delta=1e-5)
    with pytest.raises(TypeError, match=r"given OneRun.*not independent"):
        audit(run, delta=1e-5)


def test_trials_are_not_made_without_a_reason():
    with pytest.raises(TypeError, match=r"Trials\.of_example.*Trials\.independent"):
        Trials()
    scores, members = table()
    with pytest.raises(UserError, match=r"scores have shape \(40, 7\)[\s\S]*\(k,\)"):
        Trials.independent(scores, members)
    with pytest.raises(UserError, match=r"\(M, n\)"):
        Trials.one_per_model(scores[0], members[0], np.random.default_rng(0))


def test_an_example_is_one_column():
    scores, members = table()
    trials = Trials.of_example(scores, members, example=3)
    assert np.array_equal(trials.scores, scores[:, 3])
    assert np.array_equal(trials.members, members[:, 3])
    with pytest.raises(UserError, match="example 7"):
        Trials.of_example(scores, members, example=7)


def test_one_pair_is_drawn_from_each_model_and_all_examples_are_drawn():
    scores = np.arange(5000.0).reshape(1000, 5)
    members = np.random.default_rng(1).random(scores.shape) < 0.5
    trials = Trials.one_per_model(scores, members, np.random.default_rng(0))
    assert np.array_equal(trials.scores // 5, np.arange(1000))
    assert np.array_equal(trials.members, members.ravel()[trials.scores.astype(int)])
    counts = np.bincount((trials.scores % 5).astype(int), minlength=5)
    assert counts.min() > 150


@pytest.mark.parametrize(
    ("scores", "members", "message"),
    [
        ([1.0, np.nan], [0, 1], "1 values are NaN"),
        ([1.0, 2.0], [0, 2], "neither 0 nor 1"),
        ([1.0, 2.0], [0], "members"),
        ([], [], "not empty"),
        (["a", "b"], [0, 1], "numbers"),
    ],
    ids=["nan", "bits", "shape", "empty", "text"],
)
def test_what_is_no_score_or_bit_is_refused(scores, members, message):
    with pytest.raises(UserError, match=message):
        Trials.independent(scores, members)


scored = hnp.arrays(float, 30, elements=st.integers(0, 8).map(float))
bits = hnp.arrays(bool, 30)


@given(scores=scored, members=bits, threshold=st.integers(-1, 9))
def test_errors_at_a_threshold_against_a_loop(scores, members, threshold):
    pairs = list(zip(scores, members, strict=True))
    assert Trials.independent(scores, members).errors_at(threshold) == Errors(
        false_positives=sum(score >= threshold for score, member in pairs if not member),
        non_members=sum(not member for member in members),
        false_negatives=sum(score < threshold for score, member in pairs if member),
        members=sum(members),
    )


@given(scores=scored, members=bits)
def test_the_curve_is_the_errors_at_each_score(scores, members):
    trials = Trials.independent(scores, members)
    thresholds, errors = trials.curve()
    for index, threshold in enumerate(thresholds):
        expected = trials.errors_at(float(threshold))
        assert errors.false_positives[index] == expected.false_positives
        assert errors.false_negatives[index] == expected.false_negatives
        assert errors.members == expected.members


@given(members=bits, fraction=st.floats(0.1, 0.9))
def test_a_split_parts_members_and_non_members_alike_and_loses_nothing(members, fraction):
    trials = Trials.independent(np.arange(30.0), members)
    first, second = trials.split(fraction, np.random.default_rng(0))
    assert sorted([*first.scores, *second.scores]) == list(range(30))
    assert np.array_equal(members[first.scores.astype(int)], first.members)
    assert first.members.sum() == round(fraction * members.sum())


@given(scores=scored, members=bits, others=scored)
def test_the_threshold_of_a_split_does_not_depend_on_the_trials_that_judge(scores, members, others):
    judging = Trials.independent(np.arange(30.0), members).split(0.3, split_rng())[1]
    changed = scores.copy()
    changed[judging.scores.astype(int)] = others[judging.scores.astype(int)]
    first, second = (
        Split().best(Trials.independent(these, members), conversions(0.0), 0.05)
        for these in (scores, changed)
    )
    assert first.threshold == second.threshold
    assert first.errors.members + first.errors.non_members == judging.scores.size


def test_an_explicit_threshold_uses_all_trials_and_limits_both_rates():
    members = np.arange(2000) < 1000
    scores = np.where(members, np.arange(2000) >= 500, np.arange(2000) < 1005).astype(float)
    result = audit_clopper_pearson(
        Trials.independent(scores, members), choice=Explicit(threshold=1)
    )
    assert result.counts == Errors(5, 1000, 500, 1000)
    assert result.threshold == 1
    low, high = (binomtest(k, 1000).proportion_ci(0.95, "exact").high for k in (5, 500))
    assert result.epsilon == pytest.approx(np.log((1 - high) / low))


def test_bonferroni_shares_the_error_probability_among_thresholds_of_fixed_rank():
    members = np.arange(200) < 100
    scores = np.where(members, np.arange(200) + 50, np.arange(200) - 100).astype(float)
    choice = Bonferroni(rates=(0.2, 0.01))
    trials = Trials.independent(scores, members)
    by_rates = conversions(0.0)[0]
    expected = max(
        by_rates.bound(trials.errors_at(threshold), 0.05 / 4)
        # The 21st and 2nd largest non-members, and just above the 21st and 2nd smallest members.
        for threshold in (79, 98, np.nextafter(70, 99), np.nextafter(51, 99))
    )
    assert audit_clopper_pearson(trials, choice=choice).epsilon == expected > 0


@pytest.mark.parametrize("audit", TRIAL_AUDITS)
@pytest.mark.parametrize("choice", [Split(), Bonferroni(), Explicit(threshold=0.0)], ids=repr)
def test_nothing_is_claimed_from_trials_that_say_nothing(audit, choice):
    some = np.random.default_rng(0).random(50)
    for scores, members in (
        (some, np.ones(50)),
        (some, np.zeros(50)),
        (np.zeros(50), np.arange(50) % 2),
        (some[:1], np.ones(1)),
    ):
        result = audit(Trials.independent(scores, members), delta=1e-5, choice=choice)
        assert result.epsilon == 0
        assert result.confidence == 0.95


@pytest.mark.parametrize("audit", TRIAL_AUDITS)
def test_results_carry_what_they_rest_on_and_the_same_seed_repeats_them(audit):
    scores, members = table(models=400)
    trials = Trials.of_example(scores, members, example=0)
    choice = Split(fraction=0.4, seed=3)
    result, again = (audit(trials, delta=1e-5, choice=choice) for _ in range(2))
    assert result == again
    assert result.delta == 1e-5
    assert "example 0 in each model" in result.assumes
    assert result.counts == trials.split(0.4, split_rng(3))[1].errors_at(result.threshold)
    assert result.epsilon > 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"delta": 1.0}, "delta 1.0"), ({"delta": 1e-5, "confidence": 0.2}, "confidence 0.2")],
    ids=["delta", "confidence"],
)
@pytest.mark.parametrize("audit", TRIAL_AUDITS)
def test_delta_and_confidence_must_be_possible(audit, settings, message):
    with pytest.raises(UserError, match=message):
        audit(Trials.independent(np.arange(9.0), np.arange(9) % 2), **settings)


def test_a_gaussian_mechanism_needs_a_delta():
    with pytest.raises(UserError, match="infinite epsilon"):
        audit_gaussian(Trials.independent(np.arange(9.0), np.arange(9) % 2), delta=0.0)


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_a_split_leaves_something_to_both_sides(fraction):
    with pytest.raises(UserError, match="fraction"):
        Split(fraction=fraction)
    with pytest.raises(UserError, match="rates"):
        Bonferroni(rates=(fraction,))
