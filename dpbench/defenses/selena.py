"""SELENA: sub-models that are asked only about what they have not seen, distilled into one."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Search
from dpbench.errors import UserError
from dpbench.seeds import seed_for
from dpbench.training.fit import fit, predict
from dpbench.training.task import Progress, Snapshots, Task

# Sub-models trained in one call: enough to stack, few enough that their outputs fit in memory.
_AT_ONCE = 200


@register
@dataclass(frozen=True, kw_only=True)
class Selena(Defense):
    """Split-AI, then self-distillation.

    Tang et al. 2022: each member is held out of `held_out` of the `splits` sub-models, chosen at
    random, and the mean answer of these is its soft label; the student learns the members with
    their soft labels. Nobody who taught the student about an example has seen that example, so its
    own label reaches the student through no one. What has seen it are the sub-models that taught
    about its neighbours: a near-duplicate under another label is what gives a member away (Aerni et
    al. 2024), as canaries of kind `duplicate` do.

    Attributes:
        splits: K, the number of sub-models.
        held_out: L, the number of sub-models that do not see an example.
    """

    reference: ClassVar[str] = (
        "Tang et al. 2022, Mitigating Membership Inference Attacks by Self-Distillation Through a "
        "Novel Ensemble Architecture"
    )
    search: ClassVar = {"held_out": Search(3, 20, "integer")}
    adaptive_attacks: ClassVar = ("gap", "label_lira")

    splits: Annotated[int, Field(ge=2)] = 25
    held_out: Annotated[int, Field(ge=1)] = 10

    @property
    def cost(self) -> float:
        """Sub-models of fewer members, and the student."""
        return self.splits - self.held_out + 1.0

    def train(self, task: Task, progress: Progress = lambda fraction: None) -> Snapshots:
        """Trains the sub-models, labels the members, trains the students.

        Raises:
            UserError: Every sub-model would be held out.
        """
        if self.held_out >= self.splits:
            raise UserError(
                f"selena.held_out: {self.held_out} is not below splits = {self.splits}",
                allowed="1 ... splits - 1",
            )
        share = 1 - 1 / self.cost
        soft = self._soft_labels(task, lambda fraction: progress(share * fraction))
        student = replace(task, data=task.data._replace(targets=soft))
        return fit(student, lambda fraction: progress(share + (1 - share) * fraction))

    def _soft_labels(self, task: Task, progress: Progress) -> Tensor:
        """Returns every target's soft labels `(K, n, C)`."""
        apart = replace(task, seed=seed_for(task.seed, "split_ai"))
        at_once = max(1, _AT_ONCE // self.splits)
        parts = []
        for start in range(0, len(task.models), at_once):
            some = slice(start, start + at_once)
            parts.append(self._split_ai(apart, some))
            progress(min(1.0, (start + at_once) / len(task.models)))
        return torch.cat(parts)

    def _split_ai(self, task: Task, some: slice) -> Tensor:
        """Trains the sub-models of some targets and returns their soft labels."""
        models, members = task.models[some], task.members[some]
        held = torch.stack([self.held_out_of(task, model, members.shape[1]) for model in models])
        seen = members[:, None] & ~held
        expected = task.sampling.batch / task.sampling.rate * (1 - self.held_out / self.splits)
        sampling = task.recipe.sampling(expected)
        sub_models = replace(
            task,
            sampling=sampling,
            members=seen.flatten(0, 1),
            models=tuple(m * self.splits + part for m in models for part in range(self.splits)),
            checkpoints=(sampling.steps,),
        )
        weights = fit(sub_models)[sampling.steps]
        answers = predict(task, weights, task.data.inputs).softmax(-1)
        answers = answers.view(len(models), self.splits, *answers.shape[1:])
        return torch.einsum("ksn,ksnc->knc", held.float(), answers) / self.held_out

    def held_out_of(self, task: Task, model: int, examples: int) -> Tensor:
        """Returns which sub-models `(splits, n)` do not see which examples, whoever is a member."""
        generator = torch.Generator().manual_seed(seed_for(task.seed, "held_out", model))
        ranks = torch.rand(examples, self.splits, generator=generator).argsort(1).argsort(1)
        return (ranks < self.held_out).T
