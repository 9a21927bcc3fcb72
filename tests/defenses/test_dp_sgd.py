"""DP-SGD as a defense: its schedule at every epsilon, and a claim that never says too little."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpbench import privacy
from dpbench.defenses import Augmentation, Composition, DpSgd
from dpbench.errors import UserError
from dpbench.testing import check_defense
from dpbench.training.recipe import Recipe

MEMBERS = 2500.0
EPSILONS = st.floats(math.log(0.1), math.log(1e4)).map(lambda log: min(math.exp(log), 1e4))


def mechanism_of(defense, recipe=None):
    return defense.mechanism(defense.adapt(recipe or Recipe()).sampling(MEMBERS))


@pytest.mark.parametrize(
    "fields",
    [
        {"epsilon": 0.1},
        {"epsilon": 1e4},
        {"epsilon": math.inf},
        {"noise_multiplier": 0.0},
        {"epsilon": 3, "optimizer": "adam"},
        {"epsilon": 3, "augmentations": 4},
    ],
)
def test_the_contract(fields):
    check_defense(DpSgd(**fields))


@given(EPSILONS)
def test_the_claim_is_what_was_asked_and_never_more(epsilon):
    mechanism = mechanism_of(DpSgd(epsilon=epsilon))
    reached = privacy.epsilon(mechanism.claim, mechanism.delta)
    assert 0.999 * epsilon <= reached <= epsilon


@pytest.mark.parametrize("epsilon", [100.0, 1e4])
def test_small_batches_at_vacuous_epsilons_are_calibrated(epsilon):
    mechanism = mechanism_of(DpSgd(epsilon=epsilon, batch_size=250, epochs=5))
    assert 0.99 * epsilon <= privacy.epsilon(mechanism.claim, 1e-5) <= epsilon


@given(EPSILONS.map(lambda epsilon: min(epsilon, 3000.0)), st.floats(1.01, 3))
def test_less_privacy_is_less_noise_and_no_shorter_a_training(epsilon, factor):
    some, more = (DpSgd(epsilon=value) for value in (epsilon, epsilon * factor))
    recipes = [defense.adapt(Recipe()) for defense in (some, more)]
    assert recipes[0].epochs <= recipes[1].epochs
    assert recipes[0].lr <= recipes[1].lr * (1 + 1e-9)
    # Relative to one training's signal, which grows with its steps.
    noise = [mechanism_of(one).noise_multiplier for one in (some, more)]
    steps = [recipe.epochs for recipe in recipes]
    assert noise[0] / math.sqrt(steps[0]) > noise[1] / math.sqrt(steps[1])


def test_an_infinite_epsilon_only_clips():
    mechanism = mechanism_of(DpSgd(epsilon=math.inf))
    assert (mechanism.noise_multiplier, mechanism.claim) == (0.0, None)
    assert mechanism.clips
    assert DpSgd(noise_multiplier=0.0).adapt(Recipe()) == DpSgd(epsilon=math.inf).adapt(Recipe())


def test_the_schedule_is_the_defenses_own_unless_a_field_says_otherwise():
    grids = [Recipe(epochs=3, lr=9.0, schedule="cosine"), Recipe(momentum=0.5, batch_size=7)]
    own = [DpSgd(epsilon=2).adapt(recipe) for recipe in grids]
    for field in ("epochs", "lr", "momentum", "sampling_rate", "schedule", "averaging"):
        assert getattr(own[0], field) == getattr(own[1], field)
    said = DpSgd(epsilon=2, batch_size=50, epochs=7, lr=0.3, momentum=0.8).adapt(grids[0])
    assert (said.batch_size, said.epochs, said.lr, said.momentum) == (50, 7, 0.3, 0.8)
    assert said.sampling(MEMBERS).rate == pytest.approx(50 / MEMBERS)


def test_the_rate_follows_the_clipping_norm_except_under_adam():
    def rate(**fields):
        return DpSgd(epsilon=2, **fields).adapt(Recipe()).lr

    assert rate(max_grad_norm=0.1) == pytest.approx(10 * rate())
    assert rate(optimizer="adam", max_grad_norm=0.1) == rate(optimizer="adam") != rate()


@pytest.mark.parametrize("fields", [{}, {"epsilon": 1, "noise_multiplier": 1.0}])
def test_epsilon_or_noise_but_not_both(fields):
    with pytest.raises(UserError, match="exactly one"):
        DpSgd(**fields).adapt(Recipe())


def test_copies_and_optimizer_leave_the_claim_alone():
    plain = mechanism_of(DpSgd(epsilon=2))
    for augmentations, optimizer in itertools.product((1, 4), ("sgd", "adam")):
        defense = DpSgd(epsilon=2, augmentations=augmentations, optimizer=optimizer)
        other = mechanism_of(defense)
        assert (other.claim, other.noise_multiplier) == (plain.claim, plain.noise_multiplier)
        assert other.multiplicity == augmentations
        assert defense.cost == augmentations


def test_copies_need_something_that_tells_them_apart():
    private = DpSgd(epsilon=2, augmentations=4)
    sampling = private.adapt(Recipe()).sampling(MEMBERS)
    with pytest.raises(UserError, match=r"augmentations=4.*copies"):
        Composition((private,)).mechanism(sampling)
    both = Composition((Augmentation(), private)).mechanism(sampling)
    assert both.multiplicity == 4
    assert both.claim == private.mechanism(sampling).claim
