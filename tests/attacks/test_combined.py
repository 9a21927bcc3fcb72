"""The combined attack: distances of the right copies, and more than the distance alone."""

from dataclasses import replace

import numpy as np
import pytest
from linear_models import Linear
from views import view_of

from dpbench.attacks import Access, Combined, NotApplicable
from dpbench.attacks.toolbox.image_copies import diamond, shifted
from dpbench.attacks.toolbox.shadow_classifier import as_they_are, membership_log_odds
from dpbench.testing import check_attack, plant


def test_contract():
    check_attack(Combined(queries=30))


def linear_view(queries, *, models=6, points=40):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((points, 1, 4, 4)).astype(np.float32)
    linear = Linear(rng.standard_normal((models, 3, 16)).astype(np.float32), images)
    ones = np.ones((1, 4, 4), np.float32)
    view = view_of(
        np.zeros((models, points, 3)),
        linear.pool()[0].argmax(-1),
        rng.random((models, points)) < 0.5,
        inputs=images,
        low=-100 * ones,
        high=100 * ones,
        unit=ones,
        is_image=True,
    )
    return linear, replace(view, target=linear.oracle(queries), shadows=linear.oracle(queries))


def test_the_classifier_sees_the_distances_of_all_copies():
    linear, view = linear_view(2500)
    found = Combined().score(view)
    exact = np.stack(
        [
            Linear(linear.weights, shifted(view.inputs, *move)).exact(view.labels)
            for move in diamond(1)
        ],
        axis=-1,
    )
    logs = np.where(exact > 0, np.log(np.maximum(exact, 1e-30)), 0.0)
    seen = np.concatenate([exact > 0, logs], axis=-1)
    expected = membership_log_odds(
        seen, seen, view.members, groups=view.labels, features=as_they_are
    )
    # A search may end on the boundary of a class that is not the nearest.
    assert np.median(np.abs(found - expected)) < 0.02
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(("queries", "shift"), [(10, 1), (137, 1), (300, 2)])
def test_the_queries_are_shared_by_the_copies(queries, shift):
    linear, view = linear_view(queries)
    Combined(queries=queries, shift=shift).score(view)
    copies = 4 * shift + 1
    # The linear models count what target and shadows were asked alike.
    assert linear.counts().max() <= 2 * (queries - copies)
    assert copies < view.target.queries <= queries


def test_it_needs_images_shadows_and_two_queries_for_each_copy():
    planted = plant(models=8, points=20, effect=1.0, seed=0, shape=(16,))
    with pytest.raises(NotApplicable, match="only images"):
        Combined().score(planted.view(access=Access.LABEL))
    with pytest.raises(NotApplicable, match="no shadow"):
        Combined().score(linear_view(2500, models=1)[1])
    with pytest.raises(NotApplicable, match="10 queries are fewer than two"):
        Combined(shift=2, queries=10).score(linear_view(10)[1])


def test_it_is_run_on_part_of_a_cell_unless_told_otherwise():
    assert Combined().extent.of(64, 5000) == (4, 500)
    assert Combined().budget == 2500
