"""Querying a cell's models: what they release on the pool, and how useful they are."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpbench.defenses import Composition
from dpbench.defenses.base import State
from dpbench.grid.job import Context, Job, Output
from dpbench.grid.network import Network, network_of
from dpbench.seeds import seed_for
from dpbench.training.fit import logits
from dpbench.training.task import Weights

Ints = NDArray[np.integer]

# Models are asked in blocks of about this many bytes of scores; no shipped grid has more than one.
_BLOCK_BYTES = 2**28


def blocks_of(shape: tuple[int, int, int]) -> list[slice]:
    """Returns the models that are asked together, for scores `(M, N, C)` of 32 bits."""
    models, points, classes = shape
    at_once = max(1, _BLOCK_BYTES // (4 * points * classes))
    return [slice(first, first + at_once) for first in range(0, models, at_once)]


@dataclass(frozen=True, kw_only=True)
class ReleasedModels:
    """The M trained models of a cell behind its release stage.

    Attributes:
        trains: Keys of the training jobs, in model order.
        step: The checkpoint that is released.
        trained: How the models were made: their network, and what it is given for an input.
        defense: Whose release stage applies.
        guard: Key of the job in which that stage learned about the models, if it does.
    """

    trains: tuple[str, ...]
    step: int
    trained: Composition
    defense: Composition
    guard: str = ""

    def query(
        self,
        context: Context,
        inputs: Tensor,
        *,
        name: str,
        models: Ints | None = None,
        repeats: int = 1,
    ) -> Tensor:
        """Returns released scores `(M, N, C)` on inputs `(N, *shape)`.

        Args:
            context: The run.
            inputs: What is asked.
            name: Names the query; a randomised release draws the same noise for the same name.
            models: Numbers of the models to ask; None asks all.
            repeats: How many random answers are averaged.
        """
        blocks = [*self.blocks(context, inputs, name=name, models=models, repeats=repeats)]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)

    def blocks(
        self,
        context: Context,
        inputs: Tensor,
        *,
        name: str,
        models: Ints | None = None,
        labels_only: bool = False,
        repeats: int = 1,
    ) -> Iterator[Tensor]:
        """Yields what `query` returns, some models after others: large pools take less memory.

        Arguments are those of `query`, `labels_only` that of `query_each`. A randomised release
        draws noise for all models at once.
        """
        weights = self.weights(context)
        numbers = np.arange(context.grid.models) if models is None else models
        shape = (len(numbers), len(inputs), context.population.n_classes)
        draws = any(mask.randomised for mask in self.defense.masks)
        for rows in [slice(None)] if draws else blocks_of(shape):
            some = torch.from_numpy(numbers[rows])
            chosen = {key: value[some] for key, value in weights.items()}
            outputs = self._logits(context, chosen, inputs)
            yield self._released(context, outputs, name, numbers[rows], repeats, labels_only)

    def query_each(
        self,
        context: Context,
        models: Ints,
        inputs: Tensor,
        *,
        name: str,
        labels_only: bool = False,
        repeats: int = 1,
    ) -> Tensor:
        """Returns released scores `(k, b, C)` of models `(k,)` on their inputs `(k, b, *shape)`.

        Args:
            context: The run.
            models: Whom to ask.
            inputs: What each is asked.
            name: As in `query`.
            labels_only: Only the largest score counts: without a mask, logits will do.
            repeats: As in `query`.
        """
        outputs = torch.empty(*inputs.shape[:2], context.population.n_classes)
        for model in np.unique(models):
            found = np.flatnonzero(models == model)
            together = found[-1] - found[0] == len(found) - 1
            # Neighbouring rows are a view: gathering them would copy every input once more.
            rows = slice(found[0], found[-1] + 1) if together else torch.from_numpy(found)
            asked = inputs[rows]
            answers = self._logits(context, self._model(context, model), asked.flatten(0, 1))
            outputs[rows] = answers.view(*asked.shape[:2], -1)
        return self._released(context, outputs, name, models, repeats, labels_only)

    def weights(self, context: Context) -> Weights:
        """Returns the M models' stacked weights, which no release stage hides."""
        parts = [self._weights(context, train) for train in self.trains]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _model(self, context: Context, model: int) -> Weights:
        """Returns one model's weights, stacked alone, without copying them."""
        for train in self.trains:
            weights = self._weights(context, train)
            models = len(next(iter(weights.values())))
            if model < models:
                return {name: value[model : model + 1] for name, value in weights.items()}
            model -= models
        raise IndexError(f"there is no model {model} more")

    def network(self, context: Context) -> Network:
        """Returns what the models are."""
        return network_of(context.grid.model, context.population, self.trained)

    def represented(self, inputs: Tensor) -> Tensor:
        """Returns what the models are given for inputs `(N, *shape)`."""
        return self.trained.represent(inputs)

    def _logits(self, context: Context, weights: Weights, inputs: Tensor) -> Tensor:
        network = self.network(context)
        return logits(
            network.architecture,
            weights,
            self.represented(inputs),
            shape=network.shape,
            n_classes=network.n_classes,
            device=context.device,
        )

    def _released(
        self,
        context: Context,
        outputs: Tensor,
        name: str,
        models: Ints | None,
        repeats: int,
        labels_only: bool,
    ) -> Tensor:
        """Returns the mean of `repeats` releases of logits `(K, N, C)`."""
        if labels_only and not self.defense.masks:
            return outputs
        seed = seed_for(context.grid.seed, "release", self.defense.label, name)
        generator = torch.Generator().manual_seed(seed)
        outputs, states = outputs.softmax(-1), self._states(context, models)
        seen = self.defense.release(outputs, generator, states)
        for count in range(2, repeats + 1):
            again = self.defense.release(outputs, generator, states)
            seen = seen + (again - seen) / count
        return seen

    def _states(self, context: Context, models: Ints | None) -> list[State]:
        """Returns what each mask has learned about the models asked."""
        if not self.guard:
            return []
        states: list[State] = [{} for _ in self.defense.masks]
        for path, value in context.store.arrays(self.guard).items():
            number, name = path.split("/", 1)
            rows = value if models is None else value[models]
            states[int(number)][name] = torch.from_numpy(rows)
        return states

    def _weights(self, context: Context, train: str) -> Weights:
        """Weights of one block; the last cell's blocks stay in memory for repeated queries."""
        cache = context.cache.setdefault("weights", {})
        if (train, self.step) not in cache:
            if any(key not in self.trains or step != self.step for key, step in cache):
                cache.clear()
            prefix = f"{self.step}/"
            arrays = context.store.arrays(train)
            cache[train, self.step] = {
                name.removeprefix(prefix): torch.from_numpy(value)
                for name, value in arrays.items()
                if name.startswith(prefix)
            }
        weights: Weights = cache[train, self.step]
        return weights


@dataclass(frozen=True, kw_only=True, eq=False)
class ObserveJob(Job):
    """Asks every model about the challenge points, the whole pool and the test set."""

    models: ReleasedModels

    @property
    def kind(self) -> str:
        """The job's kind."""
        return "observe"

    def run(self, context: Context) -> Output:
        """Returns released scores on the challenge points and correctness on the test set."""
        population = context.population
        challenge = torch.from_numpy(population.challenge)
        right = []
        outputs = context.store.rows_of()
        for pool in self._ask(context, population.pool_x, "pool"):
            right.append(_right(pool, population.pool_y))
            outputs.append(pool[:, challenge].numpy())
        tests = self._ask(context, population.test_x, "test")
        on_test = np.concatenate([_right(test, population.test_y) for test in tests])
        return Output(
            {
                "train_accuracy": float(np.concatenate(right)[context.members].mean()),
                "test_accuracy": float(on_test.mean()),
            },
            {"outputs": outputs, "test_correct": np.packbits(on_test, axis=1)},
        )

    def _ask(self, context: Context, inputs: NDArray[np.float32], name: str) -> Iterator[Tensor]:
        return self.models.blocks(context, torch.from_numpy(inputs), name=name)


def _right(released: Tensor, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns which predictions `(m, k)` are right."""
    found: NDArray[np.bool_] = (released.argmax(-1) == torch.from_numpy(labels)).numpy()
    return found
