"""Blocks of points change no bit: of sums over points, and of the attacks that use them."""

import numpy as np
import pytest

from dpbench.attacks import Access, Lira, Rmia
from dpbench.attacks.toolbox import point_blocks
from dpbench.attacks.toolbox.point_blocks import blocks, row_sums
from dpbench.testing import plant

MODELS = 12


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of no more than 130 points."""
    monkeypatch.setattr(point_blocks, "_AT_ONCE", 130 * MODELS)


@pytest.mark.parametrize("points", [1, 127, 131, 1000, 4999])
def test_sums_are_those_of_whole_rows_to_the_last_bit(points, small_blocks):
    rng = np.random.default_rng(points)
    values = rng.standard_normal((MODELS, points)) * 10.0 ** rng.uniform(-6, 6, points)
    found = row_sums(values.shape, lambda block: values[:, block[0] : block[1]])
    assert np.array_equal(found, values.sum(1))


@pytest.mark.parametrize("points", [1, 130, 131, 4999])
def test_every_point_is_in_one_block(points, small_blocks):
    found = list(blocks((MODELS, points)))
    assert [place for first, stop in found for place in range(first, stop)] == list(range(points))
    assert max(stop - first for first, stop in found) <= 130
    assert (len(found) > 1) == (points > 130)


@pytest.mark.parametrize(
    "attack",
    [
        Lira(),
        Lira(variance="per_example"),
        Lira(mode="offline"),
        Lira(mode="offline", variance="per_example"),
        Rmia(),
        Rmia(mode="offline"),
        Rmia(mode="offline", a=0.3),
    ],
    ids=lambda attack: attack.label(),
)
def test_attacks_find_the_same_in_blocks(attack, monkeypatch):
    planted = plant(models=MODELS, points=1500, effect=1.0, seed=3, n_classes=4)
    whole = attack.score(planted.view(access=Access.SCORE))
    monkeypatch.setattr(point_blocks, "_AT_ONCE", 130 * MODELS)
    assert np.array_equal(attack.score(planted.view(access=Access.SCORE)), whole)
