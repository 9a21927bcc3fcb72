"""Clopper-Pearson audits on mechanisms whose epsilon is known: how often are they wrong?

Thresholds, splits and conversions are chosen exactly as the code chooses them, in 2,000 experiments
each.
"""

import numpy as np
import pytest
from known_mechanisms import (
    DRAWS,
    REPEATS,
    failures,
    holds,
    of_trials,
    randomised_response,
    true_epsilon,
)

from dpbench.privacy.audits.clopper_pearson import audit_clopper_pearson
from dpbench.privacy.audits.thresholds import Bonferroni, Split


@pytest.mark.parametrize("choice", [Split(), Bonferroni()], ids=["split", "bonferroni"])
@pytest.mark.parametrize("mechanism", DRAWS)
def test_clopper_pearson_holds_for_every_mechanism(mechanism, choice):
    delta = 0.0 if mechanism == "response" else 0.05
    found = of_trials(audit_clopper_pearson, delta=delta, choice=choice)
    failed, bounds = failures(
        found, lambda rng: DRAWS[mechanism](rng, 200), true_epsilon(mechanism, delta)
    )
    assert holds(failed)
    assert np.median(bounds) > 0.3


def test_a_total_error_is_used_to_the_full():
    """The test can fail: randomised response leaves little slack in a limit of the total error."""
    failed, _ = failures(
        of_trials(audit_clopper_pearson), lambda rng: randomised_response(rng, 1000), 1.0
    )
    assert failed > 0.02 * REPEATS
    assert holds(failed)


def test_trials_with_many_members_and_few_non_members_hold():
    def draw(rng):
        scores, members = randomised_response(rng, 1200)
        kept = members | (rng.random(1200) < 0.3)
        return scores[kept], members[kept]

    failed, bounds = failures(of_trials(audit_clopper_pearson), draw, 1.0)
    assert holds(failed)
    assert np.median(bounds) > 0.4


def test_the_bound_comes_close_to_randomised_response():
    found = of_trials(audit_clopper_pearson)
    _, bounds = failures(found, lambda rng: randomised_response(rng, 10_000), 1.0, 100)
    assert np.median(bounds) > 0.93
    assert np.quantile(bounds, 0.05) > 0.87
