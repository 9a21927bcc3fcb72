"""Training with copies: a copy follows its original's bit, and queries are answered as asked."""

import numpy as np
import pytest
import torch

from bench.claims import augmented
from dpbench.attacks import BoundaryDistance, Lira
from dpbench.attacks.augmented import augmented as views_of
from dpbench.data import PopulationSpec, load_population, membership


@pytest.fixture(scope="module")
def population():
    return load_population(
        PopulationSpec(dataset="fashion_mnist", pool=60, test=50, reference=50, average_pool=4),
        seed=0,
        data_dir=None,
    )


@pytest.fixture(scope="module")
def models(population):
    torch.set_num_threads(1)
    bits = membership(population, models=augmented.MODELS, seed=0)
    return bits, augmented._Models(
        population, augmented.train(population, bits, augmented.VIEWS, 0.1)
    )


def test_members_are_fitted_with_all_their_copies(population, models):
    bits, trained = models
    for view in views_of(population.pool_x, augmented.VIEWS):
        inputs = population.pool_x if view is None else view
        right = trained.on(inputs, slice(None)).argmax(-1) == population.pool_y
        assert right[bits].mean() > right[~bits].mean() + 0.15


def test_chosen_queries_are_answered_by_the_model_they_name(population, models):
    _, trained = models
    asked = population.test_x[:6].reshape(3, 2, *population.shape)
    which = np.array([4, 0, 4])
    answers = trained.on_each(which, np.zeros(3, np.int64), asked)
    everyone = trained.on(population.test_x[:6], slice(None)).reshape(augmented.MODELS, 3, 2, -1)
    np.testing.assert_allclose(answers, everyone[which, np.arange(3)], rtol=1e-4, atol=1e-6)


def test_a_view_shows_no_more_than_the_attack_is_run_on(population, models):
    bits, trained = models
    attack = BoundaryDistance(queries=20, models=3, points=7)
    view = augmented._view(population, bits, trained, attack)
    assert view.members.shape == (3, 7)
    assert attack.score(view).shape == (3, 7)
    whole = augmented._view(population, bits, trained, Lira(queries=2))
    assert Lira(queries=2).score(whole).shape == bits.shape
