"""Tables of bits that independent fair coins do not give are refused, and honest ones never."""

import math

import numpy as np
import pytest
from scipy.special import comb

from dpbench.errors import UserError
from dpbench.privacy.audits import coins
from dpbench.privacy.audits.canaries import OneRun
from dpbench.privacy.audits.coins import LEVEL, require_fair, require_unbalanced
from dpbench.privacy.audits.trials import Trials


def fair(models, examples, rng):
    return rng.random((models, examples)) < 0.5


def least_loaded(models, examples, rng):
    """Each model takes the examples that are in the fewest models so far."""
    members, count = np.zeros((models, examples), bool), np.zeros(examples, int)
    for row in members:
        chosen = np.lexsort((rng.permutation(examples), count))[: examples // 2]
        row[chosen] = True
        count[chosen] += 1
    return members


def complements(models, examples, rng):
    """Model 2k + 1 holds what model 2k does not."""
    half = fair(models // 2, examples, rng)
    return np.stack([half, ~half], axis=1).reshape(models, examples)


def halves(models, examples, rng):
    """Each model holds exactly half of the examples."""
    return np.argsort(rng.random((models, examples)), axis=1) < examples // 2


def columns_of_half(models, examples, rng):
    return halves(examples, models, rng).T


def nearly_balanced(models, examples, rng):
    """Half of the models, or one more or less."""
    counts = models // 2 + rng.integers(-1, 2, examples)
    return (np.argsort(rng.random((examples, models)), axis=1) < counts[:, None]).T


def two_blocks_of_models(models, examples, rng):
    """Each half of the models is balanced by itself."""
    return np.concatenate([columns_of_half(models // 2, examples, rng) for _ in range(2)])


def two_blocks_of_examples(models, examples, rng):
    """Each model holds one half of the pool or the other."""
    first = np.arange(examples) < examples // 2
    return np.where(rng.random((models, 1)) < 0.5, first, ~first)


def twins(models, examples, rng):
    """Two models are trained on the same examples."""
    members = fair(models, examples, rng)
    members[1] = members[0]
    return members


def by_difficulty(models, examples, rng):
    return rng.random((models, examples)) < rng.choice([0.2, 0.8], examples)


BALANCED = [least_loaded, complements, columns_of_half, nearly_balanced, two_blocks_of_models]
DEPENDENT = [*BALANCED, halves, two_blocks_of_examples, twins, by_difficulty]


@pytest.mark.parametrize("shape", [(8, 200), (16, 300), (64, 1000)], ids=str)
@pytest.mark.parametrize("design", DEPENDENT, ids=lambda design: design.__name__)
def test_designs_are_refused_where_bits_of_others_matter(design, shape):
    rng = np.random.default_rng(1)
    members = design(*shape, rng)
    scores = rng.standard_normal(shape)
    for make in (OneRun.pooled, OneRun.of_each_model):
        with pytest.raises(UserError, match="independent fair coins do not give"):
            make(scores, members)
    with pytest.raises(UserError, match="independent fair coins do not give"):
        OneRun.of_model(scores, members, model=0)


@pytest.mark.parametrize("design", BALANCED, ids=lambda design: design.__name__)
def test_trials_refuse_balanced_models_only(design):
    rng = np.random.default_rng(2)
    scores = rng.standard_normal((16, 300))
    with pytest.raises(UserError, match="of the 16 models"):
        Trials.one_per_model(scores, design(16, 300, rng), rng)
    with pytest.raises(UserError, match="of the 16 models"):
        Trials.of_example(scores, design(16, 300, rng), example=3)
    for independent in (by_difficulty, halves, fair):
        assert Trials.one_per_model(scores, independent(16, 300, rng), rng).scores.size == 16


def test_balance_is_refused_with_its_numbers():
    with pytest.raises(UserError, match="each example is in exactly 8 of the 16 models"):
        require_unbalanced(columns_of_half(16, 300, np.random.default_rng(0)))
    with pytest.raises(UserError, match=r"each example is in 8 \+- 0\.8\d? of the 16 models"):
        require_unbalanced(nearly_balanced(16, 300, np.random.default_rng(0)))


def test_scores_that_know_no_model_prove_nothing_from_balanced_bits():
    """Minus the other models that hold an example is its bit, if all examples are in eight."""
    members = least_loaded(16, 300, np.random.default_rng(5))
    scores = members - members.sum(0, keepdims=True)
    assert np.array_equal(scores > scores.mean(), members)
    with pytest.raises(UserError, match="exactly 8 of the 16"):
        OneRun.of_each_model(scores, members)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 50), (2, 1), (2, 30), (4, 12), (3, 1000), (16, 300), (40, 2)], ids=str
)
def test_fair_coins_are_never_refused(shape):
    rng = np.random.default_rng(3)
    for _ in range(200):
        members = fair(*shape, rng)
        require_fair(members)
        require_unbalanced(members)


def spread_distribution(coins, lines):
    """The exact distribution of the sum of (2 count - coins)^2 / 4 over the lines."""
    heads = np.arange(coins + 1)
    values = (
        (2 * heads - coins) ** 2 // 4 if coins % 2 == 0 else ((2 * heads - coins) ** 2 - 1) // 4
    )
    one = np.bincount(values, weights=comb(coins, heads) / 2.0**coins)
    whole = np.ones(1)
    for _ in range(lines):
        whole = np.convolve(whole, one)
    return whole


@pytest.mark.parametrize(("models", "lines"), [(4, 20), (8, 30), (16, 60), (5, 40)])
def test_the_error_probability_is_that_of_the_exact_distribution(models, lines):
    """Chernoff's bound is above the exact tail, and within a factor of 30 of it."""
    exact = spread_distribution(models, lines)
    below, above = np.cumsum(exact), np.cumsum(exact[::-1])[::-1]
    odd = models % 2
    for sign, tail in ((-1, below), (1, above)):
        refused = 0.0
        for value in np.flatnonzero((tail > 1e-12) & (tail < 1e-2)):
            # Counts with that spread: the statistic enters through its mean alone.
            spread = (4 * value + odd * lines) / lines
            counts = np.full(lines, models / 2 + math.sqrt(spread) / 2)
            bound = math.exp(coins._spread_log_p(counts, models, sign=sign))
            assert tail[value] <= bound * (1 + 1e-6)
            assert bound < 30 * tail[value]
            if bound < LEVEL:
                refused = max(refused, float(tail[value]))
        assert refused < LEVEL
