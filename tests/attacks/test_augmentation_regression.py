"""Augmentation regression: scikit-learn's fits, left out exactly, on the views it says."""

import numpy as np
import pytest
from scipy.optimize import minimize
from slow_shadows import for_each
from views import view_of

from dpbench.attacks import (
    Access,
    AugmentationRegression,
    Gap,
    LabelLira,
    NotApplicable,
    Oracle,
)
from dpbench.attacks.toolbox import pattern_regression
from dpbench.attacks.toolbox.augmented import augmented
from dpbench.attacks.toolbox.pattern_regression import left_out_log_odds
from dpbench.testing import auc, check_attack, plant


def test_contract():
    check_attack(AugmentationRegression())
    check_attack(AugmentationRegression(queries=3, scale=0.02, flip_probability=0.2))


def draw(models, points, bits, seed=0, static=False):
    rng = np.random.default_rng(seed)
    members = rng.random((models, points)) < 0.5
    ease = 2 * rng.standard_normal(points) + members + rng.standard_normal((models, points))
    shadows = ease[..., None] + rng.standard_normal((models, points, bits)) > 0
    observed = rng.random(shadows.shape) < 0.5 if static else shadows
    return observed, shadows, members


def slow(observed, shadows, members):
    models = len(members)

    def score(t, i):
        others = np.arange(models) != t
        x, side = shadows[others, i].astype(float), np.where(members[others, i], 1.0, -1.0)
        if abs(side.sum()) == len(side):
            return 0.0

        def loss(w):
            margin = side * (w[0] + x @ w[1:])
            gradient = -side / (1 + np.exp(margin))
            slope = np.r_[gradient.sum(), x.T @ gradient + w[1:]]
            return np.logaddexp(0, -margin).sum() + w[1:] @ w[1:] / 2, slope

        w = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, tol=1e-12, method="BFGS").x
        return w[0] + w[1:] @ observed[t, i]

    return for_each(members, score)


@pytest.mark.filterwarnings("ignore:.*divide by zero.*")
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize(("models", "bits"), [(2, 3), (3, 1), (5, 2), (12, 4), (20, 6)])
def test_scores_are_those_of_fits_on_the_other_models(models, bits, static):
    world = draw(models, 8, bits, seed=models, static=static)
    np.testing.assert_allclose(left_out_log_odds(*world), slow(*world), atol=1e-5)


def test_scores_are_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    observed, shadows, members = draw(30, 4, 5)
    found = left_out_log_odds(observed, shadows, members)

    def score(t, i):
        others = np.arange(30) != t
        model = linear_model.LogisticRegression(C=1, tol=1e-10, max_iter=10_000)
        model.fit(shadows[others, i], members[others, i])
        return model.decision_function(observed[t : t + 1, i])[0]

    np.testing.assert_allclose(found, for_each(members, score), atol=1e-5)


def test_what_is_left_out_leaves_no_trace():
    observed, shadows, members = draw(20, 300, 6, static=True)
    found = left_out_log_odds(observed, shadows, members)
    rng = np.random.default_rng(1)
    for target in (0, 7, 19):
        others, bits = shadows.copy(), members.copy()
        others[target] = rng.random(others[target].shape) < 0.5
        bits[target] = rng.random(300) < 0.5
        again = left_out_log_odds(observed, others, bits)
        assert np.array_equal(again[target], found[target])
        assert not np.array_equal(np.delete(again, target, 0), np.delete(found, target, 0))


def test_halved_steps_lead_to_the_same_place(monkeypatch):
    world = draw(30, 50, 5)
    found = left_out_log_odds(*world)
    monkeypatch.setattr(pattern_regression, "MOST_STEPS", 1)
    np.testing.assert_allclose(left_out_log_odds(*world), found, atol=1e-7)


def test_where_all_views_are_alike_the_shares_of_members_remain():
    members = draw(9, 20, 1)[2]
    right = np.ones((9, 20, 4), bool)
    found = left_out_log_odds(right, right, members)
    inside = members.sum(0) - members
    known = (inside > 0) & (inside < 8)
    odds = inside[known] / (8 - inside[known])
    np.testing.assert_allclose(found[known], np.log(odds), atol=1e-6)
    assert (found[~known] == 0).all()


@pytest.mark.parametrize("image", [False, True])
def test_it_asks_about_the_point_and_its_views(image):
    rng = np.random.default_rng(0)
    shape = (1, 5, 5) if image else (4,)
    inputs, asked = rng.random((30, *shape)).astype(np.float32), []
    outputs = rng.random((6, 30, 3))

    def answer(views):
        asked.append(views)
        return outputs

    attack = AugmentationRegression(queries=7, scale=0.3)
    oracle = Oracle(
        access=Access.LABEL, budget=7, pool_outputs=lambda: answer(inputs), query=answer
    )
    ones = np.ones(shape, np.float32)
    view = view_of(
        outputs,
        rng.integers(3, size=30),
        rng.random((6, 30)) < 0.5,
        inputs=inputs,
        target=oracle,
        low=-9 * ones,
        high=9 * ones,
        unit=2 * ones,
        binary=np.zeros(shape, bool),
        is_image=image,
    )
    scores = attack.score(view)
    assert len(asked) == 7 == attack.budget
    if image:
        views = [inputs if view is None else view for view in augmented(inputs, 7)]
        np.testing.assert_array_equal(np.stack(asked), np.stack(views))
    else:
        noise = np.stack(asked[1:]) - inputs
        assert noise.std() == pytest.approx(0.6, rel=0.1)
        assert not np.array_equal(asked[1], asked[2])
    right = np.repeat((outputs.argmax(-1) == view.labels)[..., None], 7, axis=2)
    np.testing.assert_allclose(scores, left_out_log_odds(right, right, view.members), atol=1e-12)


def test_it_knows_each_point_and_more_than_its_label():
    planted = plant(models=48, points=300, effect=2.0, seed=0, spread=2.0)
    attack = AugmentationRegression(queries=8, flip_probability=0.01)
    found = auc(attack.score(planted.view(access=Access.LABEL, budget=8)), planted.members)
    gap, lira = (
        auc(a.score(planted.view(access=Access.LABEL)), planted.members)
        for a in (Gap(), LabelLira())
    )
    assert found > gap + 0.05
    assert found > lira + 0.01


def test_one_model_has_no_shadow():
    planted = plant(models=1, points=20, effect=1.0, seed=0)
    with pytest.raises(NotApplicable, match="no shadow"):
        AugmentationRegression().score(planted.view(access=Access.LABEL))
