import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import norm, t
from shadow_scores import likelihood_ratio

from dpbench.metrics.guesses import Tally
from dpbench.metrics.lower_bound import SHARES, design_effect, epsilon_lower
from dpbench.metrics.one_run_limits import one_run_limits
from dpbench.metrics.roc import rank


def bound(scores, members, *, delta=0.0, uses_other_bits=True):
    return epsilon_lower(
        rank(scores, members),
        examples=scores.shape[1],
        delta=delta,
        uses_other_bits=uses_other_bits,
    ).epsilon


def answers(rng, epsilons, examples, delta=0.0):
    """Randomised response: each bit with its model's epsilon, in the clear with chance delta."""
    members = rng.random((len(epsilons), examples)) < 0.5
    honest = rng.random(members.shape) < expit(np.asarray(epsilons, dtype=float))[:, None]
    answer = np.where(honest, members, ~members).astype(float)
    in_clear = rng.random(members.shape) < delta
    return np.where(in_clear, np.where(members, 2.0, -1.0), answer), members


def naive_limit(scores, members, columns, share, error, delta, uses_other_bits):
    """The limit of one choice, by loops over the pairs of some examples."""
    pairs = [(m, i) for m in range(len(scores)) for i in columns]
    pairs.sort(key=lambda pair: (-scores[pair], pair))
    size = len(pairs)
    high, low = (round(end * size) for end in share)
    low = min(low, size - high)
    right = [(i, bool(members[m, i])) for m, i in pairs[:high]]
    right += [(i, not members[m, i]) for m, i in pairs[size - low :]]
    hits = sum(is_right for _, is_right in right)
    effect = 1.0
    if uses_other_bits:
        rate = expit(float(one_run_limits(size, len(right), hits, error=error)))
        sums = {}
        for i, is_right in right:
            sums[i] = sums.get(i, 0.0) + is_right - rate
        alone = sum((is_right - rate) ** 2 for _, is_right in right)
        student = t.ppf(1 - error, max(1, len(sums) - 1)) / norm.ppf(1 - error)
        if alone > 0:
            effect = max(1.0, student**2 * sum(x * x for x in sums.values()) / alone)
    counts = np.array([size, len(right), hits]) / effect
    return float(one_run_limits(*counts, delta=delta, error=error))


def naive_choices():
    return [(share * top, share * low) for top, low in ((1, 1), (1, 0), (0, 1)) for share in SHARES]


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(2, 20), st.integers(0, 2))
def test_the_bound_against_a_loop(seed, models, examples, decimals):
    rng = np.random.default_rng(seed)
    members = rng.random((models, examples)) < 0.5
    scores = np.round(rng.normal(size=members.shape) + 2 * members, decimals)
    # Choices that come to the same counts are one; which is known before the bits are.
    counts = {tuple(round(end * scores.size) for end in one): one for one in naive_choices()}
    counts.pop((0, 0), None)
    for uses_other_bits in (True, False):
        found = epsilon_lower(
            rank(scores, members), examples=examples, uses_other_bits=uses_other_bits
        )
        if np.ptp(scores) == 0:
            assert found.epsilon == 0
            continue
        error = 0.05 / len(counts)
        limits = [
            naive_limit(scores, members, range(examples), one, error, 0.0, uses_other_bits)
            for one in counts.values()
        ]
        assert found.choices == len(counts)
        assert found.epsilon == pytest.approx(max(limits), abs=1e-9)


@pytest.mark.parametrize("delta", [1e-6, 1e-4])
def test_the_bound_with_delta_guesses_the_odd_examples_with_one_choice(delta):
    rng = np.random.default_rng(0)
    members = rng.random((20, 60)) < 0.5
    # An example is mostly right, or mostly wrong, so that there is a design effect.
    says = np.where(rng.random(60) < 0.9, members, ~members)
    scores = 2 * says + rng.normal(size=members.shape)
    tried, limits = (
        np.array(
            [
                naive_limit(scores, members, range(half, 60, 2), one, 0.05, delta, True)
                if round(max(one) * 600)
                else 0.0
                for one in naive_choices()
            ]
        )
        for half in (0, 1)
    )
    found = bound(scores, members, delta=delta)
    # Choices are compared to 1/64 of their limits without delta.
    near = limits[tried > tried.max() * 0.9]
    assert np.isclose(near, found, atol=1e-6).any()


def test_another_order_of_the_examples_is_the_same_evidence():
    """Chosen on one half of the examples, the bound moved by more than 1 with their order."""
    rng = np.random.default_rng(14)
    members = rng.random((64, 600)) < 0.5
    scores = rng.normal(size=members.shape) + members * 0.7 * np.exp(rng.normal(size=600))
    orders = [rng.permutation(600) for _ in range(10)]
    found = [bound(scores[:, order], members[:, order]) for order in orders]
    assert np.ptp(found) < 1e-9
    assert found[0] > 3


def test_scores_that_move_a_little_move_the_bound_a_little():
    rng = np.random.default_rng(15)
    members = rng.random((64, 600)) < 0.5
    scores = rng.normal(size=members.shape) + members * 0.7 * np.exp(rng.normal(size=600))
    found = [bound(scores + 0.05 * rng.normal(size=scores.shape), members) for _ in range(10)]
    assert np.ptp(found) < 0.5


@pytest.mark.parametrize("delta", [0.0, 1e-5])
@pytest.mark.parametrize("uses_other_bits", [True, False])
def test_the_bound_is_where_the_guesses_have_a_chance_of_five_percent(delta, uses_other_bits):
    rng = np.random.default_rng(16)
    scores, members = answers(rng, np.full(24, 1.5), 300)
    found = epsilon_lower(
        rank(scores, members), examples=300, delta=delta, uses_other_bits=uses_other_bits
    )
    assert found.p_value(found.epsilon, delta) == pytest.approx(0.05, rel=1e-3)
    assert found.p_value(found.epsilon + 0.1, delta) > 0.05
    assert found.p_value(found.epsilon - 0.1, delta) < 0.05
    assert found.p_value(math.inf, delta) == 1


@pytest.mark.parametrize("rate", [0.6, 0.7, 0.8, 0.79])
def test_design_effect_against_a_loop(rate):
    guessed = np.random.default_rng(2).integers(0, 6, size=50)
    right = np.random.default_rng(3).binomial(guessed, 0.8)
    excess, alone = 0.0, 0.0
    for made, hits in zip(guessed.tolist(), right.tolist(), strict=True):
        guesses = [1 - rate] * hits + [-rate] * (made - hits)
        excess += sum(guesses) ** 2
        alone += sum(guess**2 for guess in guesses)
    student = t.ppf(0.95, np.count_nonzero(guessed) - 1) / norm.ppf(0.95)
    expected = max(1.0, student**2 * excess / alone)
    assert design_effect(Tally(guessed - right, right), rate) == pytest.approx(expected)


def test_examples_that_are_all_right_or_all_wrong_count_once():
    right = 16 * (np.random.default_rng(3).random(4000) < 0.8)
    assert design_effect(Tally(16 - right, right), 0.8) == pytest.approx(16, rel=0.01)
    # Guesses without any error are as good as their number of examples.
    without = Tally(np.zeros(4000, int), np.full(4000, 16))
    assert design_effect(without, 0.99) == pytest.approx(16, rel=0.01)


def test_independent_guesses_have_no_design_effect():
    right = np.random.default_rng(4).binomial(16, 0.8, size=5000)
    assert design_effect(Tally(16 - right, right), 0.8) == pytest.approx(1, abs=0.06)


def test_the_bound_holds_for_randomised_response_with_a_known_epsilon():
    true, experiments, found = 1.2, 400, []
    for experiment in range(experiments):
        scores, members = answers(np.random.default_rng([1, experiment]), np.full(24, true), 100)
        found.append([bound(scores, members, uses_other_bits=other) for other in (True, False)])
    above = np.mean(np.array(found) > true, axis=0)
    assert np.all(above <= 0.05)
    # And it is not idle: 1200 guesses resolve a fifth of an epsilon.
    assert np.all(np.median(found, axis=0) > true - 0.35)


def test_models_that_leak_differently_obey_the_largest_epsilon():
    experiments, above = 300, 0
    for experiment in range(experiments):
        rng = np.random.default_rng([2, experiment])
        epsilons = np.where(rng.random(40) < 0.5, 2.0, 0.5)
        above += bound(*answers(rng, epsilons, 60), uses_other_bits=False) > 2.0
    assert above / experiments <= 0.05


def test_the_bound_holds_for_continuous_scores_with_model_offsets():
    """Gaussian scores of mu 1 satisfy (epsilon, delta)-DP with epsilon 4.3772 at delta 1e-5."""
    above = 0
    for experiment in range(100):
        rng = np.random.default_rng([3, experiment])
        members = rng.random((16, 200)) < 0.5
        offsets = 0.5 * rng.normal(size=(16, 1))
        found = bound(members + offsets + rng.normal(size=members.shape), members, delta=1e-5)
        above += found > 4.3772
    assert above == 0


@pytest.mark.parametrize("models", [2, 16])
def test_guessing_proves_nothing(models):
    above = 0
    for experiment in range(300):
        rng = np.random.default_rng([4, models, experiment])
        members = rng.random((models, 100)) < 0.5
        above += bound(rng.normal(size=members.shape), members, uses_other_bits=False) > 0
    assert above / 300 <= 0.05


def test_shadows_that_are_targets_too_break_the_bare_theorem_only():
    """Online LiRA on 64 models that leak nothing: its guesses on an example are right together."""
    found = []
    for experiment in range(400):
        rng = np.random.default_rng([13, experiment])
        members = rng.random((64, 80)) < 0.5
        phi = rng.normal(size=members.shape) + 0.5 * rng.normal(size=(64, 1))
        scores = likelihood_ratio(phi, members)
        found.append([bound(scores, members, uses_other_bits=use) for use in (True, False)])
    with_effect, bare = np.mean(np.array(found) > 0, axis=0)
    assert with_effect <= 0.05
    assert bare > 0.05, "the experiment would not notice guesses that hang together"


def test_examples_that_are_guessed_by_one_coin():
    """All models' guesses on an example are right, or all wrong: the worst case."""
    true, experiments, found = 1.0, 300, []
    for experiment in range(experiments):
        rng = np.random.default_rng([5, experiment])
        members = rng.random((16, 120)) < 0.5
        says = np.where(rng.random(120) < expit(true), members, ~members)
        scores = np.where(says, 1, -1) * rng.random(members.shape)
        found.append([bound(scores, members, uses_other_bits=use) for use in (True, False)])
    with_effect, bare = np.mean(np.array(found) > true, axis=0)
    assert with_effect <= 0.05
    assert bare > 0.2


def test_the_bound_holds_for_lira_on_randomised_response():
    """The shadows know which way an example answers, so every guess has the largest odds."""
    true, experiments, above, sizes = 1.0, 200, 0, []
    for experiment in range(experiments):
        rng = np.random.default_rng([6, experiment])
        answered, members = answers(rng, np.full(64, true), 60)
        difficulty, offset = rng.normal(size=(1, 60)), 0.5 * rng.normal(size=(64, 1))
        phi = 2 * answered + difficulty + offset
        found = bound(likelihood_ratio(phi, members), members)
        above += found > true
        sizes.append(found)
    assert above / experiments <= 0.05
    assert np.median(sizes) > true - 0.35


def test_delta_is_not_mistaken_for_epsilon():
    rng = np.random.default_rng(5)
    scores, members = answers(rng, np.full(40, 0.0), 1000, delta=0.6)
    assert bound(scores, members) > 1
    assert bound(scores, members, delta=0.6) == 0


def test_delta_costs_little_where_many_errors_are_made():
    scores, members = answers(np.random.default_rng(6), np.full(40, 1.0), 1000)
    exact, allowed = bound(scores, members), bound(scores, members, delta=1e-5)
    assert 0.93 * exact < allowed < exact


@pytest.mark.parametrize("delta", [0.0, 1e-6])
def test_a_perfect_attack_is_limited_by_the_number_of_examples(delta):
    members = np.random.default_rng(7).random((64, 1000)) < 0.5
    scores = members + 0.1 * np.random.default_rng(8).random(members.shape)
    found, bare = (bound(scores, members, delta=delta, uses_other_bits=x) for x in (True, False))
    assert 4.5 < found < bare
    assert delta > 0 or bare < math.log(32_000 / 2.9)
    single = bound(scores[:1], members[:1], delta=delta)
    assert 0 < single < math.log(500 / 2.9)


def test_scores_that_say_nothing_prove_nothing():
    members = np.random.default_rng(9).random((16, 300)) < 0.5
    assert bound(np.zeros(members.shape), members) == 0
    # Known on the even examples, constant on the odd ones.
    scores = members.astype(float)
    scores[:, 1::2] = 0.5
    assert bound(scores, members, delta=1e-9) == 0
    # Not even where the order of equal scores happens to be that of the bits.
    assert bound(np.zeros(members.shape), np.sort(members, axis=0)[::-1]) == 0
    assert bound(members[:, :1].astype(float), members[:, :1]) == 0


def test_with_delta_only_the_odd_examples_are_guessed():
    rng = np.random.default_rng(10)
    scores, members = answers(rng, np.full(40, 2.0), 200)
    even, odd = scores.copy(), scores.copy()
    even[:, 0::2], odd[:, 1::2] = rng.permuted(scores[:, 0::2]), rng.permuted(scores[:, 1::2])
    assert bound(even, members, delta=1e-9) > 1.5
    assert bound(odd, members, delta=1e-9) < 0.3


def test_the_guesses_are_not_chosen_by_the_bits_they_are_judged_by():
    """The best choice on the odd examples is another than on the even ones, which decide."""
    rng = np.random.default_rng(11)
    members = rng.random((40, 400)) < 0.5
    scores = rng.normal(size=members.shape)
    top = scores > np.quantile(scores, 0.995)
    scores[top & ~members & (np.arange(400) % 2 == 1)] *= -1
    assert bound(scores, members, delta=1e-9, uses_other_bits=False) < 1
    swapped = np.roll(scores, 1, axis=1), np.roll(members, 1, axis=1)
    assert bound(*swapped, delta=1e-9, uses_other_bits=False) < 0.2


@pytest.mark.parametrize("uses_other_bits", [True, False])
def test_labels_alone_leave_massive_ties(uses_other_bits):
    rng = np.random.default_rng(12)
    members = rng.random((40, 1000)) < 0.5
    right = (rng.random(members.shape) < np.where(members, 0.99, 0.7)).astype(float)
    # Who is misclassified is a non-member at odds of 30; the other side says little.
    found = bound(right, members, uses_other_bits=uses_other_bits)
    assert math.log(30) - 0.6 < found < math.log(30)


def test_monotone_transforms_and_precision_change_nothing():
    rng = np.random.default_rng(13)
    members = rng.random((20, 100)) < 0.5
    scores = (members + rng.normal(size=members.shape)).astype(np.float32)
    expected = bound(scores, members)
    assert bound(scores.astype(float), members) == expected
    assert bound(np.exp(scores.astype(float)), members) == expected
