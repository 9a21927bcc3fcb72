"""The two attacks without shadows."""

import numpy as np
import pytest
from views import random_outputs, view_of

from dpbench.attacks import Access, AccessError, Gap, Malt, Oracle
from dpbench.testing import auc


def test_gap_is_correctness_and_its_advantage_the_accuracy_gap():
    outputs, labels, members = random_outputs(0, 6, 50, 4)
    scores = Gap().score(view_of(outputs, labels, members, access=Access.LABEL))
    for t in range(6):
        for i in range(50):
            assert scores[t, i] == float(np.argmax(outputs[t, i]) == labels[i])
    train, test = scores[members].mean(), scores[~members].mean()
    assert auc(scores, members) == pytest.approx(0.5 + (train - test) / 2)


def test_malt_is_minus_cross_entropy():
    outputs, labels, members = random_outputs(1, 6, 50, 4)
    scores = Malt().score(view_of(outputs, labels, members))
    for t in range(6):
        for i in range(50):
            assert scores[t, i] == pytest.approx(np.log(outputs[t, i, labels[i]]), abs=1e-9)


def test_malt_on_one_hot_outputs_is_the_gap_attack():
    outputs, labels, members = random_outputs(2, 8, 40, 5)
    one_hot = np.eye(5, dtype=np.float32)[outputs.argmax(-1)]
    view = view_of(one_hot, labels, members)
    malt, gap = Malt().score(view), Gap().score(view)
    assert np.unique(malt).size == 2
    assert auc(malt, members) == auc(gap, members)


def test_neither_looks_at_the_shadows():
    outputs, labels, members = random_outputs(3, 4, 10, 3)
    closed = Oracle(access=Access.LABEL, budget=0, pool_outputs=lambda: outputs, query=lambda x: x)
    for attack in (Gap(), Malt()):
        view = view_of(outputs, labels, members)
        blind = view_of(outputs, labels, ~members, shadows=None)
        blind = type(blind)(**{**vars(blind), "shadows": closed})
        assert np.array_equal(attack.score(view), attack.score(blind))


def test_malt_needs_scores():
    outputs, labels, members = random_outputs(4, 4, 10, 3)
    with pytest.raises(AccessError, match="score access is needed"):
        Malt().score(view_of(outputs, labels, members, access=Access.LABEL))
