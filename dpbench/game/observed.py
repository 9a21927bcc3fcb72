"""A cell's models as an adversary sees them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from dpbench.attacks import Access, Attack, Oracle
from dpbench.attacks.base import Floats, Ints
from dpbench.game.observe import ObserveJob
from dpbench.game.released_models import ReleasedModels, blocks_of
from dpbench.jobs.inputs import Inputs
from dpbench.training.ensemble import Ensemble
from dpbench.training.white_box import TrainedModels


@dataclass(frozen=True, kw_only=True)
class Observed:
    """A cell's models together with what was already asked of them.

    Attributes:
        observe: The observation.
        informed: The adversary knows the release stage and undoes what can be undone.
    """

    observe: ObserveJob
    informed: bool

    @property
    def models(self) -> ReleasedModels:
        """The models, which answer further queries."""
        return self.observe.models

    @property
    def repeats(self) -> int:
        """How often the adversary asks the same query."""
        return self.models.masks.repeats if self.informed else 1

    def oracle(
        self, results: Inputs, attack: Attack, access: Access, models: Ints, points: int
    ) -> Oracle:
        """Returns an oracle that shows what `access` allows of some models and the first points."""
        asked, labels_only = 0, access == Access.LABEL

        def name() -> str:
            nonlocal asked
            asked += 1
            return f"query{asked}"

        def blocks(inputs: Floats | None) -> Iterator[Floats]:
            return self._blocks(results, models, points, inputs, name, labels_only)

        def joined(inputs: Floats | None) -> Floats:
            found = [*blocks(inputs)]
            return found[0] if len(found) == 1 else np.concatenate(found)

        def query_each(which: Ints, points: Ints, inputs: Floats) -> Floats:
            del points  # models answer alike on whoever's account
            asked = self.models.query_each(
                results,
                models[which],
                _tensor(inputs),
                name=name(),
                labels_only=labels_only,
                repeats=self.repeats,
            )
            return self._seen(asked).numpy()

        sees_weights = access == Access.WHITE_BOX
        return Oracle(
            access=access,
            budget=attack.budget,
            pool_outputs=lambda: joined(None),
            query=joined,
            query_each=query_each,
            blocks=blocks,
            white_box=self._trained(results, models, points) if sees_weights else None,
        )

    def answers(self, results: Inputs, model: int, inputs: torch.Tensor) -> torch.Tensor:
        """Returns what one model answers, `(N, C)`, as the adversary sees it."""
        shape = (1, len(inputs), *inputs.shape[1:])
        which = np.array([model])
        # The name seeds a randomised release: it is part of every result of a student.
        answers = self.models.query_each(results, which, inputs.view(shape), name="lessons")
        return self._seen(answers)[0]

    def _blocks(
        self,
        results: Inputs,
        models: Ints,
        points: int,
        inputs: Floats | None,
        name: Callable[[], str],
        labels_only: bool,
    ) -> Iterator[Floats]:
        """Yields what is released on inputs, or (None) on the pool, some models after others.

        About the pool that is what was observed; where answers are random, they are asked again.
        """
        some = blocks_of((len(models), points, self.models.network.n_classes))
        if inputs is None and self.repeats == 1:
            for rows in some:
                yield self._seen(self._observed(results, models[rows], points)).numpy()
            return
        if inputs is None and len(some) == 1:
            yield self._asked_again(results, models, points, name())
            return
        for released in self.models.blocks(
            results,
            _tensor(self._pool(points) if inputs is None else inputs),
            name=name(),
            models=models,
            labels_only=labels_only,
            repeats=self.repeats,
        ):
            yield self._seen(released).numpy()

    def _asked_again(self, results: Inputs, models: Ints, points: int, name: str) -> Floats:
        """Returns the mean of random answers about the pool."""

        def ask() -> Floats:
            pool, repeats = _tensor(self._pool(points)), self.repeats
            return self._seen(
                self.models.query(results, pool, name=name, models=models, repeats=repeats)
            ).numpy()

        # Every attack on scores asks for the same ones: of all models, and of each fold.
        answers = results.remembered((self.observe.key, models.tobytes(), points, name), ask)
        return answers.copy()

    def _pool(self, points: int) -> Floats:
        population = self.observe.game.population
        return population.pool_x[population.challenge][:points]

    def _observed(self, results: Inputs, models: Ints, points: int) -> torch.Tensor:
        first, stop = int(models.min()), int(models.max()) + 1
        rows = results.rows(self.observe, "outputs", first, stop)
        if len(models) == stop - first and (np.diff(models) == 1).all():
            return torch.from_numpy(rows[:, :points])
        return torch.from_numpy(rows[models - first, :points])

    def _trained(self, results: Inputs, models: Ints, points: int) -> TrainedModels:
        population, represented = self.observe.game.population, self.models.represented
        challenge = np.flatnonzero(population.challenge)[:points]
        weights = self.models.weights(results)
        some = {name: value[torch.from_numpy(models)] for name, value in weights.items()}
        return TrainedModels(
            models=Ensemble(self.models.network, some, results.device),
            numbers=tuple(models.tolist()),
            inputs=represented(torch.from_numpy(population.pool_x[challenge])),
            labels=torch.from_numpy(population.pool_y[challenge]),
            seed=self.observe.game.seed,
            reference=represented(torch.from_numpy(population.reference_x)),
        )

    def _seen(self, released: torch.Tensor) -> torch.Tensor:
        return self.models.masks.undo(released) if self.informed else released


def _tensor(inputs: Floats) -> torch.Tensor:
    # The view's own inputs are read-only, which a tensor cannot be: those are copied.
    return torch.from_numpy(np.require(inputs, np.float32, ["W"]))
