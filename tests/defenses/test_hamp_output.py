"""HAMP's output stage: foreign values, true order."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpbench.defenses import Composition, HampOutput, Serving
from dpbench.testing import check_defense

MODELS, CLASSES = 3, 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def serving(predict, **changes) -> Serving:
    nothing = torch.zeros(0, dtype=torch.int64)
    return Serving(
        outputs=torch.zeros(MODELS, 0, CLASSES),
        labels=nothing,
        members=torch.zeros(MODELS, 0, dtype=torch.bool),
        reference_outputs=torch.zeros(MODELS, 0, CLASSES),
        reference_labels=nothing,
        predict=predict,
        shape=(2, 3),
        low=torch.tensor([[-1.0, 0.0, 5.0]] * 2),
        high=torch.tensor([[1.0, 2.0, 7.0]] * 2),
        binary=torch.tensor([[False, True, False]] * 2),
        generator=generator(5),
    )._replace(**changes)


def linear(inputs: torch.Tensor) -> torch.Tensor:
    weights = torch.randn(MODELS, 6, CLASSES, generator=generator(6))
    return (inputs.flatten(1) @ weights).softmax(-1)


@pytest.mark.parametrize("bank", [1, 50])
def test_the_contract(bank):
    check_defense(HampOutput(bank=bank))


def test_a_claim_survives_inputs_that_nobody_owns():
    assert HampOutput().keeps_claim
    assert Composition((HampOutput(),)).claim_dropped_by == ()


def test_synthetic_inputs_fill_the_features_ranges():
    asked = []

    def predict(inputs):
        asked.append(inputs)
        return linear(inputs)

    HampOutput(bank=4000).fit_release(serving(predict))
    (inputs,) = asked
    assert inputs.shape == (4000, 2, 3)
    coin = inputs[..., 1]
    assert bool(((coin == 0) | (coin == 2)).all())
    assert float(coin.mean()) == pytest.approx(1, abs=0.06)
    for feature, low, high in ((0, -1, 1), (2, 5, 7)):
        values = inputs[..., feature]
        assert low <= values.min() < low + 0.01
        assert high - 0.01 < values.max() <= high
        assert float(values.std()) == pytest.approx(2 / 12**0.5, rel=0.03)


def test_values_are_those_of_one_synthetic_input_of_the_same_model():
    defense = HampOutput(bank=20)
    state = defense.fit_release(serving(linear))
    outputs = linear(torch.rand(200, 2, 3, generator=generator(7)))
    seen = defense.release(outputs, generator=generator(8), state=state)
    for model in range(MODELS):
        bank = {tuple(row.tolist()) for row in state["bank"][model]}
        used = {tuple(sorted(row.tolist(), reverse=True)) for row in seen[model]}
        assert used <= bank
        assert len(used) > 15


def test_a_tie_at_the_top_leaves_the_label_in_place():
    tied = torch.tensor([0.5, 0.5, 0.0, 0.0]).expand(MODELS, 9, CLASSES)
    defense = HampOutput(bank=9)
    state = defense.fit_release(serving(lambda inputs: tied.clone()))
    outputs = linear(torch.rand(50, 2, 3, generator=generator(7)))
    seen = defense.release(outputs, generator=generator(8), state=state)
    assert torch.equal(seen.argmax(-1), outputs.argmax(-1))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31))
def test_the_order_survives_and_nothing_else_does(seed):
    defense = HampOutput(bank=30)
    state = defense.fit_release(serving(linear))
    outputs = torch.rand(MODELS, 20, CLASSES, generator=generator(seed)).softmax(-1)
    order = outputs.argsort(-1)
    seen = defense.release(outputs, generator=generator(seed), state=state)
    assert torch.equal(seen.argsort(-1), order)
    sharper = outputs.pow(7) / outputs.pow(7).sum(-1, keepdim=True)
    again = defense.release(sharper, generator=generator(seed), state=state)
    assert torch.equal(again, seen)
    # What the adversary reads does not depend on the draw.
    other = defense.release(outputs, generator=generator(seed + 1), state=state)
    assert torch.equal(defense.undo(seen), defense.undo(other))
    assert torch.equal(defense.undo(seen).argsort(-1), order)
