"""The algebra of composed defenses: order, shared trainings, and what happens to a claim."""

import itertools
import json

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from dpbench import defenses as d
from dpbench.component import REGISTRIES
from dpbench.defenses import Composition
from dpbench.defenses.base import overrides
from dpbench.errors import UserError
from dpbench.training.recipe import Recipe, Sampling

SAMPLING = Sampling(rate=0.5, steps=20, batch=400.0, steps_per_epoch=2.0)
MASKS = (
    d.TopK(k=2),
    d.Rounding(digits=1),
    d.Temperature(temperature=3.0),
    d.LabelOnly(),
    d.LabelOnly(form="flat"),
)
KEEPING = (
    d.L1(weight=0.1),
    d.L2(weight_decay=0.1),
    d.Dropout(),
    d.Augmentation(),
    d.LabelSmoothing(),
    d.ConfidencePenalty(),
    d.EarlyStopping(epochs=1),
    d.EarlyStopping(patience=2),
    d.Transfer(),
    d.Scattering(),
    d.LabelDp(),
    d.HampOutput(),
    d.Purification(),
    d.Noise(),
    *MASKS,
)
DROPPING = (
    d.EarlyStopping(patience=2, monitor="members"),
    d.Selena(),
    d.Distillation(),
    d.Dmp(),
    d.MemGuard(),
)
REFUSED = (d.Mixup(), d.MixupMmd(), d.RelaxLoss(), d.AdversarialRegularisation())
DP = d.DpSgd(noise_multiplier=1.0)

masks = st.lists(st.sampled_from(MASKS), min_size=1, max_size=4).map(tuple)
others = st.lists(st.sampled_from(KEEPING + DROPPING), max_size=4, unique=True).map(tuple)


def composed(*parts) -> Composition:
    """Skips what two parts would both replace."""
    try:
        return Composition(parts)
    except UserError:
        assume(False)
        raise


def key(composition: Composition) -> str:
    recipe = composition.adapt(Recipe()).to_json()
    return json.dumps([recipe, composition.in_training.identity()], sort_keys=True)


@given(masks, st.integers(0, 1000))
def test_masks_act_in_order_and_are_undone_in_reverse(parts, seed):
    generator = torch.Generator().manual_seed(seed)
    outputs = (3 * torch.randn(6, 5, generator=generator)).softmax(-1)
    expected = outputs
    for part in parts:
        expected = part.release(expected)
    whole = Composition(parts)
    assert torch.equal(whole.release(outputs, generator), expected)
    for part in reversed(parts):
        expected = part.undo(expected)
    assert torch.equal(whole.undo(whole.release(outputs, generator)), expected)


@given(masks, masks, st.integers(0, 1000))
def test_composition_is_associative(first, second, seed):
    generator = torch.Generator().manual_seed(seed)
    outputs = (3 * torch.randn(4, 5, generator=generator)).softmax(-1)
    apart = Composition(second).release(Composition(first).release(outputs, generator), generator)
    assert torch.equal(Composition(first + second).release(outputs, generator), apart)


def test_order_matters_where_it_should():
    outputs = torch.tensor([[0.50, 0.26, 0.24]])
    generator = torch.Generator()
    sharp, rounded = d.Temperature(temperature=0.2), d.Rounding(digits=1)
    one, other = (Composition(p).release(outputs, generator) for p in
                  ((sharp, rounded), (rounded, sharp)))  # fmt: skip
    assert not torch.equal(one, other)


@given(others, masks)
def test_a_mask_shares_the_models_of_what_it_masks(parts, hidden):
    bare = composed(*parts)
    assert key(composed(*parts, *hidden)) == key(bare)


def test_two_trainings_share_a_key_only_if_they_are_the_same():
    trained = [
        part
        for part in (*KEEPING, *DROPPING, *REFUSED, d.Hamp(), d.ConvexConcaveLoss())
        if not (overrides(part, "release") and not overrides(part, "train"))
    ]
    for one, other in itertools.combinations(trained, 2):
        # Fixed epochs are checkpoints of one training: the key has no stopping epoch of their own.
        assert key(Composition((one,))) != key(Composition((other,))), (one.label(), other.label())
    assert key(Composition((d.LabelSmoothing(epsilon=0.1),))) != key(
        Composition((d.LabelSmoothing(epsilon=0.2),))
    )


@given(others)
def test_a_claim_survives_exactly_what_keeps_it(parts):
    whole = composed(*parts, DP)
    dropped = {part.name for part in parts if part in DROPPING}
    assert set(whole.claim_dropped_by) == dropped
    mechanism = whole.mechanism(SAMPLING)
    assert mechanism is not None
    assert mechanism.noise_multiplier == 1.0
    assert (mechanism.claim is None) == bool(dropped)


@pytest.mark.parametrize("mixing", REFUSED, ids=lambda part: part.name)
def test_what_mixes_examples_is_never_clipped(mixing):
    with pytest.raises(UserError, match="cannot be composed"):
        Composition((mixing, DP))
    with pytest.raises(UserError, match="cannot be composed"):
        Composition((DP, mixing))


def test_copies_of_an_example_need_something_that_tells_them_apart():
    several = d.DpSgd(noise_multiplier=1.0, augmentations=4)
    assert Composition((d.Augmentation(), several)).mechanism(SAMPLING).multiplicity == 4
    with pytest.raises(UserError, match="apart"):
        Composition((several,)).mechanism(SAMPLING)


def test_every_pair_of_defenses_is_composed_or_refused_by_name():
    examples = {part.name: part for part in (*KEEPING, *DROPPING, *REFUSED, DP)}
    examples |= {
        "hamp": d.Hamp(),
        "ccl": d.ConvexConcaveLoss(),
        "pate": d.Pate(epsilon=1.0),
        "output_perturbation": d.OutputPerturbation(epsilon=1.0),
        "objective_perturbation": d.ObjectivePerturbation(epsilon=1.0),
        "none": d.Undefended(),
        "recipe": d.OwnRecipe(epochs=3.0),
        "short_training": d.ShortTraining(epochs=3.0),
    }
    shipped = {name for name, cls in REGISTRIES["defense"].items() if "dpbench." in cls.__module__}
    assert shipped <= set(examples)
    for one, other in itertools.permutations(examples.values(), 2):
        whole, message = None, ""
        try:
            whole = Composition((one, other))
        except UserError as error:
            message = str(error)
        if whole is None:
            assert one.name in message
            assert other.name in message
            continue
        assert whole.name == f"{one.name}+{other.name}"
        assert whole.keeps_argmax == (one.keeps_argmax and other.keeps_argmax)
        assert whole.cost == pytest.approx(one.cost * other.cost)


def test_every_mask_is_attacked_by_calibrated_labels_too():
    wanted = {"gap", "label_lira", "noise_robustness", "noise_lira", "boundary_lira"}
    examples = [part for part in (*KEEPING, *DROPPING, *REFUSED, DP) if overrides(part, "release")]
    shipped = {
        name
        for name, cls in REGISTRIES["defense"].items()
        if "dpbench." in cls.__module__ and cls.release is not d.Defense.release
    }
    assert shipped <= {part.name for part in examples}
    for mask in examples:
        for whole in (Composition((mask,)), Composition((d.L2(weight_decay=0.1), mask))):
            assert wanted <= set(whole.adaptive_attacks)
    assert wanted <= set(Composition((d.Hamp(),)).adaptive_attacks)
    assert not Composition((d.L2(weight_decay=0.1),)).adaptive_attacks


@pytest.mark.parametrize(
    ("one", "other", "field"),
    [
        (d.ShortTraining(epochs=3.0), DP, "epochs"),
        (d.OwnRecipe(lr=0.1), DP, "lr"),
        (d.OwnRecipe(lr=0.1), d.OutputPerturbation(epsilon=1.0), "lr"),
        (d.OwnRecipe(epochs=5.0), d.ShortTraining(epochs=3.0), "epochs"),
        (d.OwnRecipe(epochs=5.0), d.OwnRecipe(epochs=3.0), "epochs"),
        (d.EarlyStopping(epochs=1.0), d.EarlyStopping(patience=2), "patience"),
        (d.L2(weight_decay=0.1), d.L2(weight_decay=0.2), "weight_decay"),
    ],
)
def test_no_part_silently_undoes_what_another_sets(one, other, field):
    for parts in ((one, other), (other, one)):
        with pytest.raises(UserError, match=field):
            Composition(parts)


def test_parts_that_set_different_fields_go_together():
    both = Composition((d.OwnRecipe(lr=0.2, batch_size=32), d.ShortTraining(epochs=3.0)))
    recipe = both.adapt(Recipe(sampling_rate=0.5))
    assert (recipe.lr, recipe.batch_size, recipe.epochs) == (0.2, 32, 3.0)
    assert recipe.sampling_rate is None
