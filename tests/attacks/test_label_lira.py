"""Label LiRA against a loop, and what labels can tell."""

import numpy as np
import pytest
from slow_shadows import for_each, sides
from views import random_outputs, view_of

from dpbench.attacks.base import Access, NotApplicable
from dpbench.attacks.gap import Gap
from dpbench.attacks.label_lira import LabelLira
from dpbench.testing import auc, check_attack, plant


def test_contract():
    check_attack(LabelLira())


def slow(outputs, shadows, labels, members):
    correct, known = outputs.argmax(-1) == labels, shadows.argmax(-1) == labels
    models, points = members.shape
    half = (models - 1) / 2

    def score(t, i):
        pairs = [sides(known, members, t, j) for j in range(points)]
        gap = np.mean([np.mean(a) - np.mean(b) for a, b in pairs if a and b])
        inside, outside = pairs[i]
        f_in = np.mean(inside) if inside else np.mean(outside) + gap
        f_out = np.mean(outside) if outside else np.mean(inside) - gap
        p_in, p_out = ((half * np.clip(f, 0, 1) + 0.5) / (half + 1) for f in (f_in, f_out))
        return np.log(p_in / p_out) if correct[t, i] else np.log((1 - p_in) / (1 - p_out))

    return for_each(members, score)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("models", [3, 4, 11])
def test_scores_are_those_of_a_loop(static, models):
    outputs, labels, members = random_outputs(models, models, 20, 3)
    shadows = random_outputs(99, models, 20, 3)[0] if static else outputs
    found = LabelLira().score(view_of(outputs, labels, members, shadows, access=Access.LABEL))
    np.testing.assert_allclose(found, slow(outputs, shadows, labels, members), atol=1e-12)


def test_where_all_shadows_agree_labels_say_nothing_whatever_the_counts():
    outputs, labels, members = random_outputs(1, 9, 12, 3)
    outputs[:] = outputs[0]
    targets = random_outputs(2, 9, 12, 3)[0]
    members[:, 0] = np.arange(9) < 2
    scores = LabelLira().score(view_of(targets, labels, members, outputs, access=Access.LABEL))
    np.testing.assert_allclose(scores, 0.0, atol=1e-12)


def test_balanced_counts_do_not_betray_the_target():
    outputs, labels, _ = random_outputs(1, 8, 300, 3)
    members = np.random.default_rng(0).permuted(np.tile([[True], [False]], (4, 300)), axis=0)
    outputs[:] = outputs[0]
    scores = LabelLira().score(view_of(outputs, labels, members, access=Access.LABEL))
    assert auc(scores, members) == 0.5


def test_knowing_each_point_beats_the_gap_attack():
    planted = plant(models=48, points=400, effect=2.0, seed=0, spread=2.0)
    view = planted.view(access=Access.LABEL, budget=2)
    ours, gap = (auc(a.score(view), planted.members) for a in (LabelLira(), Gap()))
    assert ours > gap + 0.05


def test_one_model_has_no_shadow():
    with pytest.raises(NotApplicable, match="no shadow"):
        LabelLira().score(view_of(*random_outputs(0, 1, 5, 3), access=Access.LABEL))
