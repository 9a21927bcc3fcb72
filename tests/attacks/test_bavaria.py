"""BaVarIA against the marginal likelihood, its prior on known populations, and its two limits."""

from dataclasses import replace

import numpy as np
import pytest
from public_views import with_confidence
from scipy.special import gammaln
from scipy.stats import invgamma, norm
from scipy.stats import t as student
from slow_shadows import for_each, sides
from views import random_outputs, view_of

from dpbench.attacks import Lira
from dpbench.attacks.base import Access, NotApplicable
from dpbench.attacks.bavaria import Bavaria, Predictive
from dpbench.attacks.toolbox.confidence import logit
from dpbench.testing import auc, check_attack, plant, standard_error

ATTACKS = [
    Bavaria(mode=mode, predictive=predictive)
    for mode in ("online", "offline")
    for predictive in ("student_t", "gaussian")
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_contract(attack):
    check_attack(attack)


def slow_prior(groups, floor):
    """Moments of one side, `(m_0, kappa_0, alpha, beta)`, from lists of values for each point."""
    enough = [g for g in groups if len(g) > 1]
    degrees = np.array([len(g) - 1 for g in enough])
    variances = np.array([np.var(g, ddof=1) for g in enough])
    pooled = max(np.sum(variances * degrees) / np.sum(degrees), floor)
    fourth = np.sum(degrees * variances**2 / (1 + 2 / degrees)) / np.sum(degrees)
    alpha = 2 + 1 / max(fourth / pooled**2 - 1, 2e-6)
    means = np.array([np.mean(g) for g in groups if g])
    chance = pooled * np.mean([1 / len(g) for g in groups if g])
    kappa = pooled / max(np.mean((means - means.mean()) ** 2) - chance, pooled / 1000)
    return means.mean(), kappa, alpha, pooled * (alpha - 1)


def log_evidence(values, prior):
    """The log marginal likelihood of Gaussian values under a normal-inverse-gamma prior."""
    center, kappa, alpha, beta = prior
    count = len(values)
    mean = np.mean(values) if count else 0.0
    squares = sum((v - mean) ** 2 for v in values)
    kappa_n, alpha_n = kappa + count, alpha + count / 2
    beta_n = beta + squares / 2 + kappa * count * (mean - center) ** 2 / (2 * kappa_n)
    return (
        gammaln(alpha_n)
        - gammaln(alpha)
        + alpha * np.log(beta)
        - alpha_n * np.log(beta_n)
        + np.log(kappa / kappa_n) / 2
        - count / 2 * np.log(2 * np.pi)
    )


def priors(phi, members, target):
    pairs = [sides(phi, members, target, i) for i in range(members.shape[1])]
    ins, outs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    squares = sum(np.var(g) * len(g) for g in ins + outs if g)
    degrees = sum(len(g) - 1 for g in ins + outs if g)
    floor = 1e-4 * max(squares / degrees, 1e-12)
    return slow_prior(ins, floor), slow_prior(outs, floor)


def setting(seed, models, points=30):
    rng = np.random.default_rng(seed)
    labels, members = rng.integers(3, size=points), rng.random((models, points)) < 0.5
    spread = np.sqrt(invgamma.rvs(3, scale=2, size=points, random_state=rng))
    phi = 2 * rng.standard_normal(points) + members
    outputs = with_confidence(phi + spread * rng.standard_normal((models, points)), labels, 3)
    return outputs, labels, members


@pytest.mark.parametrize("models", [6, 7, 20])
@pytest.mark.parametrize("static", [False, True])
def test_the_predictive_is_a_ratio_of_marginal_likelihoods(models, static):
    outputs, labels, members = setting(models, models)
    shadows = setting(99, models)[0] if static else outputs
    own, others = logit(outputs, labels), logit(shadows, labels)
    known = [priors(others, members, t) for t in range(models)]

    def ratio(t, i):
        log_in, log_out = (
            log_evidence([*side, own[t, i]], prior) - log_evidence(side, prior)
            for side, prior in zip(sides(others, members, t, i), known[t], strict=True)
        )
        return log_in - log_out

    found = Bavaria().score(view_of(outputs, labels, members, shadows))
    np.testing.assert_allclose(found, for_each(members, ratio), rtol=1e-7, atol=1e-7)


def test_the_gaussian_form_has_the_posterior_means_of_mean_and_variance():
    outputs, labels, members = setting(2, 12)
    phi = logit(outputs, labels)
    known = [priors(phi, members, t) for t in range(12)]

    def log_density(value, values, prior):
        center, kappa, alpha, beta = prior
        count, mean = len(values), np.mean(values or [center])
        kappa_n = kappa + count
        beta_n = beta + np.var(values or [0.0]) * count / 2
        beta_n += kappa * count * (mean - center) ** 2 / (2 * kappa_n)
        variance = beta_n / (alpha + count / 2 - 1)
        location = (kappa * center + count * mean) / kappa_n
        return norm.logpdf(value, location, np.sqrt(variance))

    def ratio(t, i):
        pairs = zip(sides(phi, members, t, i), known[t], strict=True)
        log_in, log_out = (log_density(phi[t, i], side, prior) for side, prior in pairs)
        return log_in - log_out

    found = Bavaria(predictive="gaussian").score(view_of(outputs, labels, members))
    np.testing.assert_allclose(found, for_each(members, ratio), rtol=1e-4, atol=1e-4)


def test_the_deviate_has_the_tail_of_student_t_and_never_saturates():
    gap = np.linspace(-6, 6, 41)
    for degrees in (6.0, 30.0, 200.0):
        predictive = Predictive(np.array(degrees), np.array(1.0), np.array(4.0))
        exact = norm.isf(student.sf(gap / 2, degrees))
        np.testing.assert_allclose(predictive.deviate(1 + gap), exact, atol=0.03)
    far = predictive.deviate(np.array([1e3, 1e6, 1e12]))
    assert (np.diff(far) > 1).all()


def test_offline_it_is_one_sided_and_blind_to_the_in_side():
    outputs, labels, members = setting(3, 12)
    attack = Bavaria(mode="offline")
    found = attack.score(view_of(outputs, labels, members))
    other = outputs.copy()
    other[members] = random_outputs(5, 12, 30, 3)[0][members]
    np.testing.assert_array_equal(found, attack.score(view_of(outputs, labels, members, other)))
    phi = logit(outputs, labels)
    for t in range(12):
        prior = priors(phi, members, t)[1]
        center, kappa, alpha, beta = prior
        for i in range(30):
            out = sides(phi, members, t, i)[1]
            kappa_n, count = kappa + len(out), len(out)
            mean = np.mean(out)
            beta_n = beta + np.var(out) * count / 2
            beta_n += kappa * count * (mean - center) ** 2 / (2 * kappa_n)
            location = (kappa * center + count * mean) / kappa_n
            degrees = 2 * alpha + count
            scale = np.sqrt(beta_n / (alpha + count / 2) * (kappa_n + 1) / kappa_n)
            gap = (phi[t, i] - location) / scale
            if abs(gap) < 5:
                exact = norm.isf(student.sf(gap, degrees))
                assert found[t, i] == pytest.approx(exact, abs=0.03)


@pytest.mark.parametrize(("models", "gain"), [(8, 0.003), (16, 0.002), (64, -0.001)])
def test_where_variances_differ_it_beats_both_ways_of_lira(models, gain):
    rng = np.random.default_rng(7)
    points = 2000
    labels, members = rng.integers(3, size=points), rng.random((models, points)) < 0.5
    spread = np.sqrt(invgamma.rvs(3, scale=2, size=points, random_state=rng))
    noise = spread * rng.standard_normal((models, points))
    phi = 2 * rng.standard_normal(points) + 1.5 * members + noise
    view = view_of(with_confidence(phi, labels, 3), labels, members)
    found = {
        attack.label(): auc(attack.score(view), members)
        for attack in (Bavaria(), Lira(), Lira(variance="per_example"))
    }
    ours = found.pop("bavaria")
    assert ours > max(found.values()) + gain, (ours, found)


def test_equal_variances_make_it_lira_with_the_pooled_one():
    planted = plant(models=64, points=500, effect=1.5, seed=1, spread=3.0)
    view = planted.view(access=Access.SCORE)
    ours, lira = (auc(a.score(view), planted.members) for a in (Bavaria(), Lira()))
    assert ours == pytest.approx(lira, abs=0.002)
    noise = 4 * standard_error(planted.members)
    assert planted.calibrated_auc - 0.015 < ours < planted.calibrated_auc + noise


def test_a_static_attack_uses_the_shadows_of_another_release():
    planted = plant(models=24, points=300, effect=2.0, seed=8, shadows_effect=2.0)
    view = planted.view(access=Access.SCORE)
    apart = Bavaria().score(view)
    together = Bavaria().score(replace(view, shadows=view.target))
    assert not np.array_equal(apart, together)
    assert auc(apart, planted.members) == pytest.approx(planted.calibrated_auc, abs=0.03)


def test_too_few_shadows_are_refused():
    for attack in ATTACKS:
        with pytest.raises(NotApplicable, match="two shadow models"):
            attack.score(view_of(*random_outputs(0, 2, 10, 3)))
