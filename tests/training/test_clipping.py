"""Adaptive clipping: it finds the quantile, means the same in both engines, and is paid for."""

import dataclasses
import math

import pytest
import torch

from dpbench import privacy
from dpbench.defenses import DpSgd
from dpbench.errors import UserError
from dpbench.models import MLP
from dpbench.testing import check_defense
from dpbench.training import dense
from dpbench.training.clipping import ClippingNorms
from dpbench.training.fit import AUTOGRAD, DENSE
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Mechanism
from tests.training.small_task import TABLE, N, make_task


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.9])
def test_a_norm_converges_to_its_quantile(quantile):
    lengths = torch.rand(3, 2000, generator=generator()).mul(4).exp() * torch.tensor(
        [[1], [5], [25]]
    )
    mechanism = Mechanism(max_grad_norm=1.0, quantile=quantile, count_noise=100.0)
    norms = ClippingNorms(mechanism, models=3, batch=2000.0, generator=generator(1))
    for _ in range(400):
        norms.follow((lengths <= norms.now[:, None]).sum(1), torch.full((3,), 2000.0))
    shares = (lengths <= norms.now[:, None]).double().mean(1)
    assert shares.tolist() == pytest.approx([quantile] * 3, abs=0.05)


def test_a_fixed_norm_stays():
    norms = ClippingNorms(Mechanism(max_grad_norm=0.7), models=2, batch=10.0, generator=generator())
    norms.follow(torch.zeros(2), torch.full((2,), 10.0))
    assert norms.now.tolist() == pytest.approx([0.7, 0.7])


def test_both_engines_follow_alike_and_clip_to_what_they_follow():
    recipe = Recipe(epochs=4, sampling_rate=1.0, lr=0.3, momentum=0.0)
    mechanism = Mechanism(max_grad_norm=5.0, noise_multiplier=0.0, quantile=0.3)
    task = make_task(MLP(hidden=(8,)), TABLE, recipe, models=(0, 1), mechanism=mechanism)
    task = dataclasses.replace(task, members=torch.ones(2, N, dtype=torch.bool))
    task = dataclasses.replace(task, sampling=task.sampling._replace(batch=float(N)))
    ours, theirs = (engine.fit(task)[10] for engine in (DENSE, AUTOGRAD))
    fixed = dataclasses.replace(task, mechanism=dataclasses.replace(mechanism, quantile=None))
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(ours["3.weight"], DENSE.fit(fixed)[10]["3.weight"], atol=1e-3)


def test_the_noise_follows_the_norm():
    recipe = Recipe(sampling_rate=1.0, lr=1.0, momentum=0.0, schedule="constant")
    mechanism = Mechanism(max_grad_norm=1e-6, noise_multiplier=100.0, quantile=0.5)
    task = make_task(MLP(hidden=(64,)), TABLE, recipe, models=(0,), mechanism=mechanism)
    one = dataclasses.replace(task, checkpoints=(1, 2), sampling=task.sampling._replace(steps=2))
    start = dense._initial(one, slice(None))
    for engine in (DENSE, AUTOGRAD):
        after = engine.fit(one)
        first = (after[1]["1.weight"] - start["1.weight"]).std()
        second = (after[2]["1.weight"] - after[1]["1.weight"]).std()
        # All gradients are longer: the norm, and with it the noise, grows by exp(0.2 * 0.5) or so.
        share = 0.5 - float(task.members.sum()) / 2 / task.sampling.batch
        grown = math.exp(-0.2 * (share - 0.5))
        assert float(second / first) == pytest.approx(grown, rel=0.15)


SAMPLING = Sampling(rate=1.0, steps=100, batch=1000.0, steps_per_epoch=1.0)


def test_counts_are_paid_for():
    plain = DpSgd(epsilon=2.0).mechanism(SAMPLING)
    adaptive = DpSgd(epsilon=2.0, quantile=0.5).mechanism(SAMPLING)
    assert adaptive.claim == plain.claim
    assert adaptive.noise_multiplier > plain.noise_multiplier
    assert adaptive.count_noise == 50.0
    # Two Gaussian mechanisms in every step, of sensitivities 1 and 1/2.
    mu = math.hypot(1 / adaptive.noise_multiplier, 0.5 / adaptive.count_noise) * math.sqrt(100)
    assert mu == pytest.approx(privacy.gaussian_mu(plain.claim))
    check_defense(DpSgd(epsilon=8.0, quantile=0.5, batch_size=500))


def test_batches_too_small_to_count_are_refused():
    with pytest.raises(UserError, match="quantile"):
        DpSgd(epsilon=0.1, quantile=0.5).mechanism(SAMPLING._replace(batch=20.0))
