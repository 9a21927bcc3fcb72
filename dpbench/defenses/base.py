"""What a defense may change: it overrides the stages it touches; the defaults are identity."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dpbench.component import Component
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Mechanism, TrainingData, Weights


@dataclass(frozen=True, kw_only=True)
class Defense(Component):
    """One privacy defense: its fields are its strength, its methods the stages it changes.

    Training stages: `adapt`, `prepare`, `loss`, `regularise`, `mechanism`. Then: `release`, and
    what an informed adversary does about it, `undo`.
    A defense that only releases differently reuses the trained models of what it masks.

    Class variables:
        reference: The paper that proposed it.
        keeps_argmax: `release` never changes the predicted label.
        randomised: `release` takes a `generator` keyword and uses it.
    """

    kind: ClassVar[str] = "defense"
    reference: ClassVar[str] = ""
    keeps_argmax: ClassVar[bool] = True
    randomised: ClassVar[bool] = False

    def adapt(self, recipe: Recipe) -> Recipe:
        """Returns the recipe this defense trains with: epochs, batch, decay, stopping."""
        return recipe

    def prepare(self, data: TrainingData) -> TrainingData:
        """Returns the training data this defense learns from. Must act on each example alone."""
        return data

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the per-example training loss.

        Args:
            logits: `(..., C)`, with any leading dimensions.
            targets: `(...)` int64 labels, or `(..., C)` float soft labels.

        Returns:
            `(...)` losses, differentiable in `logits`.
        """
        log_probs = logits.log_softmax(-1)
        if targets.is_floating_point():
            return -(targets * log_probs).sum(-1)
        return -log_probs.gather(-1, targets[..., None]).squeeze(-1)

    def regularise(self, weights: Weights) -> Tensor:
        """Returns a `(K,)` penalty on the stacked weights `(K, ...)` of K models."""
        return next(iter(weights.values())).new_zeros(())

    def mechanism(self, sampling: Sampling) -> Mechanism | None:
        """Returns the clipping and noise of training, with its claim, or None for plain SGD."""
        del sampling
        return None

    def release(self, outputs: Tensor) -> Tensor:
        """Returns what the adversary sees, given class probabilities `(..., C)` float32."""
        return outputs

    def undo(self, released: Tensor) -> Tensor:
        """Returns what an adversary who knows the defense makes of a release before attacking.

        An adaptive attack sees `undo(release(outputs))`: the confidences again where the release
        can be inverted, a sensible guess of what was hidden where it cannot.
        """
        return released


TRAINING_STAGES = ("adapt", "prepare", "loss", "regularise", "mechanism")


def overrides(defense: Defense, stage: str) -> bool:
    """Tells whether the defense's class changes a stage."""
    return getattr(type(defense), stage) is not getattr(Defense, stage)


@torch.no_grad()
def released(defense: Defense, outputs: Tensor, generator: torch.Generator) -> Tensor:
    """Returns `defense.release(outputs)`, handing the generator to randomised defenses only."""
    if defense.randomised:
        return defense.release(outputs, generator=generator)  # type: ignore[call-arg]
    return defense.release(outputs)
