"""The outlier attack: whom it attacks, by a loop, and that nobody else is called a member."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from slow_shadows import for_each
from views import view_of

from dpbench.attacks import Access, NoiseRobustness, NotApplicable, Oracle, Outlier
from dpbench.testing import check_attack, plant


def test_contract():
    check_attack(Outlier())
    check_attack(Outlier(share=0.5, neighbours=1, sources=1, copies=3))


class Shadows:
    """Models with given features, and nothing else to see."""

    has_head = True

    def __init__(self, features):
        self._features = features

    def features(self, of):
        assert of == "challenge"
        return self._features


def world(features, *, seed=0):
    """Returns a view of targets that keep some labels under noise, and of shadows' features."""
    models, points = features.shape[:2]
    rng = np.random.default_rng(seed)
    outputs = rng.random((models, points, 3))
    target = Oracle(
        access=Access.LABEL,
        budget=None,
        pool_outputs=lambda: outputs,
        query=lambda x: outputs + 0.2 * x.mean(1)[:, None],
    )
    shadows = Oracle(
        access=Access.WHITE_BOX,
        budget=1,
        pool_outputs=lambda: outputs,
        query=lambda x: outputs,
        white_box=Shadows(features),
    )
    members = rng.random((models, points)) < 0.5
    view = view_of(outputs, rng.integers(3, size=points), members)
    return replace(view, target=target, shadows=shadows)


@pytest.mark.parametrize(("neighbours", "sources"), [(1, 1), (3, 2), (5, 9)])
def test_outliers_are_far_from_their_neighbours_in_the_other_half_of_the_models(
    neighbours, sources
):
    features = np.random.default_rng(0).standard_normal((6, 40, 4)).astype(np.float32)
    attack = Outlier(share=0.2, neighbours=neighbours, sources=sources)
    found = attack.score(world(features))
    base = NoiseRobustness().score(world(features))

    def cosine(a, b):
        return a @ b / np.sqrt((a @ a) * (b @ b))

    @cache
    def isolated(parity):
        own = [s for s in range(6) if s % 2 != parity][:sources]
        return [
            sorted(
                1 - np.mean([cosine(features[s, j], features[s, k]) for s in own])
                for k in range(40)
                if k != j
            )[neighbours - 1]
            for j in range(40)
        ]

    def score(t, i):
        distances = isolated(t % 2)
        return base[t, i] if distances[i] >= sorted(distances)[-8] - 1e-7 else 0.0

    np.testing.assert_allclose(found, for_each(base, score))
    assert 0 < (found > 0).mean() < 0.2


def test_all_points_are_outliers_at_share_one():
    features = np.random.default_rng(0).standard_normal((4, 30, 4)).astype(np.float32)
    found = Outlier(share=1.0).score(world(features))
    np.testing.assert_array_equal(found, NoiseRobustness().score(world(features)))


def test_the_shadows_are_looked_into_once_and_the_target_shows_labels_alone():
    features = np.random.default_rng(0).standard_normal((4, 30, 4)).astype(np.float32)
    view = world(features)
    Outlier(copies=3).score(view)
    assert (view.target.queries, view.shadows.queries) == (4, 1)


def test_dead_features_are_nobodys_neighbours():
    features = np.ones((4, 30, 4), np.float32)
    features[:, 7] = 0.0
    attack = Outlier(share=0.01)
    found, base = attack.score(world(features)), NoiseRobustness().score(world(features))
    np.testing.assert_array_equal(found[:, 7], base[:, 7])
    assert (np.delete(found, 7, 1) == 0).all()


def test_few_points_or_models():
    features = np.ones((2, 1, 4), np.float32)
    assert np.isfinite(Outlier().score(world(features))).all()
    with pytest.raises(NotApplicable, match="no shadow"):
        Outlier().score(world(features[:1]))
    planted = plant(models=4, points=20, effect=1.0, seed=0)
    view = planted.view(access=Access.LABEL)
    blind = Oracle(
        access=Access.WHITE_BOX, budget=None, pool_outputs=planted.target.outputs, query=None
    )
    with pytest.raises(NotApplicable, match="no weights"):
        Outlier().score(replace(view, shadows=blind))
