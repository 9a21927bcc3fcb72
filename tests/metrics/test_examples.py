import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from shadow_scores import likelihood_ratio

from dpbench.metrics import evaluate, example_advantage
from dpbench.metrics.examples import TOP_SHARE, most_exposed, top_advantage
from dpbench.metrics.roc import rank, roc
from dpbench.metrics.thresholds import best_threshold, decide, fold_curves


def top(decisions, members, *, models=None, seed=0, replicates=100):
    models = np.arange(len(members)) if models is None else np.asarray(models)
    return top_advantage(
        decisions[models],
        members[models],
        models=models,
        exposed=tuple(most_exposed(decisions[f::2], members[f::2]) for f in (0, 1)),
        rng=np.random.default_rng(seed),
        replicates=replicates,
    )


def rates(decisions, members):
    """Advantage on each example, by loops; NaN where it is in all models or in none."""
    found = []
    for called, bits in zip(decisions.T, members.T, strict=True):
        inside = [bool(c) for c, b in zip(called, bits, strict=True) if b]
        outside = [bool(c) for c, b in zip(called, bits, strict=True) if not b]
        both = len(inside) > 0 and len(outside) > 0
        found.append(np.mean(inside) - np.mean(outside) if both else math.nan)
    return np.array(found)


@given(st.integers(0, 2**32), st.integers(4, 12), st.integers(1, 20))
def test_example_advantage_against_a_loop(seed, models, examples):
    rng = np.random.default_rng(seed)
    members = rng.random((models, examples)) < 0.5
    members[:2, 0], members[2:4, 0] = [True, False], [True, False]
    scores = np.round(rng.normal(size=members.shape) + members, 1)
    found = example_advantage(scores, members)
    cuts = [best_threshold(roc(scores[1 - f :: 2], members[1 - f :: 2])) for f in (0, 1)]
    called = np.array([row >= cuts[model % 2] for model, row in enumerate(scores)])
    assert found.value == pytest.approx(rates(called, members), nan_ok=True)
    for example, error in enumerate(found.standard_error):
        sides = [called[members[:, example] == side, example] for side in (True, False)]
        if min(map(len, sides)) < 2:
            assert math.isnan(error)
        else:
            variance = sum(np.var(side, ddof=1) / len(side) for side in sides)
            assert error == pytest.approx(math.sqrt(variance))


def test_a_static_attacker_decides_by_the_source():
    rng = np.random.default_rng(1)
    members = rng.random((20, 50)) < 0.5
    scores = members.astype(float)
    assert np.all(example_advantage(scores, members).value == 1)
    elsewhere = example_advantage(scores, members, source_scores=scores + 9, source_members=members)
    assert np.all(elsewhere.value == 0)


def test_standard_errors_are_those_of_new_models():
    rng = np.random.default_rng(2)
    found = []
    for _ in range(300):
        members = rng.random((40, 30)) < 0.5
        scores = rng.normal(size=members.shape) + np.linspace(0, 3, 30) * members
        found.append(example_advantage(scores, members))
    spread = np.std([one.value for one in found], axis=0)
    claimed = np.sqrt(np.mean([one.standard_error**2 for one in found], axis=0))
    assert claimed == pytest.approx(spread, rel=0.2)


def differences(decisions, members):
    """The same by averages, where every example is in some models and not in others."""
    inside = np.ma.array(decisions, mask=~members).mean(0)
    return np.asarray(inside - np.ma.array(decisions, mask=members).mean(0), dtype=float)


def naive_top(decisions, members, weights):
    """Mean advantage of examples with such weights on the given models, by pooled counts."""
    found = [np.sum((decisions & side).sum(0) * weights) for side in (members, ~members)]
    return found[0] / np.sum(members.sum(0) * weights) - found[1] / np.sum(
        (~members).sum(0) * weights
    )


def exposed(advantage):
    """Weights of the 1 % with the largest advantage; those that tie for the last places share."""
    places = max(1, round(TOP_SHARE * advantage.size))
    last = sorted(advantage)[-places]
    equal = np.isclose(advantage, last, atol=1e-12, rtol=0)
    above = (advantage > last) & ~equal
    return above + equal * (places - above.sum()) / equal.sum()


@pytest.mark.parametrize("seed", range(8))
def test_top_advantage_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    members = rng.random((20, 300)) < 0.5
    decisions = rng.random(members.shape) < np.where(members, 0.6, 0.3)
    parts = []
    for fold in (0, 1):
        weights = exposed(rates(decisions[1 - fold :: 2], members[1 - fold :: 2]))
        assert weights.sum() == pytest.approx(3)
        parts.append(naive_top(decisions[fold::2], members[fold::2], weights))
    assert top(decisions, members).value == pytest.approx(np.mean(parts))
    # Half of the models reported: the examples come from the other half.
    odd = np.arange(1, 20, 2)
    assert top(decisions, members, models=odd).value == pytest.approx(parts[1])


def test_the_order_of_examples_is_irrelevant_even_where_they_tie():
    rng = np.random.default_rng(3)
    members = rng.random((8, 400)) < 0.5
    decisions = rng.random(members.shape) < 0.5
    order = rng.permutation(400)
    shuffled = top(decisions[:, order], members[:, order])
    assert shuffled.value == pytest.approx(top(decisions, members).value)


def test_no_winners_curse_where_nothing_leaks():
    honest, naive, missed = [], [], 0
    for seed in range(60):
        rng = np.random.default_rng([4, seed])
        members = rng.random((32, 1000)) < 0.5
        scores = rng.normal(size=members.shape) + rng.normal(size=1000)
        decisions = decide(
            scores, np.arange(32), fold_curves(rank(scores, members), members.shape[1])
        )
        found = top(decisions, members, seed=seed)
        honest.append(found.value)
        missed += not found.low <= 0 <= found.high
        naive.append(np.sort(example_advantage(scores, members).value)[-10:].mean())
    assert abs(np.mean(honest)) < 0.02
    assert missed / 60 <= 0.1
    assert np.mean(naive) > 0.3, "choosing and reporting on the same models finds what is not there"


def test_planted_exposed_examples_are_found():
    rng = np.random.default_rng(5)
    members = rng.random((64, 2000)) < 0.5
    effect = np.where(np.arange(2000) % 100 == 7, 4.0, 0.3)
    scores = rng.normal(size=members.shape) + effect * members - effect / 2
    found = evaluate(scores, members, rng=rng, replicates=50)
    planted = example_advantage(scores, members).value[7::100].mean()
    assert found.advantage.value < 0.2
    assert planted > 0.9
    assert found.advantage_top_0_01.value == pytest.approx(planted, abs=0.05)


def test_equal_examples_have_no_top():
    """All leak alike: the most exposed ones leak as the average does."""
    rng = np.random.default_rng(6)
    members = rng.random((64, 5000)) < 0.5
    scores = rng.normal(size=members.shape) + members
    found = evaluate(scores, members, rng=rng, replicates=50)
    low, high = found.advantage_top_0_01[1:]
    assert low <= found.advantage.value <= high
    assert high - low < 0.2


def test_shadows_of_one_fold_keep_the_top_honest_where_nothing_leaks():
    """Online LiRA on null data; with shadows of both folds the same statistic finds a leak."""
    found, careless = [], []
    for seed in range(40):
        rng = np.random.default_rng([7, seed])
        members = rng.random((64, 500)) < 0.5
        phi = rng.normal(size=members.shape)
        scores = likelihood_ratio(phi, members)
        within = np.empty(scores.shape)
        for fold in (0, 1):
            within[fold::2] = likelihood_ratio(phi[fold::2], members[fold::2])
        for source, rows in ((within, found), (scores, careless)):
            row = evaluate(scores, members, source_scores=source, rng=rng, replicates=50)
            rows.append(row.advantage_top_0_01)
    assert abs(np.mean([row.value for row in found])) < 0.015
    assert np.mean([row.value for row in careless]) > 0.03
    assert sum(not row.low <= 0 <= row.high for row in found) <= 3


def test_the_interval_covers_the_chosen_examples():
    models, examples, covered, experiments = 32, 500, 0, 300
    for seed in range(experiments):
        rng = np.random.default_rng([8, seed])
        effect = rng.normal(size=examples)
        members = rng.random((models, examples)) < 0.5
        # A model's own offset makes its examples dependent.
        latent = rng.normal(size=members.shape) + 0.5 * rng.normal(size=(models, 1))
        decisions = latent + effect * (members - 0.5) > 0
        truth = 2 * norm.cdf(effect / 2 / math.hypot(1, 0.5)) - 1
        chosen = [exposed(differences(decisions[f::2], members[f::2])) for f in (0, 1)]
        expected = np.mean([truth @ weights / weights.sum() for weights in chosen])
        found = top(decisions, members, seed=seed)
        covered += found.low <= expected <= found.high
    assert covered / experiments >= 0.94


def test_one_reported_model_has_no_interval_for_others():
    rng = np.random.default_rng(9)
    members = rng.random((6, 300)) < 0.5
    assert top(rng.random((6, 300)) < 0.5, members, models=[3])[1:] == (-1, 1)


def test_a_fold_that_lacks_the_chosen_examples_is_unknown():
    members = np.zeros((4, 3), dtype=bool)
    members[0, 0] = members[1, 1] = True
    assert math.isnan(top(members, members).value)
