"""HAMP's second half: score values of random inputs, in the order of the true scores."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense, Serving, State

# The largest value leads by at least this, so that the label survives where a random input's two
# largest scores tie.
_LEAD = 1e-6


@register
@dataclass(frozen=True, kw_only=True)
class HampOutput(Defense):
    """Releases the scores of a random synthetic input, put in the order of the query's own scores.

    The test-time stage of HAMP (Chen and Pattabiraman 2024). Before serving, every model is asked
    about inputs that are uniform within the features' ranges, binary features by a fair coin, and
    keeps their sorted scores; every query is answered with one set of them, drawn at random. All
    that is left of a query is the order of its scores, which no noise hides. It assumes that the
    order tells members from others no better than the label does.

    Attributes:
        bank: Number of synthetic inputs.
    """

    name: ClassVar[str] = "hamp_output"
    reference: ClassVar[str] = (
        "Chen and Pattabiraman 2024, Overconfidence is a Dangerous Thing: Mitigating Membership "
        "Inference Attacks by Enforcing Less Confident Prediction, NDSS 2024"
    )
    randomised: ClassVar[bool] = True

    bank: Annotated[int, Field(ge=1)] = 1000

    @property
    def keeps_claim(self) -> bool:
        """The members are not looked at: synthetic inputs through a private model are safe."""
        return True

    def fit_release(self, serving: Serving) -> State:
        """Returns every model's bank of falling scores `(M, bank, C)`."""
        shape = (self.bank, *serving.shape)
        share = torch.rand(shape, generator=serving.generator)
        share = torch.where(serving.binary, share.round(), share)
        inputs = serving.low + share * (serving.high - serving.low)
        scores = serving.predict(inputs).sort(-1, descending=True).values
        scores[..., 0] = torch.maximum(scores[..., 0], scores[..., 1:].amax(-1) + _LEAD)
        return {"bank": scores / scores.sum(-1, keepdim=True)}

    def release(
        self, outputs: Tensor, generator: Generator | None = None, state: State | None = None
    ) -> Tensor:
        """Replaces the values of `(K, N, C)` probabilities and keeps their order."""
        if state is None:
            raise ValueError("hamp_output must learn about the models before it releases")
        bank = state["bank"]
        models, queries, _ = outputs.shape
        drawn = torch.randint(self.bank, (models, queries), generator=generator)
        values = bank[torch.arange(models)[:, None], drawn]
        return torch.empty_like(outputs).scatter_(-1, _order(outputs), values)

    def undo(self, released: Tensor) -> Tensor:
        """Reads the order alone: weights 1, 1/2, 1/3, ... by rank, normalised."""
        weights = 1 / torch.arange(1, released.shape[-1] + 1, dtype=released.dtype)
        weights = (weights / weights.sum()).expand_as(released)
        return torch.empty_like(released).scatter_(-1, _order(released), weights)


def _order(scores: Tensor) -> Tensor:
    """Returns the classes from the largest score to the smallest; equal ones by their number."""
    return scores.argsort(dim=-1, descending=True, stable=True)
