"""Objective perturbation: its proof, checked by numbers, and what an audit of the worst proves."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from dpbench import privacy
from dpbench.defenses import ObjectivePerturbation
from dpbench.privacy.audits.clopper_pearson import audit_clopper_pearson
from dpbench.testing import check_defense
from dpbench.training.task import Task
from tests.defenses.private_tasks import (
    SAMPLING,
    generator,
    pair_task,
    task_of,
    trials_of,
    weights_of,
)


def test_the_contract():
    check_defense(ObjectivePerturbation(epsilon=2.0))


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 8.0])
def test_the_claim_in_closed_form(epsilon):
    mechanism = ObjectivePerturbation(epsilon=epsilon).mechanism(SAMPLING)
    expected = (math.exp(epsilon) - 1 + 2e-5) / (math.exp(epsilon) + 1)
    assert privacy.advantage(mechanism.claim) == pytest.approx(expected)
    assert privacy.epsilon(mechanism.claim, 1e-5) == epsilon


@pytest.mark.parametrize("classes", [2, 4])
def test_no_example_changes_the_determinant_more_than_the_proof_says(classes):
    defense, denominator = ObjectivePerturbation(epsilon=1.0, weight_decay=1e-6), 30.0
    strength = defense.decay(denominator, classes) * denominator
    rng, largest = generator(), 0.0
    for _ in range(50):
        p = torch.rand(classes, generator=rng, dtype=torch.float64)
        p = (0.5 * p).softmax(0)
        x = torch.tensor([1.0, 1.0], dtype=torch.float64)  # an input of norm 1 with its one
        hessian = torch.kron(torch.diag(p) - torch.outer(p, p), torch.outer(x, x))
        ratio = torch.eye(len(hessian), dtype=torch.float64) + hessian / strength
        largest = max(largest, float(torch.linalg.slogdet(ratio)[1]))
    assert 0.2 * 0.99 / 2 < largest <= 0.99 / 2


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_worst_losses_are_within_the_claim(classes, sign):
    """Samples B, takes the worst prediction for each, and integrates the hockey stick."""
    defense, denominator, delta = ObjectivePerturbation(epsilon=1.0, delta=0.02), 100.0, 0.02
    nu = defense.deviation(denominator, classes)
    determinant = 2 * (1 - 1 / classes) / (denominator * defense.decay(denominator, classes))
    bx = nu * math.sqrt(2) * np.random.default_rng(0).normal(size=(200_000, classes))
    # Corners and points inside of the simplex: |p - y|^2 |x|^2 / (2 nu^2) - <p - y, Bx> / nu^2.
    inside = np.random.default_rng(1).dirichlet(np.ones(classes), 20)
    moves = np.concatenate([np.eye(classes), inside]) - np.eye(classes)[0]
    losses = (moves**2).sum(1) / nu**2 - sign * bx @ moves.T / nu**2
    assert (losses.argmax(1) < classes).all()
    worst = determinant + losses.max(1)
    spent = np.maximum(0, -np.expm1(0.99 * 1.0 - worst)).mean()
    assert 0.3 * delta < spent <= 1.03 * delta


def test_more_decay_costs_the_determinant_nothing_and_buys_less_noise():
    weak, strong = (ObjectivePerturbation(epsilon=1.0, weight_decay=decay) for decay in (1e-9, 1.0))
    assert strong.deviation(100.0, 10) < weak.deviation(100.0, 10)
    assert strong.decay(100.0, 10) == 1.0
    assert weak.decay(100.0, 10) * 100.0 == pytest.approx(2 * 1.8 / 0.99)


def worst_pair(runs: int) -> Task:
    """Sixty copies of an example that say one class, and one that says the other."""
    inputs = torch.ones(61, 1)
    labels = torch.tensor([1] * 60 + [0])
    return pair_task(inputs, labels, runs=runs, expected=4.0)


def log_likelihood_ratios(released: np.ndarray, task: Task, decay: float, nu: float) -> np.ndarray:
    """Of weights `(K, C, 2)`: with the last example against without, from the change of variables.

    Without the example, B is minus the gradient of the rest. The noise that hides the inexact
    minimiser is neglected.
    """
    inputs = np.array([1.0, 1.0])
    outputs = released @ inputs
    p = softmax(outputs, axis=1)
    one_hot = np.eye(2)
    rest = 60 * (p - one_hot[1])[..., None] * inputs
    b = -(rest + 4.0 * decay * released)
    g = (p - one_hot[0])[..., None] * inputs
    exponent = ((2 * b * g) - g**2).sum((1, 2)) / (2 * nu**2)
    hessian = np.exp(log_softmax(outputs, axis=1)).prod(1) * 2 * 2  # along (1, -1) and the input
    strength = 4.0 * decay
    return exponent + np.log((strength + 61 * hessian) / (strength + 60 * hessian))


def audited(defense: ObjectivePerturbation, *, claimed_noise: float) -> float:
    task = worst_pair(2500)
    released = weights_of(defense, task)
    scores = log_likelihood_ratios(released, task, defense.decay(4.0, 2), claimed_noise)
    return audit_clopper_pearson(trials_of(scores), delta=defense.delta).epsilon


def test_it_is_as_private_as_it_claims():
    defense = ObjectivePerturbation(epsilon=2.0, delta=1e-2, weight_decay=2.0)
    proved = audited(defense, claimed_noise=defense.deviation(4.0, 2))
    assert 1.0 < proved <= 2.0


def test_half_the_noise_is_caught(monkeypatch):
    honest = ObjectivePerturbation.deviation
    monkeypatch.setattr(
        ObjectivePerturbation, "deviation", lambda self, *given: honest(self, *given) / 2
    )
    defense = ObjectivePerturbation(epsilon=2.0, delta=1e-2, weight_decay=2.0)
    assert audited(defense, claimed_noise=defense.deviation(4.0, 2)) > 2.0


def test_models_have_noise_of_their_own():
    task = task_of(torch.ones(2, 12, dtype=torch.bool))
    one, other = weights_of(ObjectivePerturbation(epsilon=1.0), task)
    assert np.abs(one - other).min() > 0
