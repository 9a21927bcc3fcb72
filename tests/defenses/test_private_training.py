"""Privacy by other means than noisy gradients: guarantees in closed form, and audited."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize as scipy_minimize
from scipy.stats import beta, norm

from dpbench import privacy
from dpbench.defenses import (
    Composition,
    DpSgd,
    LabelDp,
    ObjectivePerturbation,
    OutputPerturbation,
    Pate,
    pate,
)
from dpbench.defenses import output_perturbation as output_module
from dpbench.defenses.private_regression import SENSITIVITY
from dpbench.errors import UserError
from dpbench.models import MLP, Softmax
from dpbench.testing import check_defense
from dpbench.training.convex import Regression, minimise
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Task, TrainingData

D, C = 3, 3
RECIPE = Recipe(epochs=10, batch_size=8, lr=0.1, momentum=0.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task_of(members: torch.Tensor, *, expected: float = 10.0, architecture=None, **changes) -> Task:
    count = members.shape[1]
    inputs = torch.nn.functional.normalize(torch.randn(count, D, generator=generator(1)), dim=1)
    labels = torch.arange(count) % C
    sampling = RECIPE.sampling(expected)
    task = Task(
        architecture=architecture or Softmax(),
        shape=(D,),
        n_classes=C,
        recipe=RECIPE,
        sampling=sampling,
        mechanism=None,
        loss=None,
        regularise=None,
        data=TrainingData(inputs, labels, inputs[:10], labels[:10]),
        members=members,
        seed=5,
        models=tuple(range(len(members))),
        checkpoints=(sampling.steps,),
    )
    return dataclasses.replace(task, **changes)


def epsilon_lower(inside: np.ndarray, outside: np.ndarray, delta: float) -> float:
    """Clopper-Pearson bound on epsilon, at a threshold chosen on one half of the runs."""
    half = len(inside) // 2
    limits = []
    for low, high in ((outside, inside), (inside, outside)):
        choices = np.quantile(low[:half], [0.9, 0.97, 0.99, 0.995])
        gains = [
            math.log(
                max((high[:half] > t).mean() - delta, 1e-9) / max((low[:half] > t).mean(), 1e-3)
            )
            for t in choices
        ]
        threshold = choices[int(np.argmax(gains))]
        hits, false = (high[half:] > threshold).sum(), (low[half:] > threshold).sum()
        runs = len(high) - half
        tpr = beta.ppf(0.025, hits, runs - hits + 1) if hits else 0.0
        fpr = beta.ppf(0.975, false + 1, runs - false)
        limits.append(math.log((tpr - delta) / fpr) if tpr > delta else -math.inf)
    return max(limits)


def test_minimisers_are_scipys():
    count = 40
    inputs = torch.randn(count, D + 1, generator=generator(), dtype=torch.float64)
    inputs /= inputs.norm(dim=1, keepdim=True)
    problem = Regression(
        inputs=inputs,
        labels=torch.arange(count) % C,
        members=torch.rand(2, count, generator=generator(2)) < 0.5,
        denominator=20.0,
        decay=0.05,
        tilt=torch.randn(2, D + 1, C, generator=generator(3), dtype=torch.float64),
        radius=1.0,
        n_classes=C,
    )
    ours = minimise(problem, tolerance=1e-9)
    for model in range(2):
        x = inputs[problem.members[model]].numpy()
        y = problem.labels[problem.members[model]].numpy()
        tilt = problem.tilt[model].numpy()

        def objective(flat, x=x, y=y, tilt=tilt):
            w = flat.reshape(D + 1, C)
            z = x @ w
            loss = np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]
            return loss.sum() / 20 + 0.025 * (w**2).sum() + (tilt * w).sum() / 20

        theirs = scipy_minimize(objective, np.zeros((D + 1) * C), options={"gtol": 1e-9}).x
        np.testing.assert_allclose(ours[model].numpy().ravel(), theirs, atol=1e-5)


@pytest.mark.parametrize(
    "defense",
    [
        OutputPerturbation(epsilon=2.0),
        ObjectivePerturbation(epsilon=2.0),
        LabelDp(),
        LabelDp(corrected=True),
        Pate(epsilon=4.0),
    ],
    ids=lambda defense: defense.label(),
)
def test_the_contract(defense):
    check_defense(defense)


SAMPLING = Sampling(rate=0.5, steps=20, batch=5.0, steps_per_epoch=2.0)


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 8.0])
def test_claims_in_closed_form(epsilon):
    output = OutputPerturbation(epsilon=epsilon).mechanism(SAMPLING)
    mu = privacy.gaussian_mu(output.claim)
    assert privacy.advantage(output.claim) == pytest.approx(2 * norm.cdf(mu / 2) - 1)
    votes = Pate(epsilon=epsilon, queries=50)
    mu = privacy.gaussian_mu(votes.mechanism(SAMPLING).claim)
    assert mu == pytest.approx(math.sqrt(2 * 50) / votes.sigma)
    objective = ObjectivePerturbation(epsilon=epsilon).mechanism(SAMPLING)
    expected = (math.exp(epsilon) - 1 + 2e-5) / (math.exp(epsilon) + 1)
    assert privacy.advantage(objective.claim) == pytest.approx(expected)
    for mechanism in (output, objective, votes.mechanism(SAMPLING)):
        assert not mechanism.clips
        assert privacy.epsilon(mechanism.claim, mechanism.delta) <= epsilon * (1 + 1e-9)
        assert privacy.epsilon(mechanism.claim, mechanism.delta) >= 0.99 * epsilon


def test_the_proof_of_objective_perturbation_adds_up():
    """Trace, tail and exponent, spelled out for a pair of classes and a pair of data sets."""
    defense, classes, denominator = ObjectivePerturbation(epsilon=1.0, weight_decay=1e-6), 4, 30.0
    inner, nu = 0.95 * 1.0, defense.deviation(4)
    p = torch.full((classes,), 1 / classes, dtype=torch.float64)
    x = torch.tensor([1.0, 1.0], dtype=torch.float64)  # an input of norm 1 with its one
    hessian = torch.kron(torch.diag(p) - torch.outer(p, p), torch.outer(x, x))
    strength = defense.decay(denominator, classes) * denominator
    determinant = torch.linalg.slogdet(
        torch.eye(len(hessian), dtype=torch.float64) + hessian / strength
    )[1]
    assert float(determinant) <= inner / 2
    bx = nu * math.sqrt(2) * torch.randn(200_000, classes, generator=generator())
    delta = 1e-5
    far = (bx.norm(dim=1) > math.sqrt(2) * nu * _quantile(delta, classes)).float().mean()
    assert float(far) <= 1e-3
    u = SENSITIVITY / nu
    assert u**2 / 2 + u * _quantile(0.95 * delta, classes) == pytest.approx(inner / 2)


def _quantile(delta: float, classes: int) -> float:
    from scipy.stats import chi2

    return math.sqrt(chi2.isf(delta, classes))


def weights_of(defense, task: Task) -> np.ndarray:
    released = defense.train(task)[task.checkpoints[-1]]
    parts = (released["1.weight"], released["1.bias"][..., None])
    return torch.cat(parts, -1).flatten(1).double().numpy()


def audited(defense, *, runs: int = 6000, delta: float = 1e-3) -> float:
    """Epsilon proved from models that have, or have not, one example more."""
    members = torch.ones(2 * runs, 1, dtype=torch.bool)
    members[runs:] = False
    task = task_of(members, expected=4.0)
    released = weights_of(defense, task)
    way = released[: runs // 2].mean(0) - released[runs : runs + runs // 2].mean(0)
    scores = released @ way
    return epsilon_lower(scores[:runs], scores[runs:], delta)


def test_output_perturbation_is_as_private_as_it_claims(monkeypatch):
    defense = OutputPerturbation(epsilon=2.0, delta=1e-3, weight_decay=1.0)
    proved = audited(defense)
    assert 0.1 < proved <= 2.0
    # A third of the noise is caught.
    monkeypatch.setattr(output_module, "SENSITIVITY", SENSITIVITY / 12)
    assert audited(defense) > 2.0


def test_objective_perturbation_is_as_private_as_it_claims(monkeypatch):
    defense = ObjectivePerturbation(epsilon=2.0, delta=1e-3, weight_decay=1.0)
    assert audited(defense) <= 2.0
    honest = ObjectivePerturbation.deviation
    monkeypatch.setattr(
        ObjectivePerturbation, "deviation", lambda self, classes: honest(self, classes) / 12
    )
    assert audited(defense) > 2.0


def test_private_regression_is_exact_without_noise(monkeypatch):
    monkeypatch.setattr(OutputPerturbation, "_sigma", lambda self: 0.0)
    members = torch.rand(3, 60, generator=generator(4)) < 0.5
    task = task_of(members, expected=30.0)
    released = weights_of(OutputPerturbation(epsilon=1.0, weight_decay=0.1), task)
    assert np.abs(released).max() > 0.05
    alone = dataclasses.replace(task, members=members[1:2], models=(1,))
    np.testing.assert_allclose(
        weights_of(OutputPerturbation(epsilon=1.0, weight_decay=0.1), alone)[0],
        released[1],
        atol=1e-3,
    )
    with pytest.raises(UserError, match="cannot be composed"):
        OutputPerturbation(epsilon=1.0).train(
            dataclasses.replace(task, regularise=lambda weights: torch.zeros(3))
        )


def test_inputs_are_never_longer_than_one():
    defense = ObjectivePerturbation(epsilon=1.0)
    inputs = torch.randn(50, 2, 3, generator=generator())
    seen = defense.represent(inputs)
    assert seen.shape == (50, 6)
    assert float(seen.norm(dim=1).max()) <= 1 + 1e-6
    short = 0.01 * inputs
    assert torch.equal(defense.represent(short), short.flatten(1))
    assert defense.remodel(MLP()) == Softmax()


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_labels_are_kept_with_the_probability_of_randomised_response(epsilon):
    defense = LabelDp(epsilon=epsilon)
    task = task_of(torch.ones(40, 3000, dtype=torch.bool))
    noisy = torch.stack([defense._randomised(task, model) for model in task.models])
    labels = task.data.targets
    kept = float((noisy == labels).float().mean())
    expected = math.exp(epsilon) / (math.exp(epsilon) + C - 1)
    assert defense.keep_probability(C) == pytest.approx(expected)
    assert kept == pytest.approx(expected, abs=0.006)
    # The others are equally likely, and every model's noise is its own.
    shift = (noisy - labels) % C
    assert float((shift == 1).float().mean()) == pytest.approx((1 - expected) / 2, abs=0.006)
    together = ((noisy[0] == labels) & (noisy[1] == labels)).float().mean()
    assert float(together) == pytest.approx(expected**2, abs=0.03)
    # The audit: whoever sees the noisy label tells y from y' no better than e^epsilon.
    right, wrong = (noisy == labels).numpy(), (noisy == (labels + 1) % C).numpy()
    hits, false, runs = right.sum(), wrong.sum(), right.size
    low = beta.ppf(0.025, hits, runs - hits + 1) / beta.ppf(0.975, false + 1, runs - false)
    high = beta.ppf(0.975, hits + 1, runs - hits) / beta.ppf(0.025, false, runs - false + 1)
    assert math.log(low) <= epsilon <= math.log(high)


def test_label_dp_claims_nothing_of_membership_and_drops_no_claim():
    assert LabelDp().mechanism(SAMPLING) is None
    both = Composition((LabelDp(), DpSgd(noise_multiplier=1.0)))
    assert both.mechanism(SAMPLING).claim is not None


def test_the_corrected_loss_is_least_at_the_clean_answer():
    defense = LabelDp(epsilon=1.0, corrected=True)
    clean = torch.tensor([0.7, 0.2, 0.1])
    keep = defense.keep_probability(C)
    noisy = keep * clean + (1 - keep) / (C - 1) * (1 - clean)

    def expected(probabilities):
        return float(defense._corrected(probabilities.log(), noisy))

    rivals = torch.rand(200, C, generator=generator()) + 0.01
    assert all(expected(clean) <= expected(rival / rival.sum()) + 1e-6 for rival in rivals)


def test_every_example_has_one_teacher_and_no_teacher_crashes_without_members():
    defense = Pate(epsilon=8.0, teachers=6, queries=5)
    task = task_of(torch.rand(3, 30, generator=generator(6)) < 0.2, architecture=MLP(hidden=(4,)))
    shards = defense.shards(task, 0, 5000)
    assert (shards.sum(0) == 1).all()
    assert shards.float().mean(1).numpy() == pytest.approx(np.full(6, 1 / 6), abs=0.02)
    counts = defense._counts(task, lambda fraction: None)
    assert counts.shape == (3, 5, C)
    assert (counts.sum(-1) == 6).all()
    nobody = dataclasses.replace(task, members=torch.zeros(3, 30, dtype=torch.bool))
    assert (defense._counts(nobody, lambda fraction: None).sum(-1) == 6).all()


def test_one_member_moves_one_vote():
    defense = Pate(epsilon=8.0, teachers=4, queries=10)
    members = torch.ones(2, 60, dtype=torch.bool)
    members[1, 7] = False
    task = task_of(members, expected=60.0, architecture=MLP(hidden=(4,)))
    # The same shards, the same weights and the same draws for both: only the member differs.
    task = dataclasses.replace(task, models=(0, 0))
    counts = defense._counts(task, lambda fraction: None)
    moved = (counts[0] - counts[1]).abs().sum(-1)
    assert set(moved.tolist()) <= {0, 2}


def test_students_learn_noisy_votes_of_public_inputs(monkeypatch):
    defense = Pate(epsilon=1e4, teachers=3, queries=8)
    seen, real = [], pate.fit

    def fit(asked, progress=lambda fraction: None):
        seen.append(asked)
        return real(asked, progress)

    monkeypatch.setattr(pate, "fit", fit)
    task = task_of(torch.ones(2, 60, dtype=torch.bool), architecture=MLP(hidden=(4,)))
    defense.train(task)
    student = seen[-1]
    assert torch.equal(student.data.inputs, task.data.reference_inputs[:8])
    counts = defense._counts(task, lambda fraction: None)
    clear = counts.max(-1).values > 2
    assert torch.equal(student.data.targets[clear], counts.argmax(-1)[clear])
    with pytest.raises(UserError, match="reference"):
        Pate(epsilon=1.0, queries=11).train(task)


def test_votes_are_as_private_as_claimed():
    """The worst pair: two teachers and a tie that one member decides, in each of two queries."""
    defense = Pate(epsilon=1.0, delta=1e-3, queries=2)
    runs, rng = 40_000, np.random.default_rng(0)
    without = np.zeros((runs, 2, 2)) + rng.normal(0, defense.sigma, (runs, 2, 2))
    with_ = np.array([1.0, -1.0]) + rng.normal(0, defense.sigma, (runs, 2, 2))
    scores = [(counts[..., 0] - counts[..., 1]).sum(1) for counts in (with_, without)]
    proved = epsilon_lower(scores[0], scores[1], 1e-3)
    assert 0.3 < proved <= 1.0
    half = [noise / 2 + shift for noise, shift in ((with_ - [1, -1], [1, -1]), (without, 0))]
    scores = [(counts[..., 0] - counts[..., 1]).sum(1) for counts in half]
    assert epsilon_lower(scores[0], scores[1], 1e-3) > 1.0
