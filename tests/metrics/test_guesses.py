import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpbench.metrics.guesses import tallies
from dpbench.metrics.roc import Ranking, rank


def slow_tally(scores, members, top, bottom):
    """Sorts pairs by score, then by position; the first are guessed IN, the last OUT."""
    models, examples = scores.shape
    pairs = sorted(
        ((m, i) for m in range(models) for i in range(examples)),
        key=lambda pair: (-scores[pair], pair),
    )
    wrong, right = np.zeros(examples, int), np.zeros(examples, int)
    for m, i in pairs[:top]:
        (right if members[m, i] else wrong)[i] += 1
    for m, i in pairs[len(pairs) - bottom :]:
        (wrong if members[m, i] else right)[i] += 1
    return wrong, right


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 7), st.integers(1, 9), st.data())
def test_counts_against_a_loop(seed, models, examples, levels, data):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, size=(models, examples)).astype(np.float32)
    members = rng.random(scores.shape) < 0.5
    size = scores.size
    tops = data.draw(st.lists(st.integers(0, size), min_size=1, max_size=4))
    bottoms = [data.draw(st.integers(0, size - top)) for top in tops]
    found = tallies(
        rank(scores, members), tops=np.array(tops), bottoms=np.array(bottoms), examples=examples
    )
    for row, (top, bottom) in enumerate(zip(tops, bottoms, strict=True)):
        assert np.array_equal(found[row], slow_tally(scores, members, top, bottom))


@pytest.mark.parametrize("seed", range(3))
def test_how_the_sort_treats_equal_scores_is_irrelevant(seed):
    rng = np.random.default_rng(seed)
    scores, members = rng.integers(0, 3, size=(20, 30)) / 2, rng.random((20, 30)) < 0.5
    order = np.lexsort((rng.random(scores.size), -scores.ravel()))
    shuffled = Ranking(order, scores.ravel()[order], members.ravel()[order])
    counts = {"tops": np.array([7, 200, 0]), "bottoms": np.array([30, 123, 9]), "examples": 30}
    assert np.array_equal(tallies(rank(scores, members), **counts), tallies(shuffled, **counts))


def test_the_ranking_is_left_alone():
    members = np.random.default_rng(0).random((4, 10)) < 0.5
    ranking = rank(np.zeros((4, 10)), members)
    before = ranking.order.copy(), ranking.members.copy()
    tallies(ranking, tops=np.array([5]), bottoms=np.array([5]), examples=10)
    assert np.array_equal(ranking.order, before[0])
    assert np.array_equal(ranking.members, before[1])
