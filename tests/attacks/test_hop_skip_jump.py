"""The boundary search against exact distances of linear models, and what it spends."""

import numpy as np
import pytest
from linear_models import Linear, draw
from scipy.stats import spearmanr

from dpbench.attacks.toolbox.hop_skip_jump import Box, boundary_distances


def box(features, reach=100.0, unit=1.0):
    ones = np.ones(features, np.float32)
    return Box(-reach * ones, reach * ones, unit * ones)


def search(linear, labels, queries, limits, *, seed=0, budget=None, signed=False):
    oracle = linear.oracle(budget)
    return boundary_distances(
        oracle,
        linear.inputs,
        labels=labels,
        predicted=oracle.predictions(),
        queries=queries,
        box=limits,
        seed=seed,
        signed=signed,
    )


@pytest.mark.parametrize("features", [50, 200])
def test_2500_queries_find_the_exact_distance_of_linear_models(features):
    linear, labels = draw(models=2, points=60, features=features)
    found, exact = search(linear, labels, 2499, box(features)), linear.exact(labels)
    right = exact > 0
    assert 0.5 < right.mean() < 1.0
    assert np.array_equal(found > 0, right)
    assert (found >= exact * (1 - 1e-4)).all()
    assert np.median(found[right] / exact[right] - 1) < 0.01
    assert spearmanr(found[right], exact[right]).statistic > 0.99


@pytest.mark.parametrize("features", [1, 2, 3, 10])
def test_few_features_need_few_queries(features):
    linear, labels = draw(models=2, points=80, features=features, classes=2)
    found, exact = search(linear, labels, 400, box(features)), linear.exact(labels)
    np.testing.assert_allclose(found, exact, rtol=0.02, atol=1e-4)


def test_where_the_box_binds_distances_are_larger_and_questions_stay_inside():
    linear, labels = draw(models=2, points=60, features=40)
    limits = box(40, reach=float(np.abs(linear.inputs).max()))
    found, exact = search(linear, labels, 1500, limits), linear.exact(labels)
    assert (found >= exact * (1 - 1e-4)).all()
    tight = box(40, reach=1.0)
    linear.inputs = np.clip(linear.inputs, -1, 1)
    linear.asked.clear()
    found, exact = search(linear, labels, 1500, tight), linear.exact(labels)
    right = exact > 0
    assert (found >= exact * (1 - 1e-4)).all()
    # The bound may bind a little or a lot; it never doubles the typical distance here.
    assert 1 < np.median(found[right] / exact[right]) < 2
    assert max(np.abs(inputs).max() for _, _, inputs in linear.asked) <= 1.0


def test_distances_are_in_raw_units():
    linear, labels = draw(models=2, points=40, features=20)
    unit = np.linspace(0.2, 3.0, 20).astype(np.float32)
    found = search(linear, labels, 1500, box(20, unit=unit))
    exact = linear.exact(labels, unit)
    right = exact > 0
    assert np.median(found[right] / exact[right] - 1) < 0.01
    assert (found >= exact * (1 - 1e-4)).all()


def test_every_distance_was_seen():
    linear, labels = draw(models=2, points=30, features=12)
    found = search(linear, labels, 300, box(12))
    seen = {}
    for models, points, inputs in linear.asked:
        answers = np.einsum("kcd,kbd->kbc", linear.weights[models], inputs).argmax(-1)
        far = np.linalg.norm(inputs - linear.inputs[points][:, None], axis=2)
        for m, i, d, a in zip(models, points, far, answers, strict=True):
            seen.setdefault((m, i), []).extend(d[a != labels[i]])
    for (m, i), distances in seen.items():
        assert np.abs(np.array(distances) - found[m, i]).min() < 1e-4 * found[m, i]
    assert len(seen) == (found > 0).sum()


@pytest.mark.parametrize("queries", [1, 2, 5, 9, 17, 40, 99, 250, 700])
def test_no_pair_is_asked_about_more_often_than_allowed(queries):
    linear, labels = draw(models=3, points=25, features=30)
    found = search(linear, labels, queries, box(30), budget=queries + 1)
    counts = linear.counts()
    assert counts.max() <= queries
    assert (counts[found == 0] == 0).all()
    # What is left over would not pay for another round.
    assert counts[found > 0].min() >= min(queries - 20, 0.7 * queries - 3)


def test_more_queries_find_shorter_distances():
    linear, labels = draw(models=2, points=60, features=80)
    means = [search(linear, labels, q, box(80)).mean() for q in (5, 40, 150, 600, 2400)]
    assert (np.diff(means) < 0).all()


def test_the_seed_decides():
    linear, labels = draw(models=2, points=20, features=30)
    first, again, other = (search(linear, labels, 200, box(30), seed=s) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_model_is_searched_as_if_it_were_alone():
    linear, labels = draw(models=3, points=20, features=30)
    together = search(linear, labels, 300, box(30))
    alone = search(Linear(linear.weights[1:2], linear.inputs), labels, 300, box(30))
    np.testing.assert_array_equal(together[1], alone[0])


def test_a_constant_model_is_as_far_away_as_the_box_allows():
    linear, labels = draw(models=2, points=20, features=6, classes=3)
    linear.weights[0] = 0.0
    labels[:5] = 0
    limits = box(6, reach=5.0)
    found = search(linear, labels, 300, limits)
    farthest = np.linalg.norm(5.0 + np.abs(linear.inputs), axis=1)
    np.testing.assert_allclose(found[0], np.where(labels == 0, farthest, 0.0), rtol=1e-6)
    assert (found[1] < farthest).all()


def test_where_the_model_says_the_same_about_all_points_noise_is_a_start():
    rng = np.random.default_rng(0)
    inputs = (3 + 0.1 * rng.standard_normal((20, 8))).astype(np.float32)
    weights = np.zeros((1, 2, 8), np.float32)
    weights[0, 0], weights[0, 1] = 1.0, -1.0
    linear, labels = Linear(weights, inputs), np.zeros(20, int)
    found = search(linear, labels, 500, box(8, reach=10.0))
    np.testing.assert_allclose(found, linear.exact(labels), rtol=0.01)


def test_no_pair_no_question():
    linear, _ = draw(models=2, points=10, features=6, classes=3)
    wrong = (linear.pool().argmax(-1) + 1) % 3
    linear.weights[1] = linear.weights[0]
    assert (search(linear, wrong[0], 100, box(6)) == 0).all()
    assert not linear.asked


def signed_gaps(linear, labels):
    """Returns `(M, n)` the exact signed distances to the boundary between two classes."""
    logits, gaps = linear.pool(), linear.weights[:, 1] - linear.weights[:, 0]
    towards = (logits[..., 1] - logits[..., 0]) * (2 * labels - 1)
    return towards / np.linalg.norm(gaps, axis=1)[:, None]


def test_signed_distances_of_misclassified_points_lead_to_their_label():
    linear, labels = draw(models=3, points=60, features=20, classes=2)
    exact = signed_gaps(linear, labels)
    found = search(linear, labels, 800, box(20), budget=801, signed=True)
    assert 0.1 < (exact < 0).mean() < 0.5
    assert np.array_equal(np.sign(found), np.sign(exact))
    assert (np.abs(found) >= np.abs(exact) * (1 - 1e-4)).all()
    assert np.median(found / exact - 1) < 0.01
    plain = search(linear, labels, 800, box(20))
    np.testing.assert_array_equal(np.maximum(found, 0), plain)


def test_with_several_classes_the_far_side_is_the_label_alone():
    linear, labels = draw(models=3, points=60, features=20)
    found = search(linear, labels, 400, box(20), signed=True)
    wrong = linear.pool().argmax(-1) != labels
    assert np.array_equal(found < 0, wrong)
    # The label's region lies behind all boundaries between it and the point.
    logits = linear.pool()
    for m, i in np.argwhere(wrong):
        far = [
            (logits[m, i, k] - logits[m, i, labels[i]])
            / np.linalg.norm(linear.weights[m, k] - linear.weights[m, labels[i]])
            for k in range(5)
            if k != labels[i]
        ]
        assert -found[m, i] >= max(far) * (1 - 1e-4)
        assert -found[m, i] <= 3 * max(far)


def test_a_label_that_a_model_gives_to_no_point_is_looked_for_in_noise():
    rng = np.random.default_rng(0)
    inputs = (3 + 0.1 * rng.standard_normal((20, 8))).astype(np.float32)
    weights = np.zeros((1, 2, 8), np.float32)
    weights[0, 0], weights[0, 1] = 1.0, -1.0
    linear, labels = Linear(weights, inputs), np.arange(20) % 2
    found = search(linear, labels, 500, box(8, reach=10.0), budget=501, signed=True)
    np.testing.assert_allclose(found, signed_gaps(linear, labels), rtol=0.01)
    linear.weights[:] = 0.0
    farthest = np.linalg.norm(10.0 + np.abs(inputs), axis=1)
    found = search(linear, labels, 500, box(8, reach=10.0), budget=501, signed=True)
    np.testing.assert_allclose(found[0], np.where(labels == 0, farthest, -farthest), rtol=1e-6)
