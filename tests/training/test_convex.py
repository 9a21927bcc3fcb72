"""Exact minimisers against SciPy's."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize as scipy_minimize

from dpbench.training.convex import Regression, minimise
from dpbench.training.task import Diverged

D, C, COUNT = 3, 3, 40


def problem_of(decay: float) -> Regression:
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(COUNT, D + 1, generator=rng, dtype=torch.float64)
    return Regression(
        inputs=inputs / inputs.norm(dim=1, keepdim=True),
        labels=torch.arange(COUNT) % C,
        members=torch.rand(2, COUNT, generator=rng) < 0.5,
        denominator=20.0,
        decay=decay,
        tilt=torch.randn(2, D + 1, C, generator=rng, dtype=torch.float64),
        radius=1.0,
        n_classes=C,
    )


def test_minimisers_are_scipys():
    problem = problem_of(0.05)
    ours = minimise(problem, tolerance=1e-9)
    for model in range(2):
        x = problem.inputs[problem.members[model]].numpy()
        y = problem.labels[problem.members[model]].numpy()
        tilt = problem.tilt[model].numpy()

        def objective(flat, x=x, y=y, tilt=tilt):
            w = flat.reshape(D + 1, C)
            z = x @ w
            loss = np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]
            return loss.sum() / 20 + 0.025 * (w**2).sum() + (tilt * w).sum() / 20

        theirs = scipy_minimize(objective, np.zeros((D + 1) * C), options={"gtol": 1e-9}).x
        np.testing.assert_allclose(ours[model].numpy().ravel(), theirs, atol=1e-5)


def test_a_minimiser_that_is_not_found_is_an_error(monkeypatch):
    monkeypatch.setattr("dpbench.training.convex._MOST_STEPS", 30)
    with pytest.raises(Diverged, match="raise the decay"):
        minimise(problem_of(1e-6), tolerance=1e-12)
