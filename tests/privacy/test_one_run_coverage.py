"""One-run audits on mechanisms whose epsilon is known: how often are they wrong?"""

import functools

import numpy as np
import pytest
from known_mechanisms import (
    DRAWS,
    REPEATS,
    coins,
    fails,
    failures,
    gaussian,
    holds,
    leave_one_out,
    revealing,
    true_epsilon,
)

from dpbench.privacy.accounting.gaussian import epsilon_gaussian
from dpbench.privacy.audits import one_run, one_run_fdp
from dpbench.privacy.audits.audit_result import median_audit
from dpbench.privacy.audits.canaries import Guesses, OneRun
from dpbench.privacy.audits.one_run import audit_one_run
from dpbench.privacy.audits.one_run_fdp import audit_one_run_gaussian

ALL = [Guesses(100, 100)]


@pytest.fixture(autouse=True)
def _remember_bounds_of_counts(monkeypatch):
    """The same counts come again and again; what is done with them is a pure function."""
    for module, name in ((one_run, "epsilon_one_run"), (one_run_fdp, "mu_one_run")):
        monkeypatch.setattr(module, name, functools.cache(getattr(module, name)))


def of_run(audit, **settings):
    return lambda scores, members: audit(OneRun.of_canaries(scores, members), **settings).epsilon


@pytest.mark.parametrize("guesses", [None, ALL], ids=["default", "all"])
@pytest.mark.parametrize("mechanism", DRAWS)
def test_the_one_run_audit_holds_for_every_mechanism(mechanism, guesses):
    delta = 0.0 if mechanism == "response" else 1e-3
    found = of_run(audit_one_run, delta=delta, guesses=guesses)
    failed, bounds = failures(
        found, lambda rng: DRAWS[mechanism](rng, 200), true_epsilon(mechanism, delta)
    )
    assert holds(failed)
    assert np.median(bounds) > 0.1


def test_guesses_of_randomised_response_are_the_binomial_itself():
    """The test can fail: with distinct scores, nothing is left to spare but the discreteness."""

    def draw(rng):
        members = coins(rng, 200)
        honest = rng.random(200) < 1 / (1 + np.exp(-1))
        # Of each kind of answer exactly as many as are guessed to be of that kind.
        answers = np.arange(200) < 100
        members = np.where(honest, answers, ~answers)
        return answers.astype(float), members

    failed, _ = failures(of_run(audit_one_run, guesses=ALL), draw, 1.0)
    assert failed > 0.03 * REPEATS
    assert holds(failed)


@pytest.mark.parametrize("guesses", [None, ALL], ids=["default", "all"])
def test_the_one_run_audit_of_a_gaussian_holds(guesses):
    found = of_run(audit_one_run_gaussian, delta=1e-5, guesses=guesses)
    true = epsilon_gaussian(1e-5, 2.0)
    failed, bounds = failures(found, lambda rng: gaussian(rng, 200), true)
    assert holds(failed)
    assert np.median(bounds) > 1


@pytest.mark.parametrize(("delta", "epsilon"), [(0.1, 0.0), (1e-4, 2.0)])
def test_pooled_canaries_hold_however_the_examples_of_a_model_depend(delta, epsilon):
    """Models that sometimes show all their bits, so that their guesses are right together."""

    def pooled(scores, members):
        return audit_one_run(OneRun.pooled(scores, members), delta=delta).epsilon

    def draw(rng):
        return revealing(rng, (20, 50), delta, epsilon)

    failed, bounds = failures(pooled, draw, epsilon)
    assert holds(failed)
    assert np.median(bounds) >= 0.6 * epsilon


def test_pooling_is_not_too_careful_where_a_model_leaks():
    """Randomised response at 2, said to be private at 1: pooled canaries say otherwise."""

    def pooled(scores, members):
        return audit_one_run(OneRun.pooled(scores, members), delta=1e-5).epsilon

    failed, _ = failures(pooled, lambda rng: revealing(rng, (20, 50), 1e-5, 2.0), 1.0, 100)
    assert failed == 100


def test_leave_one_out_scores_must_not_be_pooled():
    """Models that ignore their data: the guesses of all models rest on each other's bits."""

    def draw(rng):
        members = coins(rng, (16, 100))
        return leave_one_out(rng.standard_normal(members.shape), members), members

    def pooled(scores, members):
        run = OneRun.pooled(scores, members)
        return audit_one_run(run, guesses=[Guesses(800, 800)]).epsilon

    def single(scores, members):
        return audit_one_run(OneRun.of_model(scores, members, model=3)).epsilon

    def median(scores, members):
        runs = [OneRun.of_model(scores, members, model=model) for model in range(16)]
        return median_audit([audit_one_run(run, confidence=0.975) for run in runs]).epsilon

    assert fails(failures(pooled, draw, 0.0, 600)[0], 600)
    assert holds(failures(single, draw, 0.0)[0])
    assert holds(failures(median, draw, 0.0, 200)[0], 200)
