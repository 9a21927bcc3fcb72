"""What people do instead of an audit of independent trials, and that it is wrong."""

import numpy as np
from known_mechanisms import (
    fails,
    failures,
    holds,
    of_trials,
    revealing,
)

from dpbench.privacy.audits.clopper_pearson import audit_clopper_pearson, conversions
from dpbench.privacy.audits.trials import Trials


def test_one_example_of_each_model_holds_where_all_pairs_of_all_models_do_not():
    """Models that sometimes show everything: their examples are right or wrong together."""
    delta, shape = 0.1, (60, 30)

    def audit(trials):
        return audit_clopper_pearson(trials, delta=delta).epsilon

    def one_each(scores, members):
        rng = np.random.default_rng(int(members.sum()))
        return audit(Trials.one_per_model(scores, members, rng))

    def one_example(scores, members):
        return audit(Trials.of_example(scores, members, example=4))

    def naive(scores, members):
        return audit(Trials.independent(scores.ravel(), members.ravel()))

    def draw(rng):
        return revealing(rng, shape, delta)

    assert holds(failures(one_each, draw, 0.0)[0])
    assert holds(failures(one_example, draw, 0.0)[0])
    assert fails(failures(naive, draw, 0.0, 300)[0], 300)


def test_the_largest_bound_over_all_thresholds_is_no_bound():
    """Scores that know nothing; the best conversion and threshold of the trials that also judge."""

    def naive(scores, members):
        _, errors = Trials.independent(scores, members).curve()
        return max(conversion.promise(errors, 0.05).max() for conversion in conversions(0.0))

    def draw(rng):
        return rng.standard_normal(200), np.arange(200) < 100

    assert fails(failures(naive, draw, 0.0, 1000)[0], 1000)
    assert holds(failures(of_trials(audit_clopper_pearson), draw, 0.0)[0])
