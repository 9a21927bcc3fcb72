"""Noisy confidences, and what is left of them for who asks again and again."""

import pytest
import torch
from scipy.special import expit

from dpbench.defenses import Composition, Noise, Rounding
from dpbench.metrics import auc, roc
from dpbench.testing import check_defense


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def confidences(rows: int, classes: int = 5) -> torch.Tensor:
    return (2 * torch.randn(rows, classes, generator=generator(1))).softmax(-1)


@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0])
def test_the_contract(scale):
    check_defense(Noise(scale=scale))


def test_one_answer_is_the_noisy_vector_clipped_with_the_label_on_top():
    outputs, scale = confidences(50), 0.2
    noise = torch.empty_like(outputs).normal_(0, 1, generator=generator())
    seen = Noise(scale=scale).release(outputs, generator=generator())
    for row, drawn, found in zip(outputs, noise, seen, strict=True):
        noisy = [max(float(p + scale * e), 1e-12) for p, e in zip(row, drawn, strict=True)]
        label, top = int(row.argmax()), max(range(5), key=noisy.__getitem__)
        noisy[label], noisy[top] = noisy[top], noisy[label]
        noisy[label] = max(noisy[label], 2e-12)
        expected = torch.tensor(noisy) / sum(noisy)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_where_all_scores_are_clipped_the_label_still_leads():
    outputs = confidences(4000)
    seen = Noise(scale=1.0).release(outputs, generator=generator())
    assert torch.equal(seen.argmax(-1), outputs.argmax(-1))
    assert ((seen.amax(-1) - 2 / 6).abs() < 1e-6).any()  # it happens


def test_an_informed_adversary_asks_as_often_as_the_most_patient_mask_needs():
    assert Composition((Noise(),)).repeats == 64
    assert Composition((Noise(), Rounding())).repeats == 64
    assert Composition((Rounding(),)).repeats == 1
    assert Composition((Noise(),)).can_be_undone


def averaged(outputs: torch.Tensor, scale: float, count: int) -> torch.Tensor:
    defense, draw = Noise(scale=scale), generator(2)
    answers = [defense.release(outputs, generator=draw) for _ in range(count)]
    return torch.stack(answers).mean(0)


def test_averages_approach_the_confidences_as_their_noise_falls_with_the_root_of_their_number():
    # Far from zero, where nothing is clipped, answers are unbiased but for the normalisation.
    outputs = torch.tensor([0.5, 0.3, 0.2]).expand(2000, 3)
    errors = [
        float((averaged(outputs, 0.02, count) - outputs).square().mean().sqrt())
        for count in (1, 4, 64)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)
    assert errors[0] / errors[2] == pytest.approx(8, rel=0.1)


def test_averaging_recovers_the_attack():
    rng = torch.Generator().manual_seed(3)
    members = torch.rand(4000, generator=rng) < 0.5
    own = expit(torch.randn(4000, generator=rng).numpy() + 1.0 + 1.5 * members.numpy())
    own = torch.from_numpy(own)
    outputs = torch.stack([own, 0.7 * (1 - own), 0.3 * (1 - own)], dim=1)

    plain, once, often = (
        auc(roc(seen[:, 0].numpy(), members.numpy()))
        for seen in (outputs, averaged(outputs, 0.15, 1), averaged(outputs, 0.15, 64))
    )
    assert once < plain - 0.05
    assert often > plain - 0.01
