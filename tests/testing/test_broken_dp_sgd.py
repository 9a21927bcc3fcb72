"""Positive controls: every DP-SGD that is broken on purpose is caught by the white-box audit."""

import itertools
from functools import partial

import pytest
import torch

from dpbench import privacy
from dpbench.defenses.dp_sgd import DpSgd
from dpbench.testing.broken_dp_sgd import (
    BrokenDpSgd,
    clip_each_layer,
    divide_by_members,
    skip_clipping,
    train_plainly,
)
from dpbench.testing.canary_game import canary_task, fair_coins
from dpbench.testing.gradient_canary import audit_mechanism
from dpbench.training.fit import fit
from dpbench.training.recipe import Recipe

CLAIMS = {
    "full": DpSgd(epsilon=8.0, epochs=2.0),
    "subsampled": DpSgd(epsilon=8.0, epochs=2.0, batch_size=4),
}
SEEDS = range(3)

# Models per audit: what gives a power of 99.9 % and more (docs/white-box-audit.md).
LOUD, QUIET = 250, 1200
BREAKS = {
    "no noise": (LOUD, {"noise": 0.0}),
    "half the noise": (LOUD, {"noise": 0.5}),
    "clipping": (LOUD, {"clipping": 1000.0}),
    "rate": (LOUD, {"rate": 2}),
    "steps": (QUIET, {"steps": 2}),
}
TRAINERS = {
    "clipping skipped": (LOUD, skip_clipping, "gradient"),
    "layers clipped apart": (QUIET, clip_each_layer, "gradient"),
    "divided by members": (LOUD, divide_by_members, "noise"),
}


def all_caught(defense, *, models, train=fit, engine="dense", seeds=SEEDS):
    audits = [
        audit_mechanism(defense, models=models, seed=seed, train=train, engine=engine)
        for seed in seeds
    ]
    for audit in audits:
        assert audit.violated, audit
        assert audit.epsilon_lower > audit.epsilon == pytest.approx(8.0, rel=1e-3)
    return audits


@pytest.mark.parametrize(
    ("kind", "broken"),
    # Full batches cannot be sampled at twice the rate.
    [pair for pair in itertools.product(CLAIMS, BREAKS) if pair != ("full", "rate")],
)
def test_a_mechanism_that_does_less_than_it_claims_is_caught(kind, broken):
    models, how = BREAKS[broken]
    for audit in all_caught(BrokenDpSgd(claims=CLAIMS[kind], **how), models=models):
        assert audit.strongest.statistic == "gradient"


@pytest.mark.parametrize("kind", CLAIMS)
@pytest.mark.parametrize("broken", TRAINERS)
def test_a_trainer_that_does_not_do_as_told_is_caught(kind, broken):
    models, train, statistic = TRAINERS[broken]
    for audit in all_caught(CLAIMS[kind], models=models, train=train):
        assert audit.strongest.statistic == statistic


@pytest.mark.parametrize("how", [{"noise": 0.5}, {"clipping": 1000.0}], ids=["noise", "clipping"])
def test_the_autograd_engine_is_caught_too(how):
    broken = BrokenDpSgd(claims=CLAIMS["full"], **how)
    all_caught(broken, models=150, engine="autograd", seeds=range(1))


@pytest.mark.parametrize("kind", CLAIMS)
def test_the_same_code_unbroken_is_not_caught(kind):
    honest = BrokenDpSgd(claims=CLAIMS[kind])
    for seed in SEEDS:
        assert not audit_mechanism(honest, models=LOUD, seed=seed).violated
        plain = audit_mechanism(CLAIMS[kind], models=QUIET, seed=seed, train=train_plainly)
        assert not plain.violated


def test_the_breaks_are_what_they_are_called():
    claims = CLAIMS["subsampled"]
    tasks = {
        name: canary_task(
            BrokenDpSgd(claims=claims, **how),
            fair_coins(2, seed=0),
            recipe=Recipe(),
            engine="dense",
            seed=0,
        )
        for name, how in {"honest": {}, **{name: how for name, (_, how) in BREAKS.items()}}.items()
    }
    honest = tasks["honest"]
    sigma = honest.mechanism.noise_multiplier
    assert privacy.epsilon(honest.mechanism.claim, 1e-5) == pytest.approx(8.0, rel=1e-3)
    for task in tasks.values():
        assert task.mechanism.claim == honest.mechanism.claim
    assert tasks["no noise"].mechanism.noise_multiplier == 0
    assert tasks["half the noise"].mechanism.noise_multiplier == sigma / 2
    loose = tasks["clipping"].mechanism
    assert loose.max_grad_norm == 1000
    assert loose.max_grad_norm * loose.noise_multiplier == pytest.approx(sigma)
    assert tasks["rate"].sampling.rate == 2 * honest.sampling.rate
    assert tasks["rate"].sampling.steps == honest.sampling.steps
    assert tasks["steps"].sampling.steps == 2 * honest.sampling.steps
    assert tasks["steps"].sampling.rate == honest.sampling.rate


def quiet_task(**changes):
    quiet = DpSgd(noise_multiplier=1e-6, epochs=3.0, **changes)
    members = fair_coins(6, seed=0)
    return canary_task(quiet, members, recipe=Recipe(), engine="dense", seed=0), members


def test_the_plain_loop_agrees_with_the_engine_without_noise():
    task, _ = quiet_task()
    expected, found = fit(task), train_plainly(task)
    for step, weights in expected.items():
        for name, value in weights.items():
            torch.testing.assert_close(found[step][name], value, rtol=1e-4, atol=1e-5)


def test_layers_clipped_apart_move_further():
    task, members = quiet_task()
    start = task.architecture.build(task.shape, task.n_classes, torch.Generator()).state_dict()

    def moved(snapshots):
        squares = [
            (snapshots[1][name] - value).flatten(1).square().sum(1) for name, value in start.items()
        ]
        return torch.stack(squares).sum(0).sqrt()[torch.from_numpy(members)]

    together, apart = moved(train_plainly(task)), moved(clip_each_layer(task))
    torch.testing.assert_close(apart / together, torch.full_like(apart, 2**0.5), rtol=0.02, atol=0)


def test_division_by_members_keeps_the_order_of_the_models():
    task, members = quiet_task()
    divided, expected = divide_by_members(task), fit(task)
    start = task.architecture.build(task.shape, task.n_classes, torch.Generator()).state_dict()
    first = {name: divided[1][name] - value for name, value in start.items()}
    honest = {name: expected[1][name] - value for name, value in start.items()}
    count = task.members.sum(1)
    assert count.tolist() == [8 + bit for bit in members.tolist()]
    ratio = first["1.bias"][members] / honest["1.bias"][members]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 8 / 9), rtol=1e-3, atol=0)
    torch.testing.assert_close(
        first["1.bias"][~members], honest["1.bias"][~members], rtol=1e-3, atol=1e-6
    )


def test_variants_share_nothing_with_the_honest_defense():
    broken = partial(BrokenDpSgd, claims=CLAIMS["full"])
    assert broken(noise=0.5).identity() != broken().identity()
    assert "noise=0.5" in broken(noise=0.5).label()
