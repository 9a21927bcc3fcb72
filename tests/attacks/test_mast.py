"""MAST against a loop, and where it equals other statistics."""

import itertools

import numpy as np
import pytest
from slow_shadows import for_each, losses, out_mean, sides
from views import random_outputs, view_of

from dpbench.attacks import Mast, NotApplicable
from dpbench.testing import auc, check_attack, plant

THRESHOLDS = ("midpoint", "cut", "soft_min", "out_mean")


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_contract(threshold):
    check_attack(Mast(threshold=threshold))


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


@pytest.mark.parametrize("static", [False, True])
def test_offline_thresholds_are_those_of_a_loop(static):
    outputs, labels, members = random_outputs(7, 6, 25, 4)
    shadows = random_outputs(99, 6, 25, 4)[0] if static else outputs
    own, others = losses(outputs, labels), losses(shadows, labels)
    soft = for_each(members, lambda t, i: -np.log(out_mean(np.exp(-others), members, t, i)))
    mean = for_each(members, lambda t, i: out_mean(others, members, t, i))
    view = view_of(outputs, labels, members, shadows)
    np.testing.assert_allclose(Mast(threshold="soft_min").score(view), soft - own, rtol=1e-9)
    np.testing.assert_allclose(Mast(threshold="out_mean").score(view), mean - own, rtol=1e-9)


def slow_cut(inside, outside, midpoint):
    """Tries every cut between neighbours, by exact counts."""
    values = sorted(set(inside + outside))
    cuts = [(a + b) / 2 for a, b in itertools.pairwise(values)]
    gains = [
        sum(x < cut for x in inside) * len(outside) - sum(x < cut for x in outside) * len(inside)
        for cut in cuts
    ]
    if not gains or max(gains) <= 0:
        return midpoint
    return np.mean([cut for cut, gain in zip(cuts, gains, strict=True) if gain == max(gains)])


@pytest.mark.parametrize("models", [2, 3, 4, 8])
@pytest.mark.parametrize("tied", [False, True])
def test_the_best_cut_is_that_of_a_loop(models, tied):
    outputs, labels, members = random_outputs(models, models, 40, 3)
    if tied:
        few = np.array([[0.2, 0.3, 0.5], [0.5, 0.3, 0.2], [0.4, 0.2, 0.4]])
        outputs = few[np.random.default_rng(1).integers(3, size=members.shape)]
    own = losses(outputs, labels)
    view = view_of(outputs, labels, members)
    midpoint = Mast().score(view) + own

    def cut(t, i):
        return slow_cut(*sides(own, members, t, i), midpoint[t, i])

    found = Mast(threshold="cut").score(view)
    np.testing.assert_allclose(found, for_each(members, cut) - own, rtol=1e-9, atol=1e-9)


def test_the_cut_survives_the_shadow_that_moves_the_midpoint():
    outputs, labels, members = random_outputs(1, 12, 30, 2)
    worse = outputs.copy()
    # One OUT shadow releases 0 for the true class of point 0: loss 103.6.
    shadow = np.flatnonzero(~members[:, 0])[0]
    worse[shadow, 0, labels[0]] = 0.0
    others = np.arange(12) != shadow

    def moved(threshold):
        attack = Mast(threshold=threshold)
        before, after = (attack.score(view_of(o, labels, members)) for o in (outputs, worse))
        return np.abs(after - before)[others, 0].max()

    assert moved("midpoint") > 5
    assert moved("cut") < moved("midpoint") / 2


def test_one_model_has_no_shadow():
    for threshold in THRESHOLDS:
        with pytest.raises(NotApplicable, match="shadow"):
            Mast(threshold=threshold).score(view_of(*random_outputs(0, 1, 5, 3)))


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
