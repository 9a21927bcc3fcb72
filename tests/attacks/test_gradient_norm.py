"""The gradient-norm attack: its statistic, its calibration, and what it declares."""

from dataclasses import replace

import numpy as np
import pytest

from dpbench.attacks import Access, AccessError, GradientNorm, NotApplicable
from dpbench.attacks.toolbox.likelihood_ratio import likelihood_ratio
from dpbench.component import REGISTRIES
from dpbench.errors import UserError
from dpbench.testing import auc, plant


@pytest.mark.parametrize("of", ["weights", "inputs"])
def test_the_global_score_is_minus_the_logarithm_of_the_norm(of):
    planted = plant(models=6, points=30, effect=1.0, seed=0)
    view = planted.view(access=Access.WHITE_BOX, budget=1)
    attack = GradientNorm(of=of, calibration="global")
    assert not attack.needs_shadows
    found = attack.score(view)
    np.testing.assert_allclose(np.exp(-found), planted.target.gradient_norms(of), rtol=1e-12)
    assert view.target.queries == 1
    assert view.shadows.queries == 0


@pytest.mark.parametrize("static", [False, True])
def test_the_calibrated_score_is_the_likelihood_ratio_of_it(static):
    planted = plant(
        models=10, points=30, effect=1.0, seed=1, shadows_effect=2.0 if static else None
    )
    statistics = [-np.log(r.gradient_norms("weights")) for r in (planted.target, planted.shadows)]
    attack = GradientNorm()
    assert attack.needs_shadows
    expected = likelihood_ratio(*statistics, planted.members, variance="per_example")
    view = planted.view(access=Access.WHITE_BOX, budget=1)
    np.testing.assert_allclose(attack.score(view), expected, rtol=1e-9)
    shared = replace(view, shadows=planted.view(access=Access.WHITE_BOX).target)
    shared = replace(shared, target=shared.shadows)
    if not static:
        np.testing.assert_allclose(attack.score(shared), expected, rtol=1e-9)
        assert shared.target.queries == 1


def test_calibration_helps_where_points_differ_in_difficulty():
    planted = plant(models=32, points=400, effect=1.5, seed=2, spread=2.0)
    found = {
        calibration: auc(
            GradientNorm(calibration=calibration).score(planted.view(access=Access.WHITE_BOX)),
            planted.members,
        )
        for calibration in ("per_example", "global")
    }
    assert found["per_example"] > found["global"] + 0.05


def test_gradients_that_vanish_give_finite_scores():
    planted = plant(models=8, points=20, effect=1.0, seed=3)
    sure = replace(planted.target, confidence=1e4 * np.sign(planted.target.confidence))
    assert (sure.gradient_norms("weights") == 0).any()
    planted = replace(planted, target=sure, shadows=sure)
    for calibration in ("per_example", "global"):
        view = planted.view(access=Access.WHITE_BOX)
        assert np.isfinite(GradientNorm(calibration=calibration).score(view)).all()


def test_what_it_cannot_do_is_refused_with_a_reason():
    planted = plant(models=2, points=10, effect=1.0, seed=4)
    with pytest.raises(NotApplicable, match="two shadow models"):
        GradientNorm().score(planted.view(access=Access.WHITE_BOX))
    with pytest.raises(AccessError, match="white_box access"):
        GradientNorm().score(planted.view(access=Access.SCORE))


@pytest.mark.parametrize("fields", [{"of": "logits"}, {"calibration": "none"}, {"norm": 1}])
def test_wrong_fields_are_refused(fields):
    with pytest.raises(UserError, match=r"attacks\.gradient_norm"):
        REGISTRIES["attack"]["gradient_norm"].parse(fields, where="attacks.gradient_norm")
