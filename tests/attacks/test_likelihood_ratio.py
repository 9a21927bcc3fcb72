"""The likelihood ratio against a loop with SciPy's normal, and against LiRA, which is one."""

import numpy as np
import pytest
from scipy.stats import norm

from dpbench.attacks import Access, Lira, NotApplicable
from dpbench.attacks.toolbox.confidence import logit
from dpbench.attacks.toolbox.likelihood_ratio import likelihood_ratio
from dpbench.testing import plant


def pooled(groups):
    groups = [group for group in groups if len(group) >= 2]
    squares = sum(np.var(group, ddof=1) * (len(group) - 1) for group in groups)
    return squares, sum(len(group) - 1 for group in groups)


def slow(observed, shadows, members, variance):
    scores = np.empty(members.shape)
    for t in range(len(members)):
        others = np.arange(len(members)) != t
        sides = [
            [shadows[others & (members[:, i] == side), i] for i in range(members.shape[1])]
            for side in (True, False)
        ]
        (in_squares, in_degrees), (out_squares, out_degrees) = (pooled(side) for side in sides)
        floor = np.sqrt((in_squares + out_squares) / (in_degrees + out_degrees)) / 100
        spreads = np.sqrt([in_squares / in_degrees, out_squares / out_degrees])
        both = [a.mean() - b.mean() for a, b in zip(*sides, strict=True) if len(a) and len(b)]
        for i, (inside, outside) in enumerate(zip(*sides, strict=True)):
            mean_in = inside.mean() if len(inside) else outside.mean() + np.mean(both)
            mean_out = outside.mean() if len(outside) else inside.mean() - np.mean(both)
            sd_in, sd_out = (
                max(g.std(ddof=1) if variance == "per_example" and len(g) > 1 else spread, floor)
                for g, spread in zip((inside, outside), spreads, strict=True)
            )
            log_in = norm.logpdf(observed[t, i], mean_in, sd_in)
            scores[t, i] = log_in - norm.logpdf(observed[t, i], mean_out, sd_out)
    return scores


@pytest.mark.parametrize("variance", ["pooled", "per_example"])
@pytest.mark.parametrize("models", [5, 9, 16])
def test_ratios_are_those_of_a_loop(variance, models):
    rng = np.random.default_rng(models)
    observed, shadows = rng.standard_normal((2, models, 25))
    members = rng.random((models, 25)) < 0.5
    found = likelihood_ratio(observed, shadows, members, variance=variance)
    np.testing.assert_allclose(found, slow(observed, shadows, members, variance), rtol=1e-9)


@pytest.mark.parametrize("variance", ["pooled", "per_example"])
def test_lira_is_the_ratio_of_the_confidence(variance):
    planted = plant(models=12, points=50, effect=1.0, seed=0)
    phi = logit(planted.target.outputs(), planted.target.labels)
    found = likelihood_ratio(phi, phi, planted.members, variance=variance)
    expected = Lira(variance=variance).score(planted.view(access=Access.SCORE))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_what_never_varies_is_no_evidence():
    rng = np.random.default_rng(1)
    values = rng.standard_normal((12, 6))
    values[:, 2] = 7.0
    members = np.arange(12)[:, None] % 2 == np.arange(6) % 2
    ratio = likelihood_ratio(values, values, members, variance="per_example")
    np.testing.assert_allclose(ratio[:, 2], 0.0, atol=1e-12)


def test_two_models_are_too_few():
    values = np.zeros((2, 5))
    with pytest.raises(NotApplicable, match="two shadow models"):
        likelihood_ratio(values, values, values > 0, variance="pooled")
