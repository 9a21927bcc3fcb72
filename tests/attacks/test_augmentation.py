"""Augmentation attacks: the copies against SciPy and slices, the classifier against a loop."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import rotate, shift
from slow_shadows import for_each
from views import view_of

from dpbench.attacks import Access, Augmentation, Gap, NotApplicable, Oracle
from dpbench.attacks.toolbox.image_copies import diamond, shifted, turned
from dpbench.attacks.toolbox.shadow_classifier import fit_logistic
from dpbench.testing import auc, check_attack, plant


def test_contract():
    check_attack(Augmentation())
    check_attack(Augmentation(transform="rotations", magnitude=4))


@pytest.mark.parametrize("shape", [(5, 5), (6, 9), (1, 4), (7, 1)])
@pytest.mark.parametrize("degrees", [0, 3, -15, 45, 90])
def test_turned_images_are_those_of_scipy(shape, degrees):
    images = np.random.default_rng(0).random((3, 2, *shape))
    expected = rotate(images, degrees, axes=(3, 2), reshape=False, order=1, mode="nearest")
    np.testing.assert_allclose(turned(images, degrees), expected, atol=1e-9)
    assert turned(images.astype(np.float32), degrees).dtype == np.float32


@pytest.mark.parametrize("offset", [(0, 0), (1, 0), (0, -2), (-3, 2), (9, 0)])
def test_shifted_images_are_those_of_scipy(offset):
    images = np.random.default_rng(0).random((3, 2, 5, 6))
    expected = shift(images, (0, 0, *offset), order=0, mode="nearest")
    np.testing.assert_array_equal(shifted(images, *offset), expected)


@pytest.mark.parametrize("distance", [1, 2, 5])
def test_the_diamond_has_every_shift_at_its_distance_once(distance):
    found = diamond(distance)
    reach = range(-distance, distance + 1)
    around = [(i, j) for i in reach for j in reach if abs(i) + abs(j) == distance]
    assert found[0] == (0, 0)
    assert sorted(found[1:]) == sorted(around)
    assert len(found) == 4 * distance + 1 == Augmentation(magnitude=distance).budget


def images_and_bits(models, points, copies, seed=0):
    """Returns a view whose models are right about each copy with a chance of its own."""
    rng = np.random.default_rng(seed)
    labels, members = rng.integers(3, size=points), rng.random((models, points)) < 0.5
    right = rng.random((copies, models, points)) < np.where(members, 0.8, 0.5)
    labelled = np.where(right, labels, (labels + 1) % 3)
    asked = []

    def answer(inputs):
        asked.append(inputs)
        return np.eye(3)[labelled[len(asked) - 1]]

    images = rng.random((points, 1, 4, 5)).astype(np.float32)
    oracle = Oracle(
        access=Access.LABEL, budget=copies, pool_outputs=lambda: answer(images), query=answer
    )
    view = view_of(
        np.zeros((models, points, 3)),
        labels,
        members,
        inputs=images,
        is_image=True,
    )
    return replace(view, target=oracle, shadows=oracle), right, asked


@pytest.mark.parametrize("transform", ["translations", "rotations"])
def test_scores_are_those_of_a_classifier_for_each_class_of_the_other_half(transform):
    attack = Augmentation(transform=transform, magnitude=2)
    view, right, asked = images_and_bits(6, 40, attack.budget)
    found = attack.score(view)
    assert len(asked) == attack.budget == (9 if transform == "translations" else 3)

    def score(t, i):
        others = [s for s in range(6) if s % 2 != t % 2]
        same = [j for j in range(40) if view.labels[j] == view.labels[i]]
        rows = np.array([right[:, s, j] for s in others for j in same], float)
        bits = np.array([view.members[s, j] for s in others for j in same])
        center, spread = rows.mean(0), rows.std(0)
        weights = fit_logistic((rows - center) / spread, bits)
        return weights[0] + weights[1:] @ ((right[:, t, i] - center) / spread)

    np.testing.assert_allclose(found, for_each(view.members, score), atol=1e-8)


def test_the_copies_are_shifted_or_turned_images():
    for transform in ("translations", "rotations"):
        attack = Augmentation(transform=transform, magnitude=3)
        view, _, asked = images_and_bits(4, 10, attack.budget)
        attack.score(view)
        expected = (
            [shifted(view.inputs, *move) for move in diamond(3)]
            if transform == "translations"
            else [view.inputs, turned(view.inputs, 3), turned(view.inputs, -3)]
        )
        np.testing.assert_array_equal(np.stack(asked), np.stack(expected))


def test_copies_tell_more_than_the_image_alone():
    attack = Augmentation()
    view, right, _ = images_and_bits(20, 200, attack.budget)
    gap = auc(right[0].astype(float), view.members)
    assert auc(attack.score(view), view.members) > gap + 0.05


def test_only_images_have_copies():
    planted = plant(models=8, points=20, effect=1.0, seed=0, shape=(16,))
    with pytest.raises(NotApplicable, match="only images"):
        Augmentation().score(planted.view(access=Access.LABEL))
    assert Gap().score(planted.view(access=Access.LABEL)).shape == (8, 20)
