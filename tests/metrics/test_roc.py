import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dpbench import metrics
from dpbench.metrics.roc import fpr_at, guessed_at

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
        found = metrics.tpr_at(curve, rate)
        if outside.size * rate < 1 - 1e-12:
            assert np.isnan(found)
        else:
            assert found == pytest.approx(on_chord(vertices, rate), abs=1e-9)


def on_chord(vertices, rate):
    """The curve with straight lines between vertices; at a step, its upper end."""
    reached = [(f, t) for f, t in vertices if f <= rate + 1e-12]
    (low, start), rest = reached[-1], vertices[len(reached) :]
    if not rest:
        return start
    high, end = rest[0]
    return start + (end - start) * (rate - low) / (high - low)


@given(samples(), st.integers(0, 2**32))
def test_guessing_among_ties_reaches_the_chord(sample, seed):
    """What a randomised attacker finds on average, who breaks ties by coin flips."""
    scores, members = (np.tile(part, 60) for part in sample)
    rate = 0.25
    draws = np.random.default_rng(seed).random((200, scores.size))
    found = []
    for noise in draws:
        order = np.lexsort((noise, -scores))
        outsiders = np.cumsum(~members[order])
        named = order[outsiders <= rate * np.count_nonzero(~members)]
        found.append(members[named].sum() / members.sum())
    assert np.mean(found) == pytest.approx(
        metrics.tpr_at(metrics.roc(scores, members), rate), abs=0.04
    )


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
        # Among vertices of one FPR, np.interp takes the last, as the largest TPR wants.
        assert metrics.tpr_at(curve, rate) == pytest.approx(np.interp(rate, fpr, tpr), abs=1e-12)


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
    assert metrics.tpr_at(curve, 0.5) == 0.5
    assert guessed_at(curve, 0.5) == (5, 1.0)


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


def test_precision_is_that_of_the_chosen_point():
    # The 1 % that the vertex with 30 of 100 members and 1 of 200 non-members leaves is guessed.
    scores = np.concatenate([np.full(30, 3.0), np.zeros(70), np.full(1, 3.0), np.zeros(199)])
    members = np.arange(300) < 100
    curve = metrics.roc(scores, members)
    found = 0.3 + 0.7 * 1 / 199
    assert metrics.tpr_at(curve, 0.01) == pytest.approx(found)
    assert fpr_at(curve, 0.01) == pytest.approx(0.01)
    assert np.isnan(fpr_at(curve, 0.001))
    assert metrics.precision_at(curve, 0.01) == pytest.approx(found / (found + 0.01))
    assert metrics.precision_at(metrics.roc(0 * scores, members), 0.01) == pytest.approx(0.5)
    assert guessed_at(curve, 0.01) == (269, 0.5)
    # Scores that differ leave nothing to guess, and nobody found has no precision.
    apart = metrics.roc(np.arange(300.0), members)
    assert guessed_at(apart, 0.01) == (0, 0.0)
    assert fpr_at(apart, 0.012) == 0.01
    assert metrics.precision_at(apart, 0.01) == 0
    assert np.isnan(metrics.precision_at(curve, 0.001))
