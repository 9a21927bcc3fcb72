"""Planted public points: scored as non-members are, and guarded by the contract check."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import kstest

from dpbench.attacks.base import Access, Attack
from dpbench.attacks.toolbox.confidence import logit
from dpbench.testing import check_attack, plant


@pytest.mark.parametrize("effect", [0.0, 3.0])
@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_public_points_are_scored_as_non_members_are(effect, spread):
    planted = plant(models=8, points=50, effect=effect, seed=0, spread=spread, public=3000)
    view = planted.view(access=Access.SCORE)
    phi = logit(view.target.scores(view.reference_inputs), view.reference_labels)
    assert phi.shape == (8, 3000)
    assert kstest(phi[0], "norm", (0, np.sqrt(1 + spread**2))).pvalue > 1e-3
    # Models share the difficulty of a point and nothing else.
    assert phi.mean(0).var() == pytest.approx(spread**2 + 1 / 8, rel=0.15)


def test_there_are_twice_as_many_as_challenge_points_or_as_asked():
    for public, expected in ((None, 40), (7, 7), (0, 0)):
        planted = plant(models=3, points=20, effect=1.0, seed=1, public=public, shape=(1, 3, 3))
        view = planted.view(access=Access.SCORE)
        assert view.reference_inputs.shape == (expected, 1, 3, 3)
        assert view.reference_labels.shape == (expected,)
        assert view.target.scores(view.reference_inputs).shape == (3, expected, 10)
    with pytest.raises(ValueError, match="number of challenge points"):
        plant(models=3, points=20, effect=1.0, seed=1, public=20)


def test_they_change_nothing_about_the_challenge_points():
    one, other = (plant(models=3, points=20, effect=1.0, seed=2, public=n) for n in (0, 50))
    assert np.array_equal(one.target.outputs(), other.target.outputs())
    assert np.array_equal(one.members, other.members)


def test_static_shadows_answer_on_the_same_public_points():
    planted = plant(models=16, points=20, effect=1.0, seed=3, shadows_effect=2.0, spread=3.0)
    view = planted.view(access=Access.SCORE)
    target, shadows = (
        logit(oracle.scores(view.reference_inputs), view.reference_labels)
        for oracle in (view.target, view.shadows)
    )
    assert np.corrcoef(target.mean(0), shadows.mean(0))[0, 1] > 0.95
    assert not np.allclose(target, shadows)


@dataclass(frozen=True, kw_only=True)
class ReadsItsOwnShadow(Attack):
    """Takes what all shadows think of the public points for a scale, the target's own row too."""

    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = "made up"

    @property
    def budget(self):
        return 1

    def score(self, view):
        public = logit(view.shadows.scores(view.reference_inputs), view.reference_labels)
        return logit(view.target.scores(), view.labels) - public.mean()


def test_the_check_catches_an_attack_that_reads_its_own_row_on_public_points():
    with pytest.raises(AssertionError, match="its own row of the shadows"):
        check_attack(ReadsItsOwnShadow())


@dataclass(frozen=True, kw_only=True)
class NeedsThePublic(Attack):
    """Measures confidence from that on public points, of which it takes there to be some."""

    reference: ClassVar[str] = "made up"

    @property
    def budget(self):
        return 2

    def score(self, view):
        public = logit(view.target.scores(view.reference_inputs), view.reference_labels)
        lowest = public.sum(1, keepdims=True) / np.float64(len(view.reference_labels) or np.nan)
        return logit(view.target.scores(), view.labels) - lowest


def test_the_check_catches_an_attack_that_cannot_do_without_public_points():
    with pytest.raises(AssertionError, match=r"not finite \(0 public points\)"):
        check_attack(NeedsThePublic())
