"""Simulated games: numbers against closed forms, intervals, and what is refused."""

import numpy as np
import pytest
from scipy.special import ndtr

from dpbench.errors import UserError
from dpbench.reproduction.expectation import Measure
from dpbench.reproduction.simulated import Simulated, simulate


def number(attack, cell="c", metric="balanced_accuracy", grid="g"):
    return Measure(grid=grid, cell=cell, attack=attack, metric=metric)


def gaussians(shift, seed, repetitions=40, points=200):
    rng = np.random.default_rng(seed)
    members = np.arange(points) < points // 2
    return rng.normal(size=(repetitions, points)) + shift * members


@pytest.fixture(scope="module")
def game():
    scores = {"weak": gaussians(0.5, 1), "strong": gaussians(2.0, 2), "none": gaussians(0.0, 3)}
    return Simulated("toy", {"c": scores})


@pytest.mark.parametrize(("attack", "shift"), [("weak", 0.5), ("strong", 2.0), ("none", 0.0)])
def test_accuracy_is_that_of_two_gaussians(game, attack, shift):
    found = game.of(number(attack))
    assert found.value == pytest.approx(ndtr(shift / 2), abs=0.015)
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.06


def test_differences_are_paired(game):
    gap = game.difference(number("strong"), number("weak"), 1.0)
    assert gap.value == pytest.approx(ndtr(1) - ndtr(0.25), abs=0.02)
    assert gap.low > 0
    assert game.difference(number("weak"), number("weak"), 1.0) == (0, 0, 0)
    halved = game.difference(number("weak"), number("weak"), 0.5)
    assert halved.value == pytest.approx(game.of(number("weak")).value / 2)


@pytest.mark.parametrize(
    "wrong", [number("other"), number("weak", cell="d"), number("weak", metric="auc")]
)
def test_a_number_that_is_not_there_is_explained(game, wrong):
    assert not game.has(wrong)
    with pytest.raises(UserError, match=r"toy: no .*\s+allowed: balanced_accuracy of weak, strong"):
        game.of(wrong)


def test_an_unknown_game_is_refused():
    with pytest.raises(UserError, match=r"mean-estimate: no such simulation(?s:.*)mean-estimation"):
        simulate("mean-estimate")


def test_mean_estimation_is_the_theory_of_its_paper():
    game = simulate("mean-estimation")
    for dimension in (10, 100, 1000):
        found = game.of(number("mast", cell=f"d={dimension}"))
        assert found.value == pytest.approx(ndtr(np.sqrt(dimension / 100) / 2), abs=0.02)
        scores = game.scores[f"d={dimension}"]
        # For one target the two differ by a constant: equal ranks.
        for mast, matt in zip(scores["mast"], scores["matt"], strict=True):
            assert np.array_equal(np.argsort(mast), np.argsort(matt))


def test_weights_of_naive_bayes_say_more_than_its_loss():
    game = simulate("naive-bayes")
    pair = number("bayes_wb", cell="naive Bayes"), number("malt", cell="naive Bayes")
    assert game.difference(*pair, 1.0).low > 0.05
    assert game.of(number("gap", cell="naive Bayes")).high < 0.52
