"""The script's LiRA against a loop that says what the script computes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from views import random_outputs, view_of

from dpbench.attacks import Access, LiraOfficial, NotApplicable
from dpbench.attacks.lira import Lira
from dpbench.attacks.lira_official import leave_one_out_median
from dpbench.attacks.toolbox.confidence import hinge, logit
from dpbench.testing import auc, check_attack, plant

ATTACKS = [
    LiraOfficial(),
    LiraOfficial(variance="per_example"),
    LiraOfficial(mode="offline"),
    LiraOfficial(mode="offline", variance="per_example"),
]


@pytest.mark.parametrize("attack", [*ATTACKS, Lira(statistic="hinge")], ids=lambda a: a.label())
def test_contract(attack):
    check_attack(attack)


def slow_score(attack, phi, members, t, i):
    others = np.arange(len(phi)) != t
    inside, outside = (phi[others & (members[:, i] == side), i] for side in (True, False))
    all_in, all_out = (phi[others][members[others] == side] for side in (True, False))
    if attack.variance == "per_example":
        sd_in, sd_out = inside.std(), outside.std()
    else:
        sd_in = all_in.std()
        sd_out = sd_in if attack.mode == "online" else all_out.std()
    log_out = norm.logpdf(phi[t, i], np.median(outside), sd_out)
    if attack.mode == "offline":
        # The constant of the density is the same for all.
        return -log_out - np.log(2 * np.pi) / 2
    return norm.logpdf(phi[t, i], np.median(inside), sd_in) - log_out


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_scores_are_those_of_a_loop(attack):
    outputs, labels, _ = random_outputs(3, 14, 20, 4)
    members = (np.arange(14)[:, None] * 5 + np.arange(20)) % 3 == 0
    found = attack.score(view_of(outputs, labels, members))
    phi = logit(outputs, labels)
    slow = [[slow_score(attack, phi, members, t, i) for i in range(20)] for t in range(14)]
    np.testing.assert_allclose(found, slow, rtol=1e-9, atol=1e-9)


@given(st.integers(2, 9), st.integers(0, 2**32 - 1), st.booleans())
def test_the_median_leaves_one_out(models, seed, tied):
    rng = np.random.default_rng(seed)
    values = rng.integers(3, size=(models, 6)) * 1.0 if tied else rng.standard_normal((models, 6))
    include = rng.random((models, 6)) < 0.6
    rows = range(models)
    known = np.array([[include[np.arange(models) != t, i].any() for i in range(6)] for t in rows])
    if not known.any(1).all():
        with pytest.raises(NotApplicable):
            leave_one_out_median(values, include)
        return
    found = leave_one_out_median(values, include)
    for t in rows:
        others = np.arange(models) != t
        medians = [np.median(values[others & include[:, i], i]) for i in np.flatnonzero(known[t])]
        np.testing.assert_array_equal(found[t, known[t]], medians)
        np.testing.assert_array_equal(found[t, ~known[t]], np.median(medians))


def test_offline_it_calls_the_unusually_doubtful_members_too():
    planted = plant(models=40, points=300, effect=-4.0, seed=0)
    view = planted.view(access=Access.SCORE)
    assert auc(LiraOfficial(mode="offline").score(view), planted.members) > 0.7
    view = planted.view(access=Access.SCORE)
    assert auc(Lira(mode="offline").score(view), planted.members) < 0.2


def test_the_hinge_is_the_margin_of_the_logits():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((3, 20, 5))
    labels = rng.integers(5, size=20)
    outputs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for m in range(3):
        for i, label in enumerate(labels):
            rival = max(value for k, value in enumerate(logits[m, i]) if k != label)
            assert hinge(outputs, labels)[m, i] == pytest.approx(logits[m, i, label] - rival)
