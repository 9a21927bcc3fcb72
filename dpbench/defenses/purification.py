"""Purification: an autoencoder that was taught on non-members rewrites every confidence vector."""

import itertools
import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense, Serving, State
from dpbench.defenses.search import Search
from dpbench.training.recipe import NonNegative, Positive

# The code layer in the middle is linear: few ReLUs may all be dead, and pass nothing on.
_RECTIFIED = (0, 2)


@register
@dataclass(frozen=True, kw_only=True)
class Purification(Defense):
    """Releases `G(p)`: the confidence vector as an autoencoder of non-members' vectors sees it.

    G is trained for every model on its outputs on the public reference set, to minimise
    `|G(p) - p|^2 + label_weight * cross_entropy(G(p), argmax p)`: what only members' vectors have
    is lost in its narrow code. It assumes that the members' and non-members' vectors of one label
    become alike; what knows the true label still sees which labels are right (Yang et al. 2020).

    Attributes:
        label_weight: Weight of keeping the label in training.
        code: Units of the narrow layer.
        hidden: Units of the layers before and behind it.
        epochs: Passes over the reference outputs.
        batch_size: Their batch.
        lr: Learning rate of Adam.
        keep_label: Swaps the largest released score with the label's, so that it is kept always.
    """

    name: ClassVar[str] = "purification"
    reference: ClassVar[str] = (
        "Yang et al. 2020, Defending Model Inversion and Membership Inference Attacks via "
        "Prediction Purification"
    )
    search: ClassVar = {"label_weight": Search(0.01, 10.0)}

    label_weight: NonNegative = 0.1
    code: Annotated[int, Field(ge=1)] = 4
    hidden: Annotated[int, Field(ge=1)] = 32
    epochs: Annotated[int, Field(ge=1)] = 100
    batch_size: Annotated[int, Field(ge=1)] = 64
    lr: Positive = 1e-3
    keep_label: bool = True

    @property
    def keeps_argmax(self) -> bool:  # type: ignore[override]
        """Only with `keep_label`."""
        return self.keep_label

    @property
    def keeps_claim(self) -> bool:
        """The members are not looked at: public examples through a private model are safe."""
        return True

    def fit_release(self, serving: Serving) -> State:
        """Trains M autoencoders side by side, each on its model's reference outputs."""
        outputs, generator = serving.reference_outputs, serving.generator
        models, _, classes = outputs.shape
        sizes = (classes, self.hidden, self.code, self.hidden, classes)
        state: State = {}
        for layer, (d_in, d_out) in enumerate(itertools.pairwise(sizes)):
            weight = torch.randn(models, d_in, d_out, generator=generator) * math.sqrt(2 / d_in)
            state |= {f"weight{layer}": weight, f"bias{layer}": torch.zeros(models, 1, d_out)}
        self._train(state, outputs, generator)
        return {name: value.detach() for name, value in state.items()}

    @torch.enable_grad()
    def _train(self, state: State, outputs: Tensor, generator: Generator) -> None:
        """Minimises the loss by Adam, which treats every weight alone, so every model too."""
        optimizer = torch.optim.Adam([value.requires_grad_() for value in state.values()], self.lr)
        for _ in range(self.epochs):
            order = torch.randperm(outputs.shape[1], generator=generator)
            for first in range(0, len(order), self.batch_size):
                rows = order[first : first + self.batch_size]
                optimizer.zero_grad()
                torch.autograd.backward(self._loss(state, outputs[:, rows]))
                optimizer.step()

    def _loss(self, state: State, batch: Tensor) -> Tensor:
        """Returns the sum over models of the mean loss on `(M, B, C)` vectors."""
        logits = _rewritten(state, batch)
        labels = batch.argmax(-1, keepdim=True)
        distance = (logits.softmax(-1) - batch).square().sum(-1)
        cross_entropy = -logits.log_softmax(-1).gather(-1, labels).squeeze(-1)
        return (distance + self.label_weight * cross_entropy).mean(1).sum()

    def release(self, outputs: Tensor, state: State | None = None) -> Tensor:
        """Rewrites `(K, N, C)` probabilities."""
        if state is None:
            raise ValueError("purification must learn about the models before it releases")
        seen = _rewritten(state, outputs).softmax(-1)
        if not self.keep_label:
            return seen
        label, largest = outputs.argmax(-1, keepdim=True), seen.argmax(-1, keepdim=True)
        own, top = seen.gather(-1, label), seen.gather(-1, largest)
        return seen.scatter(-1, largest, own).scatter_(-1, label, top)


def _rewritten(state: State, vectors: Tensor) -> Tensor:
    """Returns the autoencoders' logits `(K, N, C)`."""
    for layer in range(len(state) // 2):
        vectors = torch.baddbmm(state[f"bias{layer}"], vectors, state[f"weight{layer}"])
        if layer in _RECTIFIED:
            vectors = vectors.relu()
    return vectors
