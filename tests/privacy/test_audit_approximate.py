"""The two labelled audits: the Bayesian one (credible) and Katz's (approximate)."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, binom, norm

from dpbench.privacy.audits.audit import epsilons_from_rates
from dpbench.privacy.audits.audit_result import Errors
from dpbench.privacy.audits.bayesian import audit_bayesian, epsilon_bayesian, posterior_mass
from dpbench.privacy.audits.clopper_pearson import audit_clopper_pearson, rate_limits, total_limit
from dpbench.privacy.audits.katz import audit_katz, epsilons_katz
from dpbench.privacy.audits.thresholds import Explicit
from dpbench.privacy.audits.trials import Trials

COUNTS = [
    Errors(3, 50, 4, 50),
    Errors(0, 30, 1, 40),
    Errors(100, 1000, 300, 900),
    Errors(0, 1000, 500, 1000),
    Errors(5000, 100_000, 7000, 100_000),
    Errors(7, 10, 8, 10),
]


def least_fpr(fnr, epsilon, delta):
    room = 1 - delta
    return max(0.0, room - math.exp(epsilon) * fnr, math.exp(-epsilon) * (room - fnr))


def mass_by_quadrature(epsilon, errors, delta, two_sided):
    """Integrates over quantiles of the FNR by an adaptive rule."""
    fpr = beta(errors[0] + 0.5, errors[1] - errors[0] + 0.5)
    fnr = beta(errors[2] + 0.5, errors[3] - errors[2] + 0.5)

    def allowed(level):
        x = fnr.ppf(level)
        top = 1 - least_fpr(1 - x, epsilon, delta) if two_sided else 1.0
        return max(0.0, fpr.cdf(top) - fpr.cdf(least_fpr(x, epsilon, delta)))

    parts = itertools.pairwise(np.linspace(0, 1, 11))
    return sum(quad(allowed, *part, limit=200)[0] for part in parts)


@pytest.mark.parametrize("errors", COUNTS, ids=str)
@pytest.mark.parametrize(("epsilon", "delta"), [(0.4, 0.0), (2.5, 1e-2)])
@pytest.mark.parametrize("two_sided", [True, False])
def test_posterior_mass_against_adaptive_quadrature(errors, epsilon, delta, two_sided):
    found = posterior_mass(epsilon, errors, delta=delta, two_sided=two_sided)
    assert found == pytest.approx(
        mass_by_quadrature(epsilon, errors, delta, two_sided), abs=2e-7, rel=1e-5
    )


@pytest.mark.parametrize("errors", COUNTS[:4], ids=str)
def test_posterior_mass_against_draws_from_the_posterior(errors):
    rng, draws = np.random.default_rng(0), 200_000
    fpr = rng.beta(errors[0] + 0.5, errors[1] - errors[0] + 0.5, draws)
    fnr = rng.beta(errors[2] + 0.5, errors[3] - errors[2] + 0.5, draws)
    epsilon = epsilon_bayesian(errors)
    tolerance = 5 * math.sqrt(0.05 / draws)
    assert posterior_mass(epsilon, errors, two_sided=False) == pytest.approx(0.05, abs=1e-9)
    assert np.mean(epsilons_from_rates(fpr, fnr) <= epsilon) == pytest.approx(0.05, abs=tolerance)


@given(
    wrong=st.integers(0, 40),
    missed=st.integers(0, 40),
    epsilon=st.floats(0, 10),
    more=st.floats(0, 3),
    delta=st.sampled_from([0.0, 0.01, 0.3]),
)
def test_posterior_mass_is_a_probability_that_grows_with_the_region(
    wrong, missed, epsilon, more, delta
):
    errors = Errors(wrong, 40, missed, 40)
    small, large = (
        posterior_mass(value, errors, delta=delta) for value in (epsilon, epsilon + more)
    )
    assert -1e-9 <= small <= large + 1e-9
    assert large <= 1 + 1e-9
    exchanged = Errors(missed, 40, wrong, 40)
    mirrored = Errors(40 - wrong, 40, 40 - missed, 40)
    assert posterior_mass(epsilon, exchanged, delta=delta) == pytest.approx(small, abs=1e-9)
    assert posterior_mass(epsilon, mirrored, delta=delta) == pytest.approx(small, abs=1e-9)
    assert posterior_mass(epsilon, errors, delta=delta, two_sided=False) >= small - 1e-9


def test_the_bayesian_bound_is_right_on_average_over_rates_drawn_from_its_prior():
    """What a credible bound promises: of the bounds that claim something, 5 % are wrong."""
    rng, trials = np.random.default_rng(3), 60
    fpr, fnr = rng.beta(0.5, 0.5, (2, 2500))
    wrong, missed = rng.binomial(trials, fpr), rng.binomial(trials, fnr)
    true = epsilons_from_rates(fpr, fnr)
    claimed = failed = 0
    for index in range(fpr.size):
        errors = Errors(int(wrong[index]), trials, int(missed[index]), trials)
        if posterior_mass(0.0, errors, two_sided=False) < 0.05:
            claimed += 1
            failed += posterior_mass(float(true[index]), errors, two_sided=False) < 0.05
    assert claimed > 600
    assert binom.cdf(failed, claimed, 0.05) > 1e-3
    assert binom.sf(failed - 1, claimed, 0.05) > 1e-3


def enumerate_failures(refuted, *, fpr, fnr, trials):
    """Returns the exact probability that a bound exceeds the true epsilon."""
    counts = np.arange(trials + 1)
    weights = np.outer(binom.pmf(counts, trials, fpr), binom.pmf(counts, trials, fnr))
    likely = np.argwhere(weights > 1e-6)
    return sum(
        weights[wrong, missed]
        for wrong, missed in likely
        if refuted(Errors(int(wrong), trials, int(missed), trials))
    )


def test_for_fixed_rates_the_bayesian_bound_may_be_wrong_far_too_often():
    """Randomised response sits in the corner of the region, which has little posterior mass."""
    epsilon, trials = 2.0, 60
    corner = 1 / (1 + math.exp(epsilon))

    def refuted(errors):
        return posterior_mass(epsilon, errors, two_sided=False) < 0.05

    at_corner = enumerate_failures(refuted, fpr=corner, fnr=corner, trials=trials)
    on_edge = enumerate_failures(refuted, fpr=0.05, fnr=1 - 0.05 * math.exp(epsilon), trials=trials)
    assert 0.15 < at_corner < 0.18
    assert on_edge < 0.055


def test_an_attack_that_guesses_proves_nothing_in_one_experiment_of_twenty():
    """The two-sided region of epsilon 0 has no mass: by that rule every experiment would fail."""

    def refuted(errors):
        return posterior_mass(0.0, errors, two_sided=False) < 0.05

    assert enumerate_failures(refuted, fpr=0.5, fnr=0.5, trials=24) < 0.06
    assert posterior_mass(0.0, Errors(15, 30, 15, 30)) < 1e-9


def test_katz_against_the_formula_for_a_risk_ratio():
    errors, z = Errors(50, 1000, 200, 900), norm.ppf(0.975)
    tpr, fpr = 700 / 900, 50 / 1000
    spread = math.sqrt(1 / 700 - 1 / 900 + 1 / 50 - 1 / 1000)
    assert float(epsilons_katz(errors, 0.0, 0.05)) == pytest.approx(
        math.log(tpr / fpr) - z * spread
    )
    mirrored = Errors(200, 900, 50, 1000)
    assert epsilons_katz(mirrored, 0.0, 0.05) == epsilons_katz(errors, 0.0, 0.05)


def test_katz_takes_no_error_as_half_an_error_and_delta_off_the_success_rate():
    none, z = Errors(0, 100, 10, 100), norm.ppf(0.975)
    spread = math.sqrt(1 / 90 - 1 / 100 + 1 / 0.5 - 1 / 100)
    expected = math.log(0.9 / 0.005) - z * spread
    assert float(epsilons_katz(none, 0.0, 0.05)) == pytest.approx(expected)
    assert epsilons_katz(none, 0.1, 0.05) < epsilons_katz(none, 0.0, 0.05)
    assert epsilons_katz(none, 0.95, 0.05) == 0
    assert epsilons_katz(Errors(0, 0, 3, 9), 0.0, 0.05) == 0


def test_katz_is_wrong_too_often_where_few_members_are_found_among_many_non_members():
    """The normal limit of a log count of one or two is no limit; with delta, even less."""

    def failures(tpr, delta, epsilon, *, members=100, outside=100_000):
        fpr = (tpr - delta) / math.exp(epsilon)
        wrong, found = np.arange(2000), np.arange(members + 1)
        weights = np.outer(binom.pmf(wrong, outside, fpr), binom.pmf(found, members, tpr))
        errors = Errors(wrong[:, None], outside, members - found, members)
        katz = (weights * (epsilons_katz(errors, delta, 0.05) > epsilon)).sum()
        exact = weights * (epsilons_from_rates(*rate_limits(errors, 0.05), delta) > epsilon)
        return katz, exact.sum()

    katz, exact = failures(0.0043, 0.0, 0.5)
    assert 0.06 < katz < 0.08
    assert exact < 0.05
    katz, exact = failures(0.0102, 0.01, 0.5)
    assert 0.2 < katz < 0.3
    assert exact < 0.05


@pytest.mark.parametrize("trials", [30, 500])
@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_katz_holds_for_randomised_response(trials, epsilon):
    rate = 1 / (1 + math.exp(epsilon))

    def refuted(errors):
        return epsilons_katz(errors, 0.0, 0.05) > epsilon

    assert enumerate_failures(refuted, fpr=rate, fnr=rate, trials=trials) < 0.05


def test_the_labels_say_what_the_audits_are():
    trials = Trials.independent(np.arange(200) % 2 + 0.0, np.arange(200) % 2)
    results = [
        audit(trials, choice=Explicit(threshold=1.0))
        for audit in (audit_clopper_pearson, audit_bayesian, audit_katz)
    ]
    assert [result.method for result in results] == [
        "Clopper-Pearson",
        "Bayesian (credible)",
        "Katz-log (approximate)",
    ]
    assert "Jeffreys" in results[1].assumes
    assert "normal approximation" in results[2].assumes
    assert total_limit(results[0].counts, 0.05)[1] == 0.5
