import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from dpbench.metrics import evaluate
from dpbench.metrics.roc import rank, roc
from dpbench.metrics.shadow_rates import precision_at_prior
from dpbench.metrics.thresholds import called, cut_for_fpr, fold_curves


def gaussian(models, examples, signal, seed):
    rng = np.random.default_rng(seed)
    members = rng.random((models, examples)) < 0.5
    return rng.normal(size=members.shape) + signal * members, members


@pytest.mark.parametrize("fpr", [0.01, 0.001])
def test_the_gaussian_game(fpr):
    """TPR is 1 - Phi(z - mu), and PPV = pi T / (pi T + (1 - pi) alpha)."""
    scores, members = gaussian(64, 20_000, 2.0, 0)
    row = evaluate(scores, members, rng=np.random.default_rng(1), replicates=30).row()
    tpr = norm.sf(norm.isf(fpr) - 2)
    name = f"shadow_fpr_{fpr:g}"
    assert row[f"realised_{name}"] == pytest.approx(fpr, rel=0.1)
    assert row[f"tpr_at_{name}"] == pytest.approx(tpr, rel=0.05)
    # The interval is for these thresholds, which are not exactly where the false positive rate is.
    cuts = [cut_for_fpr(curve, fpr).above for curve in fold_curves(rank(scores, members), 20_000)]
    kept = np.mean(norm.sf(np.array(cuts) - 2))
    assert row[f"tpr_at_{name}_low"] <= kept <= row[f"tpr_at_{name}_high"]
    for prior in (0.01, 0.1, 0.5):
        expected = prior * tpr / (prior * tpr + (1 - prior) * fpr)
        assert row[f"precision_at_{name}_prior_{prior:g}"] == pytest.approx(expected, rel=0.08)


@given(st.integers(0, 2**32), st.integers(0, 2), st.sampled_from([0.02, 0.1, 0.3]))
def test_counts_against_a_loop(seed, decimals, fpr):
    scores, members = gaussian(6, 40, 1.0, seed)
    scores = np.round(scores, decimals)
    curves = fold_curves(rank(scores, members), 40)
    cuts = (cut_for_fpr(curves[0], fpr), cut_for_fpr(curves[1], fpr))
    models = np.array([1, 2, 5])
    counted = called(scores[models], members[models], models, cuts)
    found, wrong = np.zeros((2, 3, 40))
    for row, model in enumerate(models):
        cut = cuts[1 - model % 2]
        for example in range(40):
            score = scores[model, example]
            share = 1.0 if score >= cut.above else cut.share * (score == cut.at)
            (found if members[model, example] else wrong)[row, example] = share
    for counts, cells in zip(counted, (found, wrong), strict=True):
        assert counts[0] == pytest.approx(cells.sum(1))
        assert counts[1] == pytest.approx(cells.sum(0))


@given(st.integers(0, 2**32), st.integers(0, 2), st.sampled_from([0.05, 0.1, 0.5]))
def test_a_cut_has_its_false_positive_rate_where_it_was_made(seed, decimals, fpr):
    scores, members = gaussian(1, 200, 1.0, seed)
    scores = np.round(scores, decimals)
    cut = cut_for_fpr(roc(scores, members), fpr)
    outside = scores[~members]
    rate = np.mean(outside >= cut.above) + cut.share * np.mean(outside == cut.at)
    assert rate == pytest.approx(fpr)


def test_a_threshold_that_does_not_carry_over_shows_in_the_realised_rate():
    """Odd models' scores are higher throughout: at even models' thresholds all are members."""
    scores, members = gaussian(8, 1000, 1.0, 3)
    scores[1::2] += 10
    row = evaluate(scores, members, rng=np.random.default_rng(0), replicates=5).row()
    assert row["realised_shadow_fpr_0.01"] == pytest.approx(0.5, abs=0.02)
    assert row["tpr_at_shadow_fpr_0.01"] == pytest.approx(0.5, abs=0.02)
    assert row["tpr_at_fpr_0.01"] < 0.1


def test_rates_that_a_fold_cannot_resolve_are_unknown():
    scores, members = gaussian(8, 300, 1.0, 4)
    row = evaluate(scores, members, rng=np.random.default_rng(0), replicates=5).row()
    assert not math.isnan(row["tpr_at_fpr_0.001"])
    assert math.isnan(row["tpr_at_shadow_fpr_0.001"])
    assert math.isnan(row["precision_at_shadow_fpr_0.001_prior_0.5"])


def test_nobody_named_has_no_precision():
    assert math.isnan(precision_at_prior(0.0, 0.0, 0.1))
    assert precision_at_prior(0.2, 0.0, 0.1) == 1
