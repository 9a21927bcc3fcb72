"""MAST against a loop, and where it equals other statistics."""

import numpy as np
import pytest
from views import random_outputs, view_of

from dpbench.attacks import Mast, NotApplicable
from dpbench.testing import auc, plant


def slow(outputs, shadows, labels, members):
    models, points = members.shape
    loss = -np.log(outputs[:, np.arange(points), labels])
    shadow_loss = -np.log(shadows[:, np.arange(points), labels])
    sides = {True: np.full((models, points), np.nan), False: np.full((models, points), np.nan)}
    for t in range(models):
        for i in range(points):
            for side, mean in sides.items():
                rows = [s for s in range(models) if s != t and members[s, i] == side]
                if rows:
                    mean[t, i] = np.mean([shadow_loss[s, i] for s in rows])
    scores = np.empty((models, points))
    for t in range(models):
        both = ~np.isnan(sides[True][t]) & ~np.isnan(sides[False][t])
        gap = np.mean((sides[True][t] - sides[False][t])[both]) if both.any() else 0.0
        for i in range(points):
            inside, outside = sides[True][t, i], sides[False][t, i]
            inside = outside + gap if np.isnan(inside) else inside
            outside = inside - gap if np.isnan(outside) else outside
            scores[t, i] = (inside + outside) / 2 - loss[t, i]
    return scores


@pytest.mark.parametrize("models", [2, 3, 5, 12])
@pytest.mark.parametrize("static", [False, True])
def test_scores_are_those_of_a_loop(models, static):
    outputs, labels, members = random_outputs(models, models, 25, 4)
    shadows = random_outputs(99, models, 25, 4)[0] if static else outputs
    found = Mast().score(view_of(outputs, labels, members, shadows))
    expected = slow(outputs, shadows, labels, members)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_one_model_has_no_shadow():
    with pytest.raises(NotApplicable, match="shadow"):
        Mast().score(view_of(*random_outputs(0, 1, 5, 3)))


def test_label_only_releases_give_finite_scores_that_beat_nothing():
    planted = plant(models=16, points=300, effect=0.0, seed=4)
    labels = planted.target.labels
    one_hot = np.eye(10)[planted.target.outputs().argmax(-1)]
    scores = Mast().score(view_of(one_hot, labels, planted.members))
    assert np.isfinite(scores).all()
    assert auc(scores, planted.members) == pytest.approx(0.5, abs=0.05)


def test_calibration_helps_where_points_differ_in_difficulty():
    from dpbench.attacks import Access, Malt

    planted = plant(models=32, points=400, effect=1.5, seed=5, spread=2.0)
    bits = planted.members
    mast = auc(Mast().score(planted.view(access=Access.SCORE)), bits)
    malt = auc(Malt().score(planted.view(access=Access.SCORE)), bits)
    assert mast > malt + 0.05
