"""What an informed adversary recovers from each mask."""

import pytest
import torch

from dpbench.defenses import LabelOnly, Rounding, Temperature, TopK


def confidences(rows: int = 500, classes: int = 10) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (4 * torch.randn(rows, classes, generator=generator)).softmax(-1)


def test_temperature_is_undone_completely():
    outputs = confidences()
    for temperature in (0.5, 5.0, 20.0):
        defense = Temperature(temperature=temperature)
        assert not torch.allclose(defense.release(outputs), outputs, atol=0.01)
        recovered = defense.undo(defense.release(outputs))
        torch.testing.assert_close(recovered.log(), outputs.log(), rtol=2e-4, atol=2e-4)


def test_top_k_keeps_what_is_shown_and_spreads_the_rest():
    outputs = confidences()
    recovered = TopK(k=3).undo(TopK(k=3).release(outputs))
    torch.testing.assert_close(recovered.sum(-1), torch.ones(len(outputs)))
    places = outputs.topk(3).indices
    assert torch.equal(recovered.gather(-1, places), outputs.gather(-1, places))
    hidden = torch.ones_like(outputs, dtype=torch.bool).scatter_(-1, places, False)
    for row, mask in zip(recovered, hidden, strict=True):
        assert torch.allclose(row[mask], row[mask][0])


def test_rounded_zeros_are_small_not_impossible():
    recovered = Rounding(digits=2).undo(Rounding(digits=2).release(confidences()))
    assert float(recovered.min()) == pytest.approx(0.0025)
    # A tie may have been broken by half a unit on top of the rounding.
    assert (recovered - confidences()).abs().max() <= 0.01 + 1e-6


def test_a_bare_label_cannot_be_undone():
    released = LabelOnly().release(confidences())
    assert torch.equal(LabelOnly().undo(released), released)
