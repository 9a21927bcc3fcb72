"""Running one attack on one cell, with one kind of shadow."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dpbench.attacks import Access, Attack, Oracle, View
from dpbench.grid.job import Context, Job, Output
from dpbench.grid.observe_job import ReleasedModels
from dpbench.seeds import rng_for
from dpbench.training.white_box import TrainedModels


@dataclass(frozen=True, kw_only=True)
class Observed:
    """A cell's models together with what was already asked of them.

    Attributes:
        key: The observation job.
        models: Answer further queries.
        informed: The adversary knows the release stage and undoes what can be undone.
    """

    key: str
    models: ReleasedModels
    informed: bool

    def oracle(self, context: Context, attack: Attack) -> Oracle:
        """Returns an oracle that shows what the attack's access allows."""
        asked = 0

        def query(inputs: NDArray[np.floating]) -> NDArray[np.floating]:
            nonlocal asked
            asked += 1
            tensor = torch.from_numpy(np.asarray(inputs, dtype=np.float32))
            return self._seen(self.models.query(context, tensor, name=f"query{asked}")).numpy()

        def pool_outputs() -> NDArray[np.floating]:
            outputs = context.store.array(self.key, "outputs")
            return self._seen(torch.from_numpy(outputs)).numpy()

        sees_weights = attack.access == Access.WHITE_BOX
        return Oracle(
            access=attack.access,
            budget=attack.budget,
            pool_outputs=pool_outputs,
            query=query,
            white_box=self._trained(context) if sees_weights else None,
        )

    def _trained(self, context: Context) -> TrainedModels:
        population = context.population
        return TrainedModels(
            architecture=context.grid.model,
            trained=self.models.weights(context),
            inputs=torch.from_numpy(population.pool_x[population.challenge]),
            labels=torch.from_numpy(population.pool_y[population.challenge]),
            n_classes=population.n_classes,
            seed=context.grid.seed,
            device=context.device,
        )

    def _seen(self, released: torch.Tensor) -> torch.Tensor:
        return self.models.defense.undo(released) if self.informed else released


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackJob(Job):
    """Scores every challenge point for every target; the result is `scores (M, n)` float32."""

    attack: Attack
    target: Observed
    shadows: Observed

    @property
    def kind(self) -> str:
        """The job's kind."""
        return "attack"

    def run(self, context: Context) -> Output:
        """Attacks; raises NotApplicable where the setting lacks what the attack needs."""
        population = context.population
        view = View(
            labels=population.pool_y[population.challenge],
            inputs=population.pool_x[population.challenge],
            n_classes=population.n_classes,
            target=self.target.oracle(context, self.attack),
            shadows=self.shadows.oracle(context, self.attack),
            members=context.challenge_members,
            reference_inputs=population.reference_x,
            reference_labels=population.reference_y,
            low=population.low,
            high=population.high,
            unit=population.unit,
            binary=population.binary,
            is_image=population.is_image,
            rng=rng_for(context.grid.seed, "attack", self.attack.name),
        )
        scores = np.asarray(self.attack.score(view))
        if scores.shape != view.members.shape:
            raise ValueError(f"scores have shape {scores.shape}, expected {view.members.shape}")
        if not np.isfinite(scores).all():
            raise ValueError("a score is NaN or infinite")
        return Output({"queries": view.target.queries}, {"scores": scores.astype(np.float32)})
