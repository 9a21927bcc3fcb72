import json
import math

import numpy as np
import pytest
from scipy.stats import t

from bench.violations import World, gaussian, joint, limits, rate
from dpbench.metrics import evaluate, roc
from dpbench.metrics.lower_bound import LowerBound
from dpbench.metrics.violation import LEVEL, RowEvidence, RowMoments, blamed, moments

CLAIM = gaussian(1.0)


def rates(tpr, fpr):
    return RowMoments(
        models=tpr.size,
        effective=float(tpr.size),
        mean=(tpr.mean(), fpr.mean()),
        second=tuple(
            np.mean((tpr - tpr.mean()) ** a * (fpr - fpr.mean()) ** b)
            for a, b in ((2, 0), (1, 1), (0, 2))
        ),
        third=tuple(
            np.mean((tpr - tpr.mean()) ** a * (fpr - fpr.mean()) ** b)
            for a, b in ((3, 0), (2, 1), (1, 2), (0, 3))
        ),
    )


def simulated(seed, models=32, examples=400, mu=1.0):
    rng = np.random.default_rng(seed)
    members = rng.random((models, examples)) < 0.5
    return rng.normal(size=members.shape) + mu * members, members


def evidence(scores, members, **options):
    found = evaluate(
        scores,
        members,
        rng=np.random.default_rng(0),
        replicates=5,
        uses_other_bits=False,
        **options,
    )
    return found.evidence


@pytest.mark.parametrize("price", [1.0, 7.5])
def test_without_negative_skew_it_is_the_t_test_of_the_differences(price):
    rng = np.random.default_rng(1)
    tpr, fpr = 0.4 + 0.1 * rng.exponential(size=40), 0.1 + 0.002 * rng.normal(size=40)
    gains = tpr - price * fpr
    gain = gains.mean() - 2 * gains.std() / np.sqrt(40)
    expected = t.sf((gains.mean() - gain) / (gains.std(ddof=1) / np.sqrt(40)), 39)
    assert rates(tpr, fpr).p_value(price, gain) == pytest.approx(expected)
    assert rates(tpr, fpr).p_value(price, gains.mean() + 1e-9) == 1


def test_negative_skew_makes_the_test_more_careful():
    rng = np.random.default_rng(2)
    fpr = 0.1 * rng.exponential(size=40)
    tpr = np.full(40, 0.9)
    gains = tpr - fpr
    gain = gains.mean() - 3 * gains.std() / np.sqrt(40)
    plain = t.sf((gains.mean() - gain) / (gains.std(ddof=1) / np.sqrt(40)), 39)
    assert rates(tpr, fpr).p_value(1.0, gain) > 1.5 * plain


def test_moments_against_a_loop():
    scores, members = simulated(3, models=6, examples=300)
    models = np.arange(6)
    curves = tuple(roc(scores[fold::2], members[fold::2]) for fold in (0, 1))
    _, at, _ = moments(scores, members, models, curves, (0.05, 0.001))
    tpr, fpr = [], []
    for model in models:
        others, bits = scores[1 - model % 2 :: 2], members[1 - model % 2 :: 2]
        cuts = [cut for cut in others.ravel() if np.mean(others[~bits] >= cut) <= 0.05]
        called = scores[model] >= min(cuts)
        tpr.append(called[members[model]].mean())
        fpr.append(called[~members[model]].mean())
    expected = rates(np.array(tpr), np.array(fpr))
    assert at.mean == pytest.approx(expected.mean)
    assert at.second == pytest.approx(expected.second)
    assert at.third == pytest.approx(expected.third)
    effective = min(sum(one) ** 2 / np.dot(one, one) for one in (tpr, fpr))
    assert at.effective == pytest.approx(effective)


def test_few_models_or_few_that_matter_prove_nothing():
    assert not joint(World(4, 300, 1, 0.0, 0.5, 1.0), np.random.default_rng(0))
    scores, members = simulated(4, models=64, mu=0.0)
    # One model has all false positives, and all members are found: on average a bad attack.
    found = rates(np.ones(64), np.eye(64)[0])._replace(effective=1.0)
    assert found.p_value(1.0, 0.1) == 1
    assert not blamed([evidence(scores, members)], CLAIM)[0]


def test_only_the_rows_that_prove_it_are_blamed():
    right, wrong = evidence(*simulated(5, mu=0.9)), evidence(*simulated(6, mu=2.0))
    assert blamed([right, wrong, right], CLAIM) == [False, True, False]
    assert blamed([right, right], CLAIM) == [False, False]


def test_guesses_alone_can_prove_it_with_few_models():
    scores, members = simulated(7, models=4, examples=3000, mu=12.0)
    assert blamed([evidence(scores, members, delta=1e-5)], CLAIM) == [True]


def test_more_rows_need_stronger_evidence():
    nothing = RowEvidence(tuple(rates(np.ones(30), np.ones(30)) for _ in range(3)), LowerBound(0.0))
    weak = LowerBound(1.0, 1000.0, 100.0, 62.0)
    chance = weak.p_value(0.0, 0.0)
    claim = CLAIM._replace(epsilon=0.0, delta=0.0, gains=(1.0, 1.0, 1.0))
    row = RowEvidence(nothing.rates, weak)
    assert LEVEL / 12 < chance <= LEVEL / 2
    assert blamed([row], claim._replace(epsilon=5.0)) == [False]
    assert blamed([row] + [nothing] * 9, claim) == [False] * 10


def test_a_record_keeps_the_evidence():
    found = evidence(*simulated(8))
    read = RowEvidence.from_json(json.loads(json.dumps(found.to_json())))
    assert blamed([read], CLAIM) == blamed([found], CLAIM)
    assert read.guesses == found.guesses
    assert read.rates[0].p_value(1.0, 0.3) == found.rates[0].p_value(1.0, 0.3)


def test_models_that_share_variance_at_the_limit_are_seldom_blamed():
    """The limits of single rows blame a quarter of such cells of four models."""
    world = World(4, 500, 1, 0.5)
    assert rate(world, limits, 40) > 0.1
    assert rate(world, joint, 60) == 0
    assert rate(World(64, 400, 2, 0.5), joint, 40) <= 0.05
    assert rate(World(64, 400, 2, 0.0), joint, 40) <= 0.05


def test_half_the_noise_is_found():
    for share in (0.0, 0.5):
        assert rate(World(64, 400, 2, share, 0.5, 1.0), joint, 10) > 0.8


def test_the_claim_at_its_prices_is_the_trade_off_curve():
    claim = gaussian(0.7)
    fprs = np.linspace(1e-6, 1, 10_001)
    from dpbench.privacy import tpr_gaussian

    for price, gain in zip(claim.prices, claim.gains, strict=True):
        assert gain == pytest.approx(np.max(tpr_gaussian(fprs, 0.7) - price * fprs), abs=1e-6)
    assert math.isclose(claim.gains[0], 2 * 0.6368306511756191 - 1, rel_tol=1e-6)
