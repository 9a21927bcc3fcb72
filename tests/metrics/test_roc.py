import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dpbench import metrics
from dpbench.metrics.roc import fpr_at

# Few distinct values, so that ties are common; infinities are scores like any other.
values = st.sampled_from([-np.inf, -3.0, -1.0, 0.0, 0.5, 1.0, 2.0, np.inf])


@st.composite
def samples(draw, elements=values):
    size = draw(st.integers(2, 40))
    scores = draw(hnp.arrays(float, size, elements=elements))
    members = draw(hnp.arrays(bool, size))
    members[:2] = [True, False]
    return scores, members


def naive_vertices(scores, members):
    vertices = [(0.0, 0.0)]
    for threshold in sorted(set(scores.tolist()), reverse=True):
        called = [score >= threshold for score in scores]
        found = sum(c and m for c, m in zip(called, members, strict=True))
        wrong = sum(c and not m for c, m in zip(called, members, strict=True))
        vertices.append((wrong / np.sum(~members), found / np.sum(members)))
    return vertices


@given(samples())
def test_vertices_area_and_rates_against_loops(sample):
    scores, members = sample
    curve = metrics.roc(scores, members)
    fpr, tpr = curve.fp / curve.negatives, curve.tp / curve.positives
    vertices = naive_vertices(scores, members)
    assert list(zip(fpr, tpr, strict=True)) == vertices
    inside, outside = scores[members], scores[~members]
    wins = sum((a > b) + 0.5 * (a == b) for a in inside for b in outside)
    assert metrics.auc(curve) == pytest.approx(wins / (inside.size * outside.size), abs=1e-12)
    for rate in (0.1, 0.3, 0.5, 1.0):
        best = max(t for f, t in vertices if f <= rate + 1e-12)
        found = metrics.tpr_at(curve, rate)
        assert np.isnan(found) if outside.size * rate < 1 - 1e-12 else found == best


@pytest.mark.oracle
@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_curve_and_area_are_scikit_learns(decimals):
    reference = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    members = rng.random(5000) < 0.4
    scores = np.round(rng.normal(size=5000) + 0.7 * members, decimals)
    curve = metrics.roc(scores, members)
    fpr, tpr, thresholds = reference.roc_curve(members, scores, drop_intermediate=False)
    assert np.array_equal(curve.fp / curve.negatives, fpr)
    assert np.array_equal(curve.tp / curve.positives, tpr)
    assert np.array_equal(curve.thresholds, thresholds)
    assert metrics.auc(curve) == pytest.approx(reference.roc_auc_score(members, scores), abs=1e-12)
    for rate in (0.001, 0.01, 0.2):
        assert metrics.tpr_at(curve, rate) == tpr[fpr <= rate].max()


@given(samples(st.floats(-100, 100, width=32)), st.randoms(use_true_random=False))
def test_only_the_order_matters(sample, random):
    scores, members = sample
    curve = metrics.roc(scores, members)
    order = np.array(random.sample(range(scores.size), scores.size))
    # Halving and shifting exponents is exact, hence strictly monotone in floating point.
    for other in (metrics.roc(scores[order], members[order]), metrics.roc(8 * scores, members)):
        assert np.array_equal(other.tp, curve.tp)
        assert np.array_equal(other.fp, curve.fp)
    turned = metrics.roc(-scores, members)
    assert metrics.auc(turned) == pytest.approx(1 - metrics.auc(curve), abs=1e-12)
    swapped = metrics.roc(scores, ~members)
    assert metrics.auc(swapped) == pytest.approx(1 - metrics.auc(curve), abs=1e-12)


def test_constant_scores_are_one_step():
    members = np.array([True, False, False, True, True])
    curve = metrics.roc(np.full(5, 0.3), members)
    assert curve.tp.tolist() == [0, 3]
    assert curve.fp.tolist() == [0, 2]
    assert metrics.auc(curve) == 0.5
    assert metrics.tpr_at(curve, 0.5) == 0


def test_shapes_other_than_flat_and_single_precision():
    rng = np.random.default_rng(0)
    members = rng.random((4, 25)) < 0.5
    scores = rng.normal(size=(4, 25)).astype(np.float32)
    table, flat = metrics.roc(scores, members), metrics.roc(scores.ravel(), members.ravel())
    assert np.array_equal(table.tp, flat.tp)
    assert np.all(np.isin(table.thresholds[1:], scores))


@pytest.mark.parametrize("negatives", [300, 3000, 999, 1000, 1001])
def test_resolution_is_decided_in_integers(negatives):
    members = np.arange(negatives + 10) < 10
    curve = metrics.roc(-np.arange(negatives + 10.0), members)
    found = metrics.tpr_at(curve, 0.001)
    assert np.isnan(found) == (negatives < 1000)
    assert metrics.tpr_at(curve, 0.01) == 1


def test_precision_is_that_of_the_chosen_vertex():
    # Above the 1 % vertex: 30 of 100 members and 1 of 200 non-members.
    scores = np.concatenate([np.full(30, 3.0), np.zeros(70), np.full(1, 3.0), np.zeros(199)])
    members = np.arange(300) < 100
    curve = metrics.roc(scores, members)
    assert metrics.tpr_at(curve, 0.01) == 0.3
    assert fpr_at(curve, 0.01) == 0.005
    assert np.isnan(fpr_at(curve, 0.001))
    assert metrics.precision_at(curve, 0.01) == pytest.approx(0.3 / (0.3 + 0.005))
    assert np.isnan(metrics.precision_at(metrics.roc(0 * scores, members), 0.01))
    assert np.isnan(metrics.precision_at(curve, 0.001))
