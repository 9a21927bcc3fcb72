"""Transfer: learn from public data first, and from members only what is left."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense, require_public
from dpbench.defenses.search import Choice
from dpbench.errors import UserError
from dpbench.seeds import seed_for
from dpbench.training.features import head_name
from dpbench.training.fit import fit
from dpbench.training.recipe import Positive, Recipe
from dpbench.training.task import Progress, Snapshots, Task, TrainingData


@register
@dataclass(frozen=True, kw_only=True)
class Transfer(Defense):
    """Starts every model from one that was trained on the public reference set.

    Choquette-Choo et al. 2021, section 5.4: with the last layer alone there is less to remember
    members with. Members are touched by the second training only, so a mechanism's claim on it
    holds: `[transfer, dp_sgd]` is DP transfer learning. All models start from the same weights,
    which the adversary knows.

    Attributes:
        layers: `last` trains the last affine layer; `all` goes on with every layer.
        epochs: Of the public training, which otherwise has the default recipe.
    """

    reference: ClassVar[str] = (
        "Choquette-Choo et al. 2021, Label-Only Membership Inference Attacks, section 5.4; with "
        "DP-SGD: Tramer & Boneh 2021"
    )
    search: ClassVar = {"layers": Choice(("last", "all"))}

    layers: Literal["last", "all"] = "last"
    epochs: Positive = 20.0

    @property
    def keeps_claim(self) -> bool:
        """The first training sees public data only."""
        return True

    @property
    def cost(self) -> float:
        """One model for all that are trained together."""
        return 1.1

    def require(self, data: TrainingData) -> None:
        """Refuses an empty reference set."""
        require_public(data, self.name)

    def train(self, task: Task, progress: Progress = lambda fraction: None) -> Snapshots:
        """Trains one public model, then every model from its weights.

        Raises:
            UserError: There are no public data, or the network has no last affine layer.
        """
        self.require(task.data)
        head = head_name(task.network)
        if head is None:
            raise UserError(
                f"transfer: the model '{task.architecture.name}' does not end in an affine layer",
                next_step="use another model",
            )
        public = self._public(task)
        count = len(task.models)
        initial = {name: value.expand(count, *value.shape[1:]) for name, value in public.items()}
        kept = {f"{head}.weight", f"{head}.bias"} if self.layers == "last" else set(initial)
        frozen = frozenset(initial) - kept
        return fit(replace(task, initial=initial, frozen=frozen), progress)

    def _public(self, task: Task) -> dict[str, Tensor]:
        """Returns the weights `(1, ...)` of a model of the reference set, the same in all jobs."""
        data = task.data
        recipe = Recipe(epochs=self.epochs)
        sampling = recipe.sampling(float(len(data.reference_inputs)))
        public = replace(
            task,
            recipe=recipe,
            sampling=sampling,
            mechanism=None,
            loss=None,
            objective=None,
            augment=None,
            regularise=None,
            data=TrainingData(data.reference_inputs, data.reference_targets, *data[2:]),
            members=torch.ones(1, len(data.reference_inputs), dtype=torch.bool),
            seed=seed_for(task.seed, "public"),
            models=(0,),
            checkpoints=(sampling.steps,),
        )
        return fit(public)[sampling.steps]
