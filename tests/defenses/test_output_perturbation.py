"""Output perturbation: the minimiser, how far one example moves it, and what an audit proves."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from dpbench import privacy
from dpbench.defenses import Composition, LabelOnly, OutputPerturbation
from dpbench.defenses import output_perturbation as module
from dpbench.defenses.private_regression import INPUT_NORM, SENSITIVITY
from dpbench.errors import UserError
from dpbench.models import MLP, Softmax
from dpbench.privacy.audits.clopper_pearson import audit_clopper_pearson
from dpbench.privacy.audits.gaussian_audit import audit_gaussian
from dpbench.testing import check_defense
from dpbench.training.convex import Regression, minimise
from dpbench.training.task import Task
from tests.defenses.private_tasks import (
    SAMPLING,
    C,
    D,
    generator,
    pair_task,
    task_of,
    trials_of,
    weights_of,
)


def test_the_contract():
    check_defense(OutputPerturbation(epsilon=2.0))


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 8.0])
def test_the_claim_in_closed_form(epsilon):
    mechanism = OutputPerturbation(epsilon=epsilon).mechanism(SAMPLING)
    mu = privacy.gaussian_mu(mechanism.claim)
    assert not mechanism.clips
    assert 0.99 * epsilon <= privacy.epsilon(mechanism.claim, mechanism.delta) <= epsilon + 1e-9
    assert privacy.advantage(mechanism.claim) == pytest.approx(2 * norm.cdf(mu / 2) - 1)


def test_noise_is_what_the_claim_needs_for_the_sensitivity():
    defense = OutputPerturbation(epsilon=2.0, weight_decay=0.5)
    task = task_of(torch.zeros(4000, 1, dtype=torch.bool), expected=4.0)
    released = weights_of(defense, task)
    sensitivity = math.sqrt(2) * math.sqrt(1**2 + 1) / (4.0 * 0.5)
    mu = privacy.gaussian_mu(defense.mechanism(SAMPLING).claim)
    assert released.std() == pytest.approx(sensitivity / mu, rel=0.02)
    assert released.mean() == pytest.approx(0, abs=4 * released.std() / math.sqrt(released.size))


def test_no_example_moves_the_minimiser_further_than_the_sensitivity():
    expected, decay, count = 5.0, 0.1, 12
    rng = generator(7)
    inputs = torch.nn.functional.normalize(
        torch.randn(count, D, generator=rng, dtype=torch.float64), dim=1
    )
    members = torch.rand(40, count, generator=rng) < 0.5
    members[:20, 0], members[20:, 0] = False, True
    members[20:, 1:] = members[:20, 1:]
    problem = Regression(
        inputs=torch.cat([inputs, inputs.new_ones(count, 1)], 1),
        labels=torch.randint(C, (count,), generator=rng),
        members=members,
        denominator=expected,
        decay=decay,
        tilt=None,
        radius=INPUT_NORM,
        n_classes=C,
    )
    found = minimise(problem, tolerance=1e-9)
    moved = (found[20:] - found[:20]).flatten(1).norm(dim=1)
    assert 0.1 * SENSITIVITY / (expected * decay) < float(moved.max())
    assert float(moved.max()) <= SENSITIVITY / (expected * decay)


def test_the_minimiser_without_noise_is_that_of_each_model_alone(monkeypatch):
    monkeypatch.setattr(OutputPerturbation, "_sigma", lambda self: 0.0)
    members = torch.rand(3, 60, generator=generator(4)) < 0.5
    task = task_of(members, expected=30.0)
    defense = OutputPerturbation(epsilon=1.0, weight_decay=0.1)
    released = weights_of(defense, task)
    assert np.abs(released).max() > 0.05
    alone = dataclasses.replace(task, members=members[1:2], models=(1,))
    np.testing.assert_allclose(weights_of(defense, alone)[0], released[1], atol=1e-3)


def worst_pair(runs: int) -> Task:
    """An example that the others predict wrongly, and that they hardly hold in place.

    With a constant one behind, the canary is (1, 0, 1). Half of the others point along it by 0.05
    and to the other class; the rest is orthogonal to it and holds back what the first do to
    everything else. So predictions on the canary are wrong without any curvature to speak of, and
    nothing but the decay keeps it from moving the minimiser.
    """
    copies, along = 120, 0.05
    side = math.sqrt(1 - (1 - along) ** 2)
    pushing = [[along - 1, side], [along - 1, -side]] * (copies // 2)
    inputs = torch.tensor([*pushing, *([[-1.0, 0.0]] * copies), [1.0, 0.0]])
    labels = torch.tensor([1] * copies + [0] * copies + [0])
    return pair_task(inputs, labels, runs=runs, expected=4.0)


def once_for_each_data_set(problem, *, tolerance):
    rows, place = problem.members.unique(dim=0, return_inverse=True)
    return minimise(problem._replace(members=rows), tolerance=tolerance)[place]


def audited(defense: OutputPerturbation, monkeypatch) -> tuple[float, float]:
    """Epsilon proved of a Gaussian mechanism, and of any."""
    monkeypatch.setattr(module, "minimise", once_for_each_data_set)
    task = worst_pair(4000)
    released = weights_of(defense, task).reshape(8000, -1)
    monkeypatch.setattr(OutputPerturbation, "_sigma", lambda self: 0.0)
    two = dataclasses.replace(task, members=task.members[[0, -1]], models=(0, 1))
    without, with_ = weights_of(defense, two).reshape(2, -1)
    trials = trials_of(released @ (with_ - without))
    return (
        audit_gaussian(trials, delta=defense.delta).epsilon,
        audit_clopper_pearson(trials, delta=defense.delta).epsilon,
    )


def test_it_is_as_private_as_it_claims_and_hardly_more(monkeypatch):
    of_gaussian, of_any = audited(
        OutputPerturbation(epsilon=2.0, delta=1e-3, weight_decay=0.25), monkeypatch
    )
    assert 1.4 < of_gaussian <= 2.0
    assert 0.8 < of_any <= 2.0


def test_half_the_noise_is_caught(monkeypatch):
    honest = OutputPerturbation._sigma
    monkeypatch.setattr(OutputPerturbation, "_sigma", lambda self: honest(self) / 2)
    of_gaussian, of_any = audited(
        OutputPerturbation(epsilon=2.0, delta=1e-3, weight_decay=0.25), monkeypatch
    )
    assert of_gaussian > 2.0
    assert of_any > 2.0


def test_inputs_are_never_longer_than_one_in_training_and_in_queries():
    defense = OutputPerturbation(epsilon=1.0)
    inputs = torch.randn(50, 2, 3, generator=generator())
    seen = defense.represent(inputs)
    assert seen.shape == (50, 6)
    assert float(seen.norm(dim=1).max()) <= 1 + 1e-6
    short = 0.01 * inputs
    assert torch.equal(defense.represent(short), short.flatten(1))
    # A defense behind this one may lengthen them again.
    task = task_of(torch.ones(1, 20, dtype=torch.bool))
    longer = dataclasses.replace(task, data=task.data._replace(inputs=50 * task.data.inputs))
    assert float(defense._problem(longer).inputs.norm(dim=1).max()) <= INPUT_NORM + 1e-12


def test_the_denominator_does_not_depend_on_the_members():
    task = task_of(torch.ones(1, 20, dtype=torch.bool), expected=7.0)
    fewer = dataclasses.replace(task, members=torch.zeros(1, 20, dtype=torch.bool))
    defense = OutputPerturbation(epsilon=1.0)
    assert defense._problem(task).denominator == pytest.approx(7.0)
    assert defense._problem(fewer).denominator == defense._problem(task).denominator


@pytest.mark.parametrize("what", ["regularise", "architecture", "targets"])
def test_what_changes_the_objective_is_refused(what):
    task = task_of(torch.ones(2, 9, dtype=torch.bool))
    soft = torch.full((9, C), 1 / C)
    changes = {
        "regularise": {"regularise": lambda weights: torch.zeros(2)},
        "architecture": {"architecture": MLP()},
        "targets": {"data": task.data._replace(targets=soft)},
    }
    with pytest.raises(UserError, match="cannot be composed"):
        OutputPerturbation(epsilon=1.0).train(dataclasses.replace(task, **changes[what]))


def test_masks_keep_the_claim_and_every_network_becomes_softmax_regression():
    defense = OutputPerturbation(epsilon=1.0)
    assert Composition((defense, LabelOnly())).mechanism(SAMPLING).claim is not None
    assert defense.remodel(MLP()) == Softmax()
