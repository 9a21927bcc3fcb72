"""A cell's trained models behind its release stage, and how they are queried."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dpbench.arrays import Ints as Ints
from dpbench.defenses import Composition
from dpbench.defenses.base import State
from dpbench.game.membership_game import MembershipGame
from dpbench.game.network import network_of
from dpbench.game.train import TrainJob
from dpbench.jobs.inputs import Inputs
from dpbench.jobs.job import Job
from dpbench.models.network import Network
from dpbench.seeds import seed_for
from dpbench.training.ensemble import Ensemble
from dpbench.training.fit import logits
from dpbench.training.task import Weights

# Models are queried in blocks of about this many bytes of scores; no shipped grid has more than
# one.
_BLOCK_BYTES = 2**28


def blocks_of(shape: tuple[int, int, int]) -> list[slice]:
    """Returns the models that are queried together, for scores `(M, N, C)` of 32 bits."""
    models, points, classes = shape
    at_once = max(1, _BLOCK_BYTES // (4 * points * classes))
    return [slice(first, first + at_once) for first in range(0, models, at_once)]


@dataclass(frozen=True, kw_only=True)
class ReleasedModels:
    """The M trained models of a cell behind its release stage.

    Attributes:
        trains: The training jobs, in model order.
        step: The checkpoint that is released.
        masks: The parts of the defense that change what is released.
        fitted: The job in which the masks learned about the models, where a mask does.
    """

    trains: tuple[TrainJob, ...]
    step: int
    masks: Composition
    fitted: Job | None = None

    @property
    def game(self) -> MembershipGame:
        """The data and the bits behind the models."""
        return self.trains[0].game

    @cached_property
    def n_models(self) -> int:
        """M."""
        return sum(len(train.models) for train in self.trains)

    @property
    def network(self) -> Network:
        """What the models are."""
        return self.trains[0].network

    @property
    def parameters(self) -> int:
        """Number of parameters of the grid's own network, by which costs are estimated."""
        architecture = self.trains[0].architecture
        return network_of(architecture, self.game.population, Composition(())).parameters

    def represented(self, inputs: Tensor) -> Tensor:
        """Returns what the models are given for inputs `(N, *shape)`."""
        return self.trains[0].defense.represent(inputs)

    def query(
        self,
        results: Inputs,
        inputs: Tensor,
        *,
        name: str,
        models: Ints | None = None,
        repeats: int = 1,
    ) -> Tensor:
        """Returns released scores `(M, N, C)` on inputs `(N, *shape)`.

        Args:
            results: Where the weights are read.
            inputs: The queries.
            name: Names the query; a randomised release draws the same noise for the same name.
            models: Numbers of the models to query; None queries all.
            repeats: How many random answers are averaged.
        """
        blocks = [*self.blocks(results, inputs, name=name, models=models, repeats=repeats)]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)

    def blocks(
        self,
        results: Inputs,
        inputs: Tensor,
        *,
        name: str,
        models: Ints | None = None,
        labels_only: bool = False,
        repeats: int = 1,
    ) -> Iterator[Tensor]:
        """Yields what `query` returns, some models at a time: large pools take less memory.

        Arguments are those of `query`, and `labels_only` is that of `query_each`. A randomised
        release draws noise for all models at once.
        """
        weights = self.weights(results)
        numbers = np.arange(self.n_models) if models is None else models
        shape = (len(numbers), len(inputs), self.network.n_classes)
        draws = any(mask.randomised for mask in self.masks.parts)
        for rows in [slice(None)] if draws else blocks_of(shape):
            some = torch.from_numpy(numbers[rows])
            chosen = {key: value[some] for key, value in weights.items()}
            outputs = self._logits(results, chosen, inputs)
            yield self._released(results, outputs, name, numbers[rows], repeats, labels_only)

    def query_each(
        self,
        results: Inputs,
        models: Ints,
        inputs: Tensor,
        *,
        name: str,
        labels_only: bool = False,
        repeats: int = 1,
    ) -> Tensor:
        """Returns released scores `(k, b, C)` of models `(k,)` on their inputs `(k, b, *shape)`.

        Args:
            results: Where the weights are read.
            models: Numbers of the models, one for each block of inputs.
            inputs: The queries.
            name: As in `query`.
            labels_only: Only the largest score counts: without a mask, logits will do.
            repeats: As in `query`.
        """
        outputs = torch.empty(*inputs.shape[:2], self.network.n_classes)
        for model in np.unique(models):
            found = np.flatnonzero(models == model)
            together = found[-1] - found[0] == len(found) - 1
            # Neighbouring rows are a view: gathering them would copy every input once more.
            rows = slice(found[0], found[-1] + 1) if together else torch.from_numpy(found)
            asked = inputs[rows]
            answers = self._logits(results, self._model(results, model), asked.flatten(0, 1))
            outputs[rows] = answers.view(*asked.shape[:2], -1)
        return self._released(results, outputs, name, models, repeats, labels_only)

    def weights(self, results: Inputs) -> Weights:
        """Returns the M models' stacked weights, which no release stage hides."""
        parts = self._blocks_of_weights(results)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _model(self, results: Inputs, model: int) -> Weights:
        """Returns one model's weights, stacked alone, without copying them."""
        for train, weights in zip(self.trains, self._blocks_of_weights(results), strict=True):
            if model < len(train.models):
                return {name: value[model : model + 1] for name, value in weights.items()}
            model -= len(train.models)
        raise IndexError(f"there is no model {model} more")

    def _blocks_of_weights(self, results: Inputs) -> Sequence[Weights]:
        return [
            {name: torch.from_numpy(value) for name, value in arrays.items()}
            for arrays in results.kept(self.trains, f"{self.step}/")
        ]

    def _logits(self, results: Inputs, weights: Weights, inputs: Tensor) -> Tensor:
        return logits(Ensemble(self.network, weights, results.device), self.represented(inputs))

    def _released(
        self,
        results: Inputs,
        outputs: Tensor,
        name: str,
        models: Ints | None,
        repeats: int,
        labels_only: bool,
    ) -> Tensor:
        """Returns the mean of `repeats` releases of logits `(K, N, C)`."""
        # The largest logit is the largest probability: a softmax would change no label.
        if labels_only and not self.masks.parts:
            return outputs
        seed = seed_for(self.game.seed, "release", self.masks.label, name)
        generator = torch.Generator().manual_seed(seed)
        outputs, states = outputs.softmax(-1), self._states(results, models)
        seen = self.masks.release(outputs, generator, states)
        for count in range(2, repeats + 1):
            again = self.masks.release(outputs, generator, states)
            seen = seen + (again - seen) / count
        return seen

    def _states(self, results: Inputs, models: Ints | None) -> list[State]:
        """Returns what each mask has learned about the models that are queried."""
        if self.fitted is None:
            return []
        states: list[State] = [{} for _ in self.masks.parts]
        for path, value in results.arrays(self.fitted).items():
            number, name = path.split("/", 1)
            rows = value if models is None else value[models]
            states[int(number)][name] = torch.from_numpy(rows)
        return states
