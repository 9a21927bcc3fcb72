"""Attack P against a loop, and its promise: at most alpha false positives."""

from dataclasses import replace

import numpy as np
import pytest
from public_views import public_view
from scipy.stats import norm
from views import random_outputs

from dpbench.attacks.attack_p import AttackP
from dpbench.attacks.base import Access, AccessError, NotApplicable
from dpbench.attacks.malt import Malt
from dpbench.testing import auc, check_attack, plant

ATTACKS = [AttackP(), AttackP(per_class=True)]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_contract(attack):
    check_attack(attack)


def setting(seed, models=5, points=40, public=30, classes=4):
    outputs, labels, members = random_outputs(seed, models, points, classes)
    known, known_labels, _ = random_outputs(seed + 1, models, public, classes)
    return outputs, labels, known, known_labels, members


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_scores_are_those_of_a_loop(attack):
    outputs, labels, public, public_labels, members = setting(0)
    found = attack.score(public_view(outputs, labels, public, public_labels, members))
    for t in range(5):
        for i, y in enumerate(labels):
            own = -np.log(outputs[t, i, y])
            losses = [
                -np.log(public[t, z, label])
                for z, label in enumerate(public_labels)
                if not attack.per_class or label == y
            ]
            larger = sum(loss > own for loss in losses)
            assert found[t, i] == pytest.approx(larger / (len(losses) + 1), abs=1e-12)


def test_a_class_without_public_points_is_compared_with_all():
    outputs, labels, public, public_labels, members = setting(1)
    public_labels = np.where(public_labels == 3, 0, public_labels)
    args = (outputs, labels, public, public_labels, members)
    one, other = (attack.score(public_view(*args)) for attack in ATTACKS)
    assert np.array_equal(one[:, labels == 3], other[:, labels == 3])
    assert not np.array_equal(one[:, labels == 0], other[:, labels == 0])


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.3])
def test_non_members_pass_as_often_as_promised(attack, alpha):
    planted = plant(models=40, points=2000, effect=2.0, seed=2)
    scores = attack.score(planted.view(access=Access.SCORE, budget=2))
    non_members = scores[~planted.members]
    found = (non_members >= 1 - alpha).mean()
    # Public points and challenge points are shared by all models: that is what is uncertain.
    error = np.sqrt(alpha * (1 - alpha) / 2000) * 2
    assert found < alpha + 4 * error
    if not attack.per_class:
        assert found == pytest.approx(alpha, abs=4 * error)
        power = norm.sf(norm.isf(alpha) - 2.0 / np.sqrt(2))
        assert (scores[planted.members] >= 1 - alpha).mean() == pytest.approx(power, abs=0.04)


def test_one_target_is_ranked_as_its_losses():
    planted = plant(models=6, points=300, effect=1.0, seed=3)
    view = planted.view(access=Access.SCORE)
    ranked, losses = AttackP().score(view), -Malt().score(planted.view(access=Access.SCORE))
    for scores, loss in zip(ranked, losses, strict=True):
        assert (np.diff(scores[np.argsort(loss)]) <= 0).all()


def test_it_puts_targets_on_one_scale():
    outputs, labels, public, public_labels, members = setting(4, models=6, points=400, public=500)
    # Half of the targets are overconfident throughout.
    for released in (outputs, public):
        released[:3] = released[:3] ** 3
        released[:3] /= released[:3].sum(-1, keepdims=True)
    args = (outputs, labels, public, public_labels, members)
    scores, malt = (attack.score(public_view(*args)) for attack in (AttackP(), Malt()))
    assert malt[:3].mean() < malt[3:].mean() - 2
    assert scores[:3].mean() == pytest.approx(scores[3:].mean(), abs=0.04)


def test_label_only_releases_rank_as_correctness():
    planted = plant(models=12, points=200, effect=2.0, seed=5)
    view = planted.view(access=Access.SCORE)
    one_hot = np.eye(10)[view.target.scores().argmax(-1)]
    public = np.eye(10)[view.target.scores(view.reference_inputs).argmax(-1)]
    masked = public_view(one_hot, view.labels, public, view.reference_labels, view.members)
    scores = AttackP().score(masked)
    wrong_public = (public.argmax(-1) != view.reference_labels).sum(1)
    for row, released, wrong in zip(scores, one_hot, wrong_public, strict=True):
        right = released.argmax(-1) == view.labels
        # An equal loss is not a larger one.
        np.testing.assert_allclose(row[right], wrong / 401)
        assert not row[~right].any()
    assert auc(scores, view.members) > 0.55


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_it_needs_public_points_and_two_queries(attack):
    planted = plant(models=4, points=20, effect=1.0, seed=6)
    view = planted.view(access=Access.SCORE, budget=attack.budget)
    attack.score(view)
    assert view.target.queries == attack.budget == 2
    with pytest.raises(AccessError, match="budget of 1"):
        attack.score(planted.view(access=Access.SCORE, budget=1))
    none = replace(
        view, reference_inputs=view.reference_inputs[:0], reference_labels=np.zeros(0, np.int64)
    )
    with pytest.raises(NotApplicable, match="public reference points"):
        attack.score(none)
