"""Regularisers: the published objective, an independent slow version, and the contract."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from dpbench.attacks.toolbox.augmented import augmented
from dpbench.defenses import (
    L1,
    L2,
    Augmentation,
    Composition,
    ConfidencePenalty,
    DpSgd,
    Dropout,
    EarlyStopping,
    LabelSmoothing,
    Mixup,
    MixupMmd,
    OwnRecipe,
    ShortTraining,
)
from dpbench.defenses.mixup_mmd import squared_mmd
from dpbench.errors import UserError
from dpbench.models import CNN, MLP, Softmax
from dpbench.study.spec import expand_attacks
from dpbench.testing import check_defense
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.schedule import learning_rates
from dpbench.training.shifts import random_shifts
from dpbench.training.task import Setting, Step, TrainingData

ALL = [
    L1(weight=0.1),
    L2(weight_decay=0.1),
    L2(weight_decay=0.1, convention="keras"),
    Dropout(),
    Augmentation(pixels=2, flip=True),
    LabelSmoothing(),
    ConfidencePenalty(),
    Mixup(),
    Mixup(alpha=0.4),
    MixupMmd(),
    EarlyStopping(patience=2),
    EarlyStopping(accuracy=0.5),
    ShortTraining(epochs=12.0),
    OwnRecipe(epochs=60.0, lr=0.1, batch_size=32),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("defense", ALL, ids=lambda defense: defense.label())
def test_the_contract(defense):
    check_defense(defense)


def test_the_two_conventions_of_weight_decay():
    weights = {
        "1.weight": torch.randn(2, 5, 4, generator=generator()),
        "1.bias": torch.randn(2, 5, generator=generator(1)),
        "0.weight": torch.randn(2, 3, 1, 2, 2, generator=generator(2)),  # filters are free
    }
    squares = weights["1.weight"].square().sum((1, 2))
    keras = L2(weight_decay=0.3, convention="keras")
    assert torch.allclose(keras.regularise(weights), 0.3 * squares)
    assert keras.adapt(Recipe(weight_decay=9.0)).weight_decay == 0
    ours = L2(weight_decay=0.3)
    assert ours.adapt(Recipe()).weight_decay == 0.3
    # A step pays for no penalty that is the recipe's decay already.
    assert Composition((ours,)).regularise() is None
    assert Composition((keras,)).regularise() is not None
    assert torch.allclose(
        L1(weight=0.3).regularise(weights), 0.3 * weights["1.weight"].abs().sum((1, 2))
    )


def test_smoothing_and_penalty_are_torchs():
    logits = torch.randn(7, 5, generator=generator())
    targets = torch.arange(7) % 5
    theirs = functional.cross_entropy(logits, targets, reduction="none", label_smoothing=0.2)
    torch.testing.assert_close(LabelSmoothing(epsilon=0.2).loss(logits, targets), theirs)
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    plain = functional.cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(
        ConfidencePenalty(alpha=0.3).loss(logits, targets), plain - 0.3 * entropy
    )


def test_dropout_changes_the_network_or_says_that_it_cannot():
    assert Dropout(rate=0.3).remodel(MLP()) == MLP(dropout=0.3)
    assert Dropout(rate=0.3).remodel(CNN()) == CNN(dropout=0.3)
    with pytest.raises(UserError, match="softmax"):
        Dropout().remodel(Softmax())


@given(st.integers(0, 3), st.booleans(), st.integers(0, 1000))
def test_every_image_is_one_of_its_own_shifted_copies(pixels, flip, seed):
    images = torch.rand(2, 3, 1, 5, 4, generator=generator(seed))
    moved = random_shifts(images, generator(seed + 1), pixels=pixels, flip=flip)
    assert moved.shape == images.shape
    for model in range(2):
        for row in range(3):
            image, found = images[model, row, 0].numpy(), moved[model, row, 0].numpy()
            mirrored = [image, image[:, ::-1]] if flip else [image]
            copies = []
            for one in mirrored:
                padded = np.pad(one, pixels, mode="edge")
                copies += [
                    padded[down : down + 5, right : right + 4]
                    for down in range(2 * pixels + 1)
                    for right in range(2 * pixels + 1)
                ]
            assert any(np.array_equal(found, copy) for copy in copies)


def test_all_shifts_are_equally_likely():
    ramp = torch.arange(25.0).view(1, 1, 1, 5, 5).expand(1, 9000, 1, 5, 5)
    centers = random_shifts(ramp, generator(), pixels=1, flip=False)[0, :, 0, 2, 2]
    counts = centers.long().bincount()
    assert counts[counts > 0].tolist() == pytest.approx([1000] * 9, rel=0.12)


def test_the_adversary_asks_about_the_copies_that_training_shows():
    def asked(**fields):
        attacks = expand_attacks(Augmentation(**fields).adaptive_attacks, where="here")
        magnitude = next(a.magnitude for a in attacks if a.name == "augmentation")
        lira = next(a for a in attacks if a.name == "lira")
        return magnitude, lira.queries, lira.mirrored

    assert asked(pixels=1) == (1, 9, False)
    assert asked(pixels=2, flip=True) == (2, 50, True)
    assert asked(pixels=0, flip=True) == (1, 2, True)
    assert asked(pixels=7, flip=True) == (7, 162, True)


def test_every_copy_in_training_is_among_the_queries():
    images = np.random.default_rng(0).random((4, 1, 6, 5)).astype(np.float32)
    for fields in ({"pixels": 2}, {"pixels": 1, "flip": True}):
        attacks = expand_attacks(Augmentation(**fields).adaptive_attacks, where="here")
        lira = next(a for a in attacks if a.name == "lira")
        views = [
            images if view is None else view
            for view in augmented(images, lira.queries, mirrored=lira.mirrored)
        ]
        batch = torch.from_numpy(images).expand(300, *images.shape)
        seen, _ = Augmentation(**fields).augment(batch, torch.zeros(300, 4, 2), generator())
        for i in range(4):
            found = {one.numpy().tobytes() for one in seen[:, i]}
            assert found == {view[i].tobytes() for view in views}


def test_augmentation_wants_images():
    with pytest.raises(UserError, match="not images"):
        Augmentation().require(TrainingData(*[torch.zeros(2, 4), torch.zeros(2)] * 2))


@pytest.mark.parametrize("alpha", [0.4, 1.0, 3.0])
def test_mixup_mixes_two_examples_and_their_labels_with_one_share(alpha):
    inputs = functional.one_hot(torch.arange(6)).float().expand(400, 6, 6)
    mixed, soft = Mixup(alpha=alpha).augment(inputs, inputs.clone(), generator())
    assert torch.equal(mixed, soft)
    torch.testing.assert_close(mixed.sum(-1), torch.ones(400, 6))
    own = mixed.diagonal(dim1=1, dim2=2)  # a fixed point of the permutation keeps everything
    shares = own.amin(1)
    assert ((own - shares[:, None]).abs() < 1e-6).logical_or((own - 1).abs() < 1e-6).all()
    moved = shares[shares < 1 - 1e-6]
    assert float(moved.mean()) == pytest.approx(0.5, abs=0.05)
    variance = 1 / (4 * (2 * alpha + 1))
    assert float(moved.var()) == pytest.approx(variance, rel=0.2)


def test_what_mixes_cannot_be_clipped():
    for mixing in (Mixup(), MixupMmd()):
        with pytest.raises(UserError, match="cannot be composed"):
            Composition((mixing, DpSgd(epsilon=1.0)))
    Composition((LabelSmoothing(), DpSgd(epsilon=1.0)))


def test_the_discrepancy_is_the_definition():
    some, others = (torch.rand(2, 5, 3, generator=generator(seed)) for seed in (1, 2))
    for model in range(2):
        kernel = [
            [
                np.mean([math.exp(-float((a - b).square().sum()) / 2) for a in one for b in other])
                for other in (some[model], others[model])
            ]
            for one in (some[model], others[model])
        ]
        expected = kernel[0][0] + kernel[1][1] - 2 * kernel[0][1]
        assert float(squared_mmd(some, others)[model]) == pytest.approx(expected, abs=1e-6)
    assert squared_mmd(some, some).abs().max() < 1e-6


def losses_of(gap: str, number: int) -> torch.Tensor:
    """One step of some epoch, where only members, or only others, or all are predicted right."""
    labels = torch.arange(12) % 3
    wrong = functional.one_hot(torch.zeros_like(labels), 3).float()  # one class for all
    right = functional.one_hot(labels, 3).float()

    def predict(inputs):
        public = bool(inputs[0, 0] == 1)
        fooled = gap == ("others" if not public else "members")
        answers = 9 * (wrong if fooled else right)[inputs[:, 1].long()]
        return answers.expand(2, -1, -1)

    pool = torch.stack([torch.zeros(12), torch.arange(12.0)], 1)
    public = torch.stack([torch.ones(12), torch.arange(12.0)], 1)
    setting = Setting(
        models=2,
        n_classes=3,
        sampling=Sampling(rate=0.5, steps=8, batch=6.0, steps_per_epoch=2.0),
        data=TrainingData(pool, labels, public, labels),
        members=torch.ones(2, 12, dtype=torch.bool),
        predict=predict,
        generator=generator(),
    )
    objective = MixupMmd(weight=5.0).objective(setting)
    logits = 4 * right[:6].expand(2, -1, -1)
    for step in range(1, number):
        objective(Step(logits, right[:6].expand(2, -1, -1), step))
    return objective(Step(logits, right[:6].expand(2, -1, -1), number))


def test_the_penalty_acts_on_a_gap_in_neither_the_first_nor_the_last_epoch():
    plain = losses_of("none", number=3)
    for ahead in ("members", "others"):
        for number, acts in ((2, False), (3, True), (6, True), (7, False)):
            difference = losses_of(ahead, number) - plain
            assert (difference > 1e-4).all() if acts else difference.abs().max() < 1e-6


def test_early_stopping_on_members_drops_a_claim():
    dp = DpSgd(noise_multiplier=1.0)
    sampling = Sampling(rate=1.0, steps=10, batch=100.0, steps_per_epoch=1.0)
    for monitor, kept in (("reference", True), ("members", False)):
        both = Composition((dp, EarlyStopping(patience=3, monitor=monitor)))
        assert (both.mechanism(sampling).claim is not None) == kept
    with pytest.raises(UserError, match="exactly one"):
        EarlyStopping(patience=3, accuracy=0.5).adapt(Recipe())


def test_short_training_is_a_whole_schedule_and_never_a_longer_one():
    recipe = Recipe(epochs=40.0)
    short = ShortTraining(epochs=12.0).adapt(recipe)
    assert short == Recipe(epochs=12.0)
    stopped = EarlyStopping(epochs=12.0).adapt(recipe)
    assert (stopped.epochs, stopped.stop_epoch) == (40.0, 12.0)
    # The last steps of the one are annealed, those of the other are not.
    few, many = (one.sampling(2500.0) for one in (short, stopped))
    assert learning_rates(short, few)[-1] < 0.01 * recipe.lr
    assert learning_rates(stopped, many)[few.steps - 1] > 0.5 * recipe.lr
    for epochs in (40.0, 41.0):
        with pytest.raises(UserError, match="not shorter"):
            ShortTraining(epochs=epochs).adapt(recipe)


def test_a_recipe_of_its_own_changes_what_it_names_or_is_refused():
    assert OwnRecipe(epochs=60.0).adapt(Recipe()) == Recipe(epochs=60.0)
    assert OwnRecipe(averaging=0.0, momentum=0.0).adapt(Recipe(averaging=0.5)).averaging == 0.0
    with pytest.raises(UserError, match="changes nothing"):
        OwnRecipe().adapt(Recipe())
