"""The labelled audits, Bayesian and Katz's: where they hold and where not."""

import functools
import math

import numpy as np
import pytest
from known_mechanisms import (
    DRAWS,
    REPEATS,
    fails,
    failures,
    holds,
    of_trials,
    true_epsilon,
)

from dpbench.privacy.audits import bayesian
from dpbench.privacy.audits.bayesian import audit_bayesian, epsilon_bayesian, posterior_mass
from dpbench.privacy.audits.katz import audit_katz
from dpbench.privacy.audits.trials import Trials


@pytest.mark.parametrize("mechanism", ["response", "gaussian"])
def test_katz_holds_where_members_and_non_members_are_alike_in_number(mechanism):
    delta = 0.0 if mechanism == "response" else 0.05
    found = of_trials(audit_katz, delta=delta)
    failed, bounds = failures(
        found, lambda rng: DRAWS[mechanism](rng, 200), true_epsilon(mechanism, delta)
    )
    assert holds(failed)
    assert np.median(bounds) > 0.3


@pytest.mark.parametrize(("mechanism", "check"), [("response", fails), ("sampled", holds)])
def test_the_bayesian_audit_holds_only_away_from_the_corner(mechanism, check, monkeypatch):
    """Whether its bound exceeds an epsilon is decided by the posterior mass of that epsilon."""
    delta = 0.0 if mechanism == "response" else 0.05
    true = true_epsilon(mechanism, delta)

    @functools.cache
    def exceeds(errors, *, delta, alpha):
        return math.inf if posterior_mass(true, errors, delta=delta, two_sided=False) < alpha else 0

    rng = np.random.default_rng(1)
    for _ in range(10):
        scores, members = DRAWS[mechanism](rng, 100)
        errors = Trials.independent(scores, members).errors_at(0.5)
        bound = epsilon_bayesian(errors, delta=delta)
        assert (bound > true) == (exceeds(errors, delta=delta, alpha=0.05) > 0)
    monkeypatch.setattr(bayesian, "epsilon_bayesian", exceeds)
    found = of_trials(audit_bayesian, delta=delta)
    failed, _ = failures(found, lambda rng: DRAWS[mechanism](rng, 100), true)
    assert check(failed)
    assert failed < 0.2 * REPEATS
