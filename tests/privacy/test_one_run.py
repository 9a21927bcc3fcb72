import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from dpbench import privacy
from dpbench.errors import UserError
from dpbench.privacy.accounting.gaussian import epsilon_gaussian
from dpbench.privacy.audits.audit import mus_from_rates
from dpbench.privacy.audits.audit_result import AuditResult, Errors, OneRunGuesses, median_audit
from dpbench.privacy.audits.canaries import Guesses, OneRun, default_guesses
from dpbench.privacy.audits.clopper_pearson import audit_clopper_pearson, rate_limits
from dpbench.privacy.audits.one_run import audit_one_run, epsilon_one_run, one_run_p_value
from dpbench.privacy.audits.one_run_fdp import audit_one_run_gaussian, mu_one_run, refutes_curve
from dpbench.privacy.audits.thresholds import Explicit
from dpbench.privacy.audits.trials import Trials

RUN_AUDITS = [audit_one_run, audit_one_run_gaussian]

# Made with jax_privacy 2.0.0 (auditing._epsilon_one_run and _epsilon_one_run_fdp at significance
# 0.05, whose roots are within 1e-6): canaries, guesses, correct, delta, epsilon, Gaussian f-DP's.
JAX_COUNTS = [
    (1000, 1000, 600, 1e-5, 0.2972269575896597, 0.5835403679239116),
    (1000, 1000, 750, 1e-5, 0.9763674691296741, 1.8188956666712262),
    (1000, 100, 100, 1e-5, 3.465376229385333, 5.5490279999429415),
    (1000, 100, 90, 1e-5, 1.6261436787042223, 2.4564050672094146),
    (1000, 200, 190, 1e-6, 2.397448805791288, 4.3800725707028025),
    (5000, 500, 400, 1e-5, 1.1952182024943792, 1.6831561134696322),
    (2000, 2000, 1383, 1e-5, 0.7263426328036623, 1.3053804432674303),
    (100, 100, 80, 1e-3, 0.9256109029173032, 1.4524178495555933),
    (64, 64, 64, 1e-5, 3.036407886937825, 7.3359782641579825),
    (1000, 100, 50, 1e-5, 0.0, 0.0),
    (160_000, 5000, 3800, 1e-6, 1.0968119704792472, 1.4405267753351723),
]
# The same with CanaryScoreAuditor on the 500 scores of `shared_scores`, Explicit(threshold): delta,
# threshold, epsilon_clopper_pearson(one_sided=False), epsilon_one_run, epsilon_one_run_fdp.
JAX_SCORES = [
    (1e-5, 1.0, 1.4307626211821822, 1.466673935658629, 2.5428585078428174),
    (1e-5, 2.0, 2.4567631766764197, 2.6014330070320435, 4.362134056992214),
    (1e-5, 3.0, 2.4388702370269657, 2.772144830645074, 4.248898565687264),
    (1e-2, 0.5, 1.9449475133932568, None, None),
    (1e-2, 3.0, 2.357023641671732, None, None),
    (1e-3, 2.0, None, 1.7090764108387206, 3.1271468944910352),
]


def shared_scores():
    """Returns 500 evenly spaced normal quantiles of non-members, and the same plus 2 of members."""
    grid = ndtri((np.arange(500) + 0.5) / 500)
    return np.concatenate([grid + 2, grid]), np.arange(1000) < 500


def coins(size, seed=0):
    return np.random.default_rng(seed).random(size) < 0.5


@pytest.mark.parametrize("row", JAX_COUNTS, ids=str)
def test_counts_give_what_jax_privacy_gives(row):
    canaries, guesses, correct, delta, plain, gaussian = row
    found = epsilon_one_run(canaries=canaries, guesses=guesses, correct=correct, delta=delta)
    assert found == pytest.approx(plain, abs=2e-6)
    mu = mu_one_run(OneRunGuesses(canaries, guesses, correct))
    assert epsilon_gaussian(delta, mu) == pytest.approx(gaussian, abs=2e-5)


@pytest.mark.parametrize("row", JAX_SCORES, ids=str)
def test_shared_scores_give_what_jax_privacy_gives(row):
    delta, threshold, counting, plain, gaussian = row
    trials = Trials.independent(*shared_scores())
    run = OneRun.of_trials(trials)
    guesses = [Guesses(int(np.count_nonzero(trials.scores >= threshold)), 0)]
    if counting is not None:
        choice = Explicit(threshold=threshold)
        found = audit_clopper_pearson(trials, delta=delta, choice=choice)
        assert found.epsilon == pytest.approx(counting, abs=1e-9)
    if plain is not None:
        found = audit_one_run(run, delta=delta, guesses=guesses)
        assert found.epsilon == pytest.approx(plain, abs=2e-6)
        found = audit_one_run_gaussian(run, delta=delta, guesses=guesses)
        assert found.epsilon == pytest.approx(gaussian, abs=2e-5)


@pytest.mark.parametrize(
    ("wrong", "missed", "expected"),
    [
        (50, 200, [11.349988322829805, 8.681082610450906]),
        (5, 300, [14.15139774534525, 10.98560670870635]),
        (0, 500, [13.176782603653384, 10.180088960832808]),
    ],
)
def test_the_gaussian_conversion_gives_what_jax_privacy_gives(wrong, missed, expected):
    """epsilon_from_gdp(0.05, delta) of jax_privacy 2.0.0, which shares 0.05 among 3 thresholds."""
    mu = float(mus_from_rates(*rate_limits(Errors(wrong, 1000, missed, 1000), 0.05 / 3)))
    found = [epsilon_gaussian(delta, mu) for delta in (1e-5, 1e-3)]
    assert found == pytest.approx(expected, abs=1e-7)


@pytest.mark.oracle
@pytest.mark.parametrize("delta", [1e-6, 1e-3])
@pytest.mark.parametrize("row", [row[:3] for row in JAX_COUNTS[:10]], ids=str)
def test_counts_give_what_the_installed_jax_privacy_gives(row, delta):
    auditing = pytest.importorskip("jax_privacy.auditing")
    canaries, guesses, correct = row
    plain = auditing._epsilon_one_run(0, *row, 0.05, delta)
    gaussian = auditing._epsilon_one_run_fdp(0, *row, 0.05, delta)
    found = epsilon_one_run(canaries=canaries, guesses=guesses, correct=correct, delta=delta)
    assert found == pytest.approx(plain, abs=2e-6)
    assert epsilon_gaussian(delta, mu_one_run(OneRunGuesses(*row))) == pytest.approx(
        gaussian, abs=2e-5
    )


@pytest.mark.oracle
@pytest.mark.parametrize("threshold", [-0.5, 0.5, 2.5])
def test_shared_scores_give_what_the_installed_jax_privacy_gives(threshold):
    auditing = pytest.importorskip("jax_privacy.auditing")
    scores, members = shared_scores()
    reference = auditing.CanaryScoreAuditor(scores[members], scores[~members])
    strategy = auditing.Explicit(threshold)
    expected = reference.epsilon_clopper_pearson(
        0.05, 1e-4, one_sided=False, threshold_strategy=strategy
    )
    trials = Trials.independent(scores, members)
    found = audit_clopper_pearson(trials, delta=1e-4, choice=Explicit(threshold=threshold))
    assert found.epsilon == pytest.approx(expected, abs=1e-9)
    guesses = [Guesses(int(np.count_nonzero(scores >= threshold)), 0)]
    expected = reference.epsilon_one_run(0.05, 1e-4, threshold_strategy=strategy)
    found = audit_one_run(OneRun.of_trials(trials), delta=1e-4, guesses=guesses)
    assert found.epsilon == pytest.approx(expected, abs=2e-6)


@given(
    guesses=st.integers(1, 80),
    share=st.floats(0, 1),
    epsilon=st.floats(0, 6),
    delta=st.sampled_from([0.0, 1e-6, 1e-3]),
)
def test_p_value_against_sums_over_the_binomial(guesses, share, epsilon, delta):
    correct, canaries = round(share * guesses), 3 * guesses
    mass = binom.pmf(np.arange(guesses + 1), guesses, 1 / (1 + math.exp(-epsilon)))
    slack = max((mass[correct - i : correct].sum() / i for i in range(1, correct + 1)), default=0)
    expected = min(1.0, mass[correct:].sum() + 2 * canaries * delta * slack)
    found = one_run_p_value(epsilon, canaries, guesses, correct, delta)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(
    guesses=st.integers(1, 300),
    share=st.floats(0, 1),
    delta=st.sampled_from([0.0, 1e-6, 1e-3]),
    alpha=st.sampled_from([0.05, 0.004]),
)
def test_the_bound_is_where_the_p_value_passes_alpha(guesses, share, delta, alpha):
    correct, canaries = round(share * guesses), 2 * guesses
    found = epsilon_one_run(
        canaries=canaries, guesses=guesses, correct=correct, delta=delta, alpha=alpha
    )
    if found == 0:
        assert one_run_p_value(0.0, canaries, guesses, correct, delta) >= alpha * (1 - 1e-6)
        return
    assert one_run_p_value(found - 1e-6, canaries, guesses, correct, delta) < alpha
    assert one_run_p_value(found + 1e-6, canaries, guesses, correct, delta) > alpha


@given(guesses=st.integers(1, 200), share=st.floats(0, 1))
def test_more_right_guesses_and_fewer_canaries_prove_more(guesses, share):
    correct = round(share * (guesses - 1))

    def bounds(canaries, right):
        plain = epsilon_one_run(canaries=canaries, guesses=guesses, correct=right, delta=1e-4)
        return plain, mu_one_run(OneRunGuesses(canaries, guesses, right))

    base = bounds(300, correct)
    assert all(np.array(bounds(300, correct + 1)) >= np.array(base) - 2e-6)
    assert all(np.array(bounds(900, correct)) <= np.array(base) + 2e-6)


@pytest.mark.parametrize(
    ("guesses", "correct"), [(2000, 1600), (8000, 6000), (8000, 7999), (160_000, 100_000)]
)
def test_a_bound_for_160_000_canaries_takes_50_ms(guesses, correct):
    settings = {"canaries": 160_000, "guesses": guesses, "correct": correct, "delta": 1e-6}
    seconds = []
    for attempt in range(5):
        before = time.process_time()
        # Another alpha each time: the work may not be remembered from the time before.
        epsilon_one_run(**settings, alpha=0.05 + attempt * 1e-4)
        seconds.append(time.process_time() - before)
    assert min(seconds) < (0.05 if guesses < 10_000 else 0.5)


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
@pytest.mark.parametrize("guesses", [50, 400])
def test_the_curve_of_pure_privacy_refutes_no_more_than_the_binomial_and_nearly_as_much(
    epsilon, guesses
):
    def least_fpr(tpr):
        return max(tpr * math.exp(-epsilon), 1 - (1 - tpr) * math.exp(epsilon), 0.0)

    correct = next(
        right
        for right in range(guesses + 1)
        if refutes_curve(least_fpr, OneRunGuesses(guesses, guesses, right))
    )
    assert one_run_p_value(epsilon, guesses, guesses, correct, 0.0) < 0.05
    assert correct <= guesses
    rate = 1 / (1 + math.exp(-epsilon))
    assert correct <= binom.isf(0.05, guesses, rate) + 0.12 * guesses


def test_a_curve_can_be_that_of_a_mechanism():
    """With full batches the accountant's curve is the Gaussian one."""
    event = privacy.SampledGaussian(noise_multiplier=1.0, sampling_rate=1.0, steps=1).event()

    def least_fpr(tpr):
        return 1 - float(privacy.trade_off(event, np.array([1 - tpr]))[0])

    for right in (60, 90, 99):
        counts = OneRunGuesses(100, 100, right)
        gaussian = refutes_curve(lambda tpr: float(ndtr(ndtri(tpr) - 1)), counts)
        assert refutes_curve(least_fpr, counts) == gaussian
    assert refutes_curve(least_fpr, OneRunGuesses(100, 100, 99))
    assert not refutes_curve(least_fpr, OneRunGuesses(100, 100, 60))
    assert not refutes_curve(least_fpr, OneRunGuesses(100, 10, 0))


def test_guesses_are_counted_from_both_ends():
    scores = np.array([5.0, 1.0, 4.0, 2.0, 3.0, 0.0])
    members = np.array([1, 0, 0, 1, 1, 0])
    run = OneRun.of_canaries(scores, members)
    cases = [Guesses(1, 0), Guesses(2, 0), Guesses(3, 3), Guesses(0, 2), Guesses(1, 3)]
    found = run.guess(cases, seed=0)
    assert [counts for _, counts in found] == [
        OneRunGuesses(6, 1, 1),
        OneRunGuesses(6, 2, 1),
        OneRunGuesses(6, 6, 4),
        OneRunGuesses(6, 2, 2),
        OneRunGuesses(6, 4, 3),
    ]
    assert [threshold for threshold, _ in found] == [5, 4, 3, math.inf, 5]


@pytest.mark.parametrize("audit", RUN_AUDITS)
@pytest.mark.parametrize("members_first", [True, False])
def test_equal_scores_do_not_betray_the_order_of_the_array(audit, members_first):
    members = (np.arange(2000) < 1000) == members_first
    for seed in range(5):
        run = OneRun.of_canaries(np.zeros(2000), members)
        assert audit(run, delta=1e-5, seed=seed).epsilon < 0.3


@pytest.mark.parametrize("audit", RUN_AUDITS)
def test_audits_of_one_run_refuse_anything_else(audit):
    scores, members = shared_scores()
    for given_instead in (scores, Trials.independent(scores, members)):
        for guesses in (None, [Guesses(5, 5)]):
            with pytest.raises(TypeError, match=r"takes a OneRun.*fair coins"):
                audit(given_instead, delta=1e-5, guesses=guesses)
    with pytest.raises(TypeError, match=r"OneRun\.pooled"):
        OneRun()
    run = OneRun.of_canaries(scores, members)
    for guesses in ([Guesses(0, 0)], [Guesses(600, 401)], [Guesses(-1, 5)]):
        with pytest.raises(UserError, match="guesses"):
            audit(run, delta=1e-5, guesses=guesses)


def test_bits_that_are_no_fair_coins_are_refused():
    biased = np.arange(1000) < 600
    with pytest.raises(UserError, match="600 of 1000"):
        OneRun.of_canaries(np.zeros(1000), biased)
    with pytest.raises(UserError, match="600 of 1000"):
        OneRun.of_trials(Trials.independent(np.zeros(1000), biased))
    assert OneRun.of_canaries(np.zeros(1000), np.arange(1000) < 590).members.sum() == 590


def test_models_can_be_taken_one_by_one_or_pooled():
    members = coins((4, 50))
    scores = np.random.default_rng(1).standard_normal(members.shape)
    one, all_of_them = OneRun.of_model(scores, members, model=2), OneRun.pooled(scores, members)
    assert np.array_equal(one.scores, scores[2])
    assert all_of_them.scores.size == 200
    assert "4 models, pooled" in all_of_them.origin
    with pytest.raises(UserError, match="model 4"):
        OneRun.of_model(scores, members, model=4)
    with pytest.raises(UserError, match=r"\(M, n\)"):
        OneRun.pooled(scores[0], members[0])


@given(canaries=st.integers(1, 5000), able=st.integers(1, 200))
def test_the_default_numbers_of_guesses_could_all_prove_something(canaries, able):
    def proves(guesses, level):
        return guesses >= able / level**0.1

    chosen = default_guesses(canaries, 0.05, proves=proves)
    everyone = Guesses(canaries - canaries // 2, canaries // 2)
    assert 1 <= len(chosen) <= 7
    assert all(0 < sum(guesses) <= canaries and min(guesses) >= 0 for guesses in chosen)
    assert everyone in chosen
    if len(chosen) > 1:
        assert all(proves(sum(guesses), 0.05 / len(chosen)) for guesses in chosen)


def test_numbers_of_guesses_that_could_prove_nothing_cost_nothing():
    """With delta of 1 / canaries only all guesses together can, and get the whole probability."""
    scores, members = shared_scores()
    run = OneRun.of_canaries(scores, members)
    every = audit_one_run(run, delta=1e-3, guesses=[Guesses(500, 500)])
    assert audit_one_run(run, delta=1e-3) == every
    assert every.epsilon > 1
    assert len(default_guesses(1000, 0.05, proves=lambda guesses, level: True)) == 7
    found = audit_one_run(OneRun.of_canaries(np.arange(4.0), [0, 0, 1, 1]))
    assert found.epsilon == 0
    assert found.counts == OneRunGuesses(4, 4, 4)


@pytest.mark.parametrize("audit", RUN_AUDITS)
def test_several_numbers_of_guesses_share_the_error_probability(audit):
    run = OneRun.of_canaries(*shared_scores())
    tried = [Guesses(100, 0), Guesses(500, 500), Guesses(10, 10)]
    alone = [audit(run, delta=1e-5, guesses=[one], confidence=1 - 0.05 / 3) for one in tried]
    together = audit(run, delta=1e-5, guesses=tried)
    assert together.epsilon == pytest.approx(max(one.epsilon for one in alone), abs=1e-9)
    assert together.counts in [one.counts for one in alone]
    assert together.confidence == 0.95
    assert "fair coins" in together.assumes


def result(epsilon, **changes):
    values = {
        "epsilon": epsilon,
        "method": "one-run",
        "confidence": 0.975,
        "delta": 0.0,
        "threshold": 0.0,
        "counts": OneRunGuesses(1, 1, 1),
        "assumes": "",
    }
    return AuditResult(**{**values, **changes})


def test_the_median_of_audits_is_what_half_of_them_reach():
    assert median_audit([result(3.0)]).epsilon == 3
    assert median_audit([result(3.0), result(1.0)]).epsilon == 3
    assert median_audit([result(3.0), result(1.0), result(2.0)]).epsilon == 2
    assert median_audit([result(float(one)) for one in range(10)]).epsilon == 5
    combined = median_audit([result(3.0)] * 3)
    assert combined.confidence == 0.95
    assert combined.method == "one-run, median of 3"


@pytest.mark.parametrize(
    "results", [[], [result(1.0), result(1.0, delta=0.1)], [result(1.0), result(1.0, method="x")]]
)
def test_only_audits_of_one_kind_have_a_median(results):
    with pytest.raises(UserError, match="cannot be combined"):
        median_audit(results)
