"""Attack S: ranks among the pooled OUT losses of shadows."""

import numpy as np
import pytest
from scipy.stats import rankdata
from slow_shadows import for_each, losses, sides
from views import random_outputs, view_of

from dpbench.attacks.attack_s import AttackS
from dpbench.attacks.base import Access, NotApplicable
from dpbench.attacks.malt import Malt
from dpbench.testing import auc, check_attack, plant

ATTACKS = [AttackS(), AttackS(per_class=True)]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_contract(attack):
    check_attack(attack)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
@pytest.mark.parametrize("static", [False, True])
def test_scores_are_those_of_a_loop(attack, static):
    outputs, labels, members = random_outputs(5, 6, 25, 4)
    shadows = random_outputs(99, 6, 25, 4)[0] if static else outputs
    own, others = losses(outputs, labels), losses(shadows, labels)

    def slow(t, i):
        same = [j for j in range(25) if not attack.per_class or labels[j] == labels[i]]
        pooled = [loss for j in same for loss in sides(others, members, t, j)[1]]
        return np.mean([(p > own[t, i]) + (p == own[t, i]) / 2 for p in pooled])

    found = attack.score(view_of(outputs, labels, members, shadows))
    np.testing.assert_allclose(found, for_each(members, slow), atol=1e-12)


def test_within_a_target_it_orders_points_as_malt_does():
    planted = plant(models=12, points=200, effect=1.5, seed=0)
    view = planted.view(access=Access.SCORE)
    ours, malt = AttackS().score(view), Malt().score(view)
    for one, other in zip(ours, malt, strict=True):
        order = np.argsort(other)
        assert (np.diff(one[order]) >= 0).all()
        # Pooled losses are many, but finitely many: neighbours may tie.
        np.testing.assert_allclose(rankdata(one), rankdata(other), atol=4)
    assert auc(ours, planted.members) == pytest.approx(auc(malt, planted.members), abs=0.01)


def test_classes_of_different_difficulty_need_thresholds_of_their_own():
    rng = np.random.default_rng(3)
    labels, members = rng.integers(2, size=400), rng.random((16, 400)) < 0.5
    phi = 4.0 * labels + members + rng.standard_normal((16, 400))
    chance = 1 / (1 + np.exp(-phi))
    outputs = np.where(labels[:, None] == [0, 1], chance[..., None], 1 - chance[..., None])
    pooled, per_class = (auc(a.score(view_of(outputs, labels, members)), members) for a in ATTACKS)
    assert per_class > pooled + 0.1


def test_one_model_has_no_shadow():
    with pytest.raises(NotApplicable, match="no shadow"):
        AttackS().score(view_of(*random_outputs(0, 1, 5, 3)))
