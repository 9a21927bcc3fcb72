"""Attack R: ranks among OUT shadows, with and without smoothing."""

import numpy as np
import pytest
from scipy.special import expit
from slow_shadows import for_each, losses, sides
from views import random_outputs, view_of

from dpbench.attacks.attack_r import AttackR
from dpbench.attacks.base import Access, NotApplicable
from dpbench.attacks.malt import Malt
from dpbench.testing import auc, check_attack, plant, standard_error

ATTACKS = [AttackR(), AttackR(smoothing="kernel")]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_contract(attack):
    check_attack(attack)


def slow_rank(outputs, shadows, labels, members):
    own, others = losses(outputs, labels), losses(shadows, labels)

    def score(t, i):
        outside = sides(others, members, t, i)[1]
        worse = [(loss > own[t, i]) + (loss == own[t, i]) / 2 for loss in outside]
        return np.mean(worse) if worse else 0.5

    return for_each(members, score)


def slow_odds(outputs, shadows, labels, members):
    def phi(scores):
        chance = np.exp(-losses(scores, labels))
        return np.log(chance / (1 - chance))

    own, others = phi(outputs), phi(shadows)
    points = range(members.shape[1])

    def score(t, i):
        outs = [sides(others, members, t, j)[1] for j in points]
        squares = sum(np.var(out) * len(out) for out in outs if out)
        deviation = np.sqrt(squares / sum(len(out) - 1 for out in outs if out))
        count = (len(members) - 1) / 2
        scale = deviation * (4 / (3 * count)) ** 0.2 * np.sqrt(3) / np.pi
        below = sum(expit((own[t, i] - out) / scale) for out in outs[i])
        above = sum(expit((out - own[t, i]) / scale) for out in outs[i])
        return np.log(below / above) if outs[i] else 0.0

    return for_each(members, score)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("models", [3, 4, 9])
def test_scores_are_those_of_a_loop(static, models):
    outputs, labels, members = random_outputs(models, models, 20, 4)
    shadows = random_outputs(99, models, 20, 4)[0] if static else outputs
    view = view_of(outputs, labels, members, shadows)
    given = (outputs, shadows, labels, members)
    np.testing.assert_allclose(ATTACKS[0].score(view), slow_rank(*given), atol=1e-12)
    np.testing.assert_allclose(ATTACKS[1].score(view), slow_odds(*given), rtol=1e-8, atol=1e-8)


def test_a_tie_counts_half():
    outputs, labels, members = random_outputs(1, 6, 15, 3)
    outputs[:] = outputs[0]
    assert (AttackR().score(view_of(outputs, labels, members)) == 0.5).all()


def test_few_shadows_cannot_aim_at_a_small_fpr_and_smoothing_spreads_what_ties():
    planted = plant(models=24, points=500, effect=2.0, seed=0)
    view, members = planted.view(access=Access.SCORE), planted.members
    plain, smooth = (attack.score(view) for attack in ATTACKS)
    assert (plain[~members] == 1.0).mean() > 1 / 24
    assert np.unique(smooth).size == smooth.size
    top = smooth > np.quantile(smooth[~members], 0.999)
    assert members[top].mean() > 0.9


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_it_calibrates_difficulty_away(attack):
    planted = plant(models=64, points=400, effect=1.5, seed=1, spread=3.0)
    view, members = planted.view(access=Access.SCORE), planted.members
    found = auc(attack.score(view), members)
    assert found > auc(Malt().score(view), members) + 0.1
    noise = 4 * standard_error(members)
    assert planted.calibrated_auc - 0.03 < found < planted.calibrated_auc + noise


def test_far_beyond_every_shadow_the_smoothed_score_still_tells_apart():
    outputs, labels, members = random_outputs(2, 8, 10, 2)
    members[:, 0] = False
    outputs[:, 0] = [0.5, 0.5]
    targets = outputs.copy()
    targets[3:6, 0, labels[0]] = [10.0, 1e6, 1e12]
    scores = ATTACKS[1].score(view_of(targets, labels, members, outputs))[3:6, 0]
    assert (np.diff(scores) > 1).all()


def test_one_model_has_no_shadow():
    for attack in ATTACKS:
        with pytest.raises(NotApplicable, match="no shadow"):
            attack.score(view_of(*random_outputs(0, 1, 5, 3)))
