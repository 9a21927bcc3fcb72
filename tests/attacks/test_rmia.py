"""RMIA against a loop over pairs, its ties, its tuning and its cost."""

import time
from dataclasses import replace

import numpy as np
import pytest
from public_views import public_view, with_confidence
from slow_shadows import for_each, losses, out_mean, sides
from views import random_outputs, view_of

from dpbench.attacks.base import Access, AccessError, NotApplicable
from dpbench.attacks.rmia import SCALES, Rmia
from dpbench.testing import auc, check_attack, plant, standard_error

ATTACKS = [
    Rmia(),
    Rmia(gamma=2.0),
    Rmia(mode="offline"),
    Rmia(mode="offline", a=0.3, gamma=1.5),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_contract(attack):
    check_attack(attack)


def adaptive(*args, **changes):
    """A view in which every target is a shadow of the others, on public points too."""
    view = public_view(*args, **changes)
    return replace(view, shadows=view.target)


def slow(attack, chance, shadows, z_chance, z_shadows, members, scale):
    """Compares every point with every public point; `scale` is the a of each target."""
    others = [[s for s in range(len(members)) if s != t] for t in range(len(members))]

    def average(mean, t):
        return ((1 + scale[t]) * mean + 1 - scale[t]) / 2 if attack.mode == "offline" else mean

    def z_ratios(t):
        means = [np.mean([z_shadows[s, z] for s in others[t]]) for z in range(z_chance.shape[1])]
        return [own / average(mean, t) for own, mean in zip(z_chance[t], means, strict=True)]

    against = [z_ratios(t) for t in range(len(members))]

    def score(t, i):
        if attack.mode == "offline":
            p_x = average(out_mean(shadows, members, t, i), t)
        else:
            p_x = np.mean([np.mean(side) for side in sides(shadows, members, t, i) if side])
        return np.mean([(chance[t, i] / p_x) / ratio > attack.gamma for ratio in against[t]])

    return for_each(members, score)


def tuned_by_hand(shadows, members):
    """The a of each target: the best on the models of the other parity, one by one."""
    models = np.arange(len(members))
    scales = np.empty(len(members))
    for parity in (0, 1):
        half = models % 2 != parity
        own, bits = shadows[half], members[half]
        means = for_each(bits, lambda t, i, own=own, bits=bits: out_mean(own, bits, t, i))
        ratios = [own / (((1 + a) * means + 1 - a) / 2) for a in SCALES]
        found = [np.mean([auc(s, b) for s, b in zip(r, bits, strict=True)]) for r in ratios]
        scales[models % 2 == parity] = SCALES[int(np.argmax(found))]
    return scales


def setting(seed, models, points, public, classes=4):
    outputs, labels, members = random_outputs(seed, models, points, classes)
    z_outputs, z_labels, _ = random_outputs(seed + 1, models, public, classes)
    return outputs, labels, z_outputs, z_labels, members


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("gamma", [1.0, 2.0])
@pytest.mark.parametrize("models", [2, 5, 8])
def test_scores_are_those_of_a_loop_over_pairs(mode, gamma, models):
    attack = Rmia(mode=mode, gamma=gamma, a=0.3)
    outputs, labels, public, public_labels, members = setting(models, models, 12, 25)
    chance, z_chance = np.exp(-losses(outputs, labels)), np.exp(-losses(public, public_labels))
    found = attack.score(adaptive(outputs, labels, public, public_labels, members))
    scale = np.full(models, 0.3)
    expected = slow(attack, chance, chance, z_chance, z_chance, members, scale)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_static_shadows_say_what_is_usual(mode):
    attack = Rmia(mode=mode, a=0.6)
    outputs, labels, public, public_labels, members = setting(3, 6, 12, 25)
    shadows, _, z_shadows, _, _ = setting(30, 6, 12, 25)
    inputs = np.zeros((25, 2), np.float32)
    targets, usual = (
        public_view(*given, public_labels, members, reference_inputs=inputs)
        for given in ((outputs, labels, public), (shadows, labels, z_shadows))
    )
    view = replace(targets, shadows=usual.target)
    chances = [np.exp(-losses(o, labels)) for o in (outputs, shadows)]
    z_chances = [np.exp(-losses(o, public_labels)) for o in (public, z_shadows)]
    expected = slow(attack, *chances, *z_chances, members, np.full(6, 0.6))
    np.testing.assert_allclose(attack.score(view), expected, atol=1e-9)


def test_a_is_tuned_by_attacking_shadows_with_shadows_of_the_other_half():
    attack = Rmia(mode="offline")
    rng = np.random.default_rng(0)
    labels, public_labels = rng.integers(3, size=40), rng.integers(3, size=150)
    members = rng.random((8, 40)) < 0.5
    hard = 2 * rng.standard_normal(40)
    outputs = with_confidence(hard + 2 * members + rng.standard_normal((8, 40)), labels, 3)
    z_hard = 2 * rng.standard_normal(150)
    public = with_confidence(z_hard + rng.standard_normal((8, 150)), public_labels, 3)
    view = adaptive(outputs, labels, public, public_labels, members, budget=None)
    chance = np.exp(-losses(outputs, labels))
    scales = tuned_by_hand(chance, members)
    found = attack.score(view)
    for t, scale in enumerate(scales):
        fixed = Rmia(mode="offline", a=float(scale)).score(view)
        assert np.array_equal(found[t], fixed[t])
    assert scales.max() > 0


def test_ties_do_not_win_and_scores_are_shares_of_the_public_points():
    outputs, labels, public, public_labels, members = setting(4, 5, 20, 8)
    public[:, :] = [0.7, 0.1, 0.1, 0.1]
    outputs[:, :] = [0.7, 0.1, 0.1, 0.1]
    view = adaptive(outputs, labels, public, public_labels, members, budget=None)
    assert (Rmia().score(view) == 0).all()
    assert (Rmia(gamma=0.999).score(view) == 1).all()
    outputs, labels, public, public_labels, members = setting(4, 5, 20, 8)
    scores = Rmia().score(adaptive(outputs, labels, public, public_labels, members))
    assert np.isin(scores * 8, np.arange(9)).all()


@pytest.mark.parametrize("attack", ATTACKS[:3], ids=lambda attack: attack.label())
def test_it_beats_one_threshold_for_all_points(attack):
    planted = plant(models=48, points=400, effect=1.5, seed=1, spread=2.0, public=2000)
    members = planted.members
    found = auc(attack.score(planted.view(access=Access.SCORE, budget=2)), members)
    assert found > planted.global_auc + 0.08
    assert found < planted.calibrated_auc + 4 * standard_error(members)


def test_it_asks_once_about_the_points_and_once_about_the_public_ones():
    view = adaptive(*setting(2, 4, 6, 5))
    Rmia().score(view)
    assert view.target.queries == 2
    with pytest.raises(AccessError, match="budget of 1"):
        Rmia().score(adaptive(*setting(2, 4, 6, 5), budget=1))


def test_what_it_lacks_is_said():
    with pytest.raises(NotApplicable, match="public points"):
        Rmia().score(view_of(*random_outputs(0, 4, 5, 3)))
    with pytest.raises(NotApplicable, match="four models"):
        Rmia(mode="offline").score(adaptive(*setting(2, 3, 20, 5)))
    with pytest.raises(NotApplicable, match="no shadow"):
        Rmia().score(adaptive(*setting(2, 1, 6, 5)))


def test_its_time_does_not_grow_with_points_times_public_points():
    view = adaptive(*setting(1, 64, 1000, 5000))
    started = time.process_time()
    Rmia().score(view)
    # About 0.3 s; the 3.2e8 pairs would take several.
    assert time.process_time() - started < 2.0
