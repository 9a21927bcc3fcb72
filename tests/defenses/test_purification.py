"""Purification: what autoencoders of non-members' vectors make of the members'."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from dpbench.defenses import Composition, Purification, Serving
from dpbench.testing import check_defense

MODELS, CLASSES, ROWS = 2, 4, 400


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors(rows: int, sharpness: float, seed: int) -> torch.Tensor:
    draw = generator(seed)
    return (sharpness * torch.randn(MODELS, rows, CLASSES, generator=draw)).softmax(-1)


def serving(reference: torch.Tensor) -> Serving:
    def nobody(*_):
        pytest.fail("purification asks nothing")

    return Serving(
        outputs=torch.full((MODELS, 5, CLASSES), torch.nan),  # the members' are not looked at
        labels=torch.zeros(5, dtype=torch.int64),
        members=torch.ones(MODELS, 5, dtype=torch.bool),
        reference_outputs=reference,
        reference_labels=torch.zeros(reference.shape[1], dtype=torch.int64),
        predict=nobody,
        shape=(1,),
        low=torch.zeros(1),
        high=torch.ones(1),
        binary=torch.zeros(1, dtype=torch.bool),
        generator=generator(1),
    )


@pytest.fixture(scope="module")
def fitted():
    defense = Purification(epochs=60, lr=3e-3)
    return defense, defense.fit_release(serving(vectors(ROWS, 1.5, 2)))


@pytest.mark.parametrize("keep_label", [True, False])
def test_the_contract(keep_label):
    check_defense(Purification(epochs=3, keep_label=keep_label))
    assert Purification(keep_label=keep_label).keeps_argmax is keep_label


def test_a_claim_survives_because_the_members_are_not_looked_at(fitted):
    _, state = fitted
    assert Composition((Purification(),)).claim_dropped_by == ()
    assert all(bool(value.isfinite().all()) for value in state.values())


def test_release_is_the_autoencoder_then_a_swap(fitted):
    defense, state = fitted
    given = vectors(30, 4.0, 3)
    raw = Purification(keep_label=False).release(given, state=state)
    seen = defense.release(given, state=state)
    for model in range(MODELS):
        for vector, found, bare in zip(given[model], seen[model], raw[model], strict=True):
            hidden = vector.double().numpy()
            for layer in range(4):
                weight, bias = (
                    state[f"{part}{layer}"][model].double().numpy() for part in ("weight", "bias")
                )
                hidden = hidden @ weight + bias[0]
                hidden = np.maximum(hidden, 0) if layer in (0, 2) else hidden
            expected = softmax(hidden)
            np.testing.assert_allclose(bare, expected, atol=1e-5)
            label, top = int(vector.argmax()), int(expected.argmax())
            expected[[label, top]] = expected[[top, label]]
            np.testing.assert_allclose(found, expected, atol=1e-5)
    assert torch.equal(seen.argmax(-1), given.argmax(-1))


def test_what_it_was_taught_on_passes_and_what_it_never_saw_is_drawn_towards_it(fitted):
    defense, state = fitted
    known, sure = vectors(ROWS, 1.5, 4), vectors(ROWS, 12.0, 5)
    passed = (defense.release(known, state=state) - known).abs().sum(-1).mean()
    shuffled = (known.roll(1, 1) - known).abs().sum(-1).mean()
    assert passed < 0.4 * shuffled
    gap = sure.amax(-1).mean() - known.amax(-1).mean()
    left = (
        defense.release(sure, state=state).amax(-1).mean()
        - defense.release(known, state=state).amax(-1).mean()
    )
    assert abs(left) < 0.9 * gap


def test_the_loss_is_the_published_one_and_training_lowers_it():
    defense, reference = Purification(label_weight=0.3), vectors(50, 1.5, 6)
    start = Purification(epochs=1, lr=1e-9).fit_release(serving(reference))
    after = Purification(epochs=80, label_weight=0.3).fit_release(serving(reference))

    def slow(state) -> float:
        total = 0.0
        seen = Purification(keep_label=False).release(reference, state=state)
        for vector, found in zip(reference.flatten(0, 1), seen.flatten(0, 1), strict=True):
            label = int(vector.argmax())
            total += float((found - vector).square().sum() - 0.3 * found[label].log())
        return total / reference.shape[1]

    assert float(defense._loss(start, reference)) == pytest.approx(slow(start), rel=1e-5)
    assert slow(after) < 0.7 * slow(start)


def test_a_heavier_label_weight_keeps_more_labels():
    reference = vectors(ROWS, 1.5, 7)
    kept = []
    for weight in (0.0, 3.0):
        defense = Purification(label_weight=weight, code=1, keep_label=False, epochs=60, lr=3e-3)
        seen = defense.release(reference, state=defense.fit_release(serving(reference)))
        kept.append(float((seen.argmax(-1) == reference.argmax(-1)).float().mean()))
    assert kept[1] > kept[0]


def test_one_models_autoencoder_does_not_depend_on_another_model():
    reference = vectors(100, 1.5, 8)
    other = torch.stack([reference[0], reference[1].flip(-1)])
    defense = Purification(epochs=5)
    first, second = (defense.fit_release(serving(known)) for known in (reference, other))
    for name, value in first.items():
        torch.testing.assert_close(value[0], second[name][0])
