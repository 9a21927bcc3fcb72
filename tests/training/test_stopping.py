"""When training stops, on losses that are known."""

import math

import pytest
import torch

from dpbench.training.recipe import Recipe
from dpbench.training.stopping import Stopping
from dpbench.training.task import TrainingData


def epochs_remembered(recipe: Recipe, losses: list[float]) -> tuple[list[int], bool]:
    """Shows a model's loss epoch after epoch; returns which were remembered, and if it stopped."""
    data = TrainingData(
        torch.zeros(4, 1), torch.zeros(4, dtype=torch.long),
        torch.zeros(2, 1), torch.zeros(2, dtype=torch.long),
    )  # fmt: skip
    stopping = Stopping(recipe, data, torch.tensor([[True, True, False, True]]))
    kept = []
    for epoch, loss in enumerate(losses):
        margin = -math.log(math.expm1(loss))  # of a right answer between two classes

        def predict(inputs, margin=margin):
            return torch.tensor([margin, 0.0]).expand(1, len(inputs), 2)

        if stopping.improved(predict).item():
            kept.append(epoch)
    return kept, stopping.exhausted


@pytest.mark.parametrize("monitor", ["reference", "members"])
def test_tiny_falls_of_the_members_loss_do_not_count(monitor):
    falls = [0.5 - 0.002 * epoch for epoch in range(10)]
    kept, stopped = epochs_remembered(Recipe(patience=3, monitor=monitor), falls)
    if monitor == "reference":
        assert kept == list(range(10))
    else:
        assert kept == [0, 3, 6, 9], "falls since the last one remembered add up"
    assert not stopped
    kept, stopped = epochs_remembered(
        Recipe(patience=3, monitor=monitor), [0.5, 0.499, 0.498, 0.497, 0.1]
    )
    assert kept == ([0, 1, 2, 3, 4] if monitor == "reference" else [0])
    assert stopped == (monitor == "members")


def test_a_stopped_model_remembers_nothing_more():
    kept, stopped = epochs_remembered(Recipe(patience=2), [0.5, 0.6, 0.7, 0.1])
    assert kept == [0]
    assert stopped
