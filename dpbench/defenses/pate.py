"""PATE: teachers on disjoint shards vote on public inputs, with noise."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional

from dpbench import privacy
from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Choice, Search
from dpbench.errors import UserError
from dpbench.seeds import seed_for
from dpbench.training.fit import fit, predict
from dpbench.training.recipe import Sampling
from dpbench.training.task import Mechanism, Progress, Snapshots, Task, TrainingData

# Teachers trained in one call: enough to stack, few enough that their outputs fit in memory.
_AT_ONCE = 800


@register
@dataclass(frozen=True, kw_only=True)
class Pate(Defense):
    """A student learns the noisy majority votes of teachers that share no member.

    Papernot et al. 2018, GNMax: every example goes to a teacher of its own choosing, independently
    of all others; the votes on each of `queries` public inputs are counted with noise N(0, σ²) on
    every class, and the student is trained on the winners. One example moves one vote on each
    input, a change of norm √2: `queries` Gaussian mechanisms, exactly accounted; no part of the
    claim depends on the data, and inputs on which teachers disagree are not skipped.

    Attributes:
        epsilon: Of the claim; σ is the least that does not exceed it.
        delta: Of the claim.
        teachers: Number of shards.
        queries: Public inputs that are labelled, the first of the reference set.
    """

    reference: ClassVar[str] = "Papernot et al. 2018, Scalable Private Learning with PATE"
    search: ClassVar = {
        "epsilon": Search(1.0, 1000.0),
        "teachers": Choice((10, 25, 50, 100)),
        "queries": Choice((30, 100)),
    }

    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    teachers: Annotated[int, Field(ge=2)] = 50
    queries: Annotated[int, Field(ge=1)] = 200

    @property
    def cost(self) -> float:
        """Every member is learned by one teacher, but small batches cost more per example.

        As measured with 10 and with 50 teachers of Fashion-MNIST, softmax regression and an MLP.
        """
        return 1.2 + 0.05 * self.teachers

    @property
    def keeps_claim(self) -> bool:
        """Its own training is what it claims for."""
        return True

    def mechanism(self, sampling: Sampling) -> Mechanism:
        """Returns the claim."""
        del sampling
        # √2/σ in each of the queries is 1/σ in each of twice as many.
        described = privacy.SampledGaussian(
            noise_multiplier=self.sigma, sampling_rate=1.0, steps=2 * self.queries
        )
        return Mechanism(claim=described.event(), delta=self.delta)

    @property
    def sigma(self) -> float:
        """Deviation of the noise on every count."""
        return privacy.calibrate(
            epsilon=self.epsilon, delta=self.delta, sampling_rate=1.0, steps=2 * self.queries
        )

    def require(self, data: TrainingData) -> None:
        """Refuses a reference set that is smaller than `queries`."""
        found = len(data.reference_inputs)
        if found < self.queries:
            raise UserError(
                f"pate.queries: {self.queries} is more than the reference set's {found}",
                allowed=f"at most {found}" if found else "a reference set",
                next_step=f"set population.reference to at least {self.queries}, or fewer queries",
            )

    def train(self, task: Task, progress: Progress = lambda fraction: None) -> Snapshots:
        """Trains the teachers, counts their votes, trains the students.

        Raises:
            UserError: The reference set is smaller than `queries`.
        """
        self.require(task.data)
        public = task.data.reference_inputs
        counts = self._noisy_counts(task, lambda fraction: progress(0.7 * fraction))
        labels = counts.argmax(-1)
        asked = TrainingData(public[: self.queries], labels, public, task.data.reference_targets)
        return self._student(task, asked, lambda fraction: progress(0.7 + 0.3 * fraction))

    def _noisy_counts(self, task: Task, progress: Progress) -> Tensor:
        """Returns what the claim is about, `(K, queries, C)`: a student is made of nothing else."""
        noise = torch.stack([self._noise(task, model) for model in task.models])
        return self._counts(task, progress) + self.sigma * noise

    def _counts(self, task: Task, progress: Progress) -> Tensor:
        """Returns the votes `(K, queries, C)`."""
        at_once, parts = max(1, _AT_ONCE // self.teachers), []
        for start in range(0, len(task.models), at_once):
            parts.append(self._votes(task, slice(start, start + at_once)))
            progress(min(1.0, (start + at_once) / len(task.models)))
        return torch.cat(parts)

    def _votes(self, task: Task, some: slice) -> Tensor:
        models, members = task.models[some], task.members[some]
        shards = torch.stack([self.shards(task, model, members.shape[1]) for model in models])
        shares = (members[:, None] & shards).flatten(0, 1)
        expected = task.sampling.batch / task.sampling.rate / self.teachers
        sampling = task.recipe.sampling(max(1.0, expected))
        teachers = replace(
            task,
            seed=seed_for(task.seed, "teachers"),
            data=_with_a_public_example(task.data),
            # A teacher without members learns the public example: it votes, and tells nothing.
            members=torch.cat([shares, ~shares.any(1, keepdim=True)], 1),
            models=tuple(m * self.teachers + part for m in models for part in range(self.teachers)),
            sampling=sampling,
            checkpoints=(sampling.steps,),
        )
        weights = fit(teachers)[sampling.steps]
        votes = predict(task, weights, task.data.reference_inputs[: self.queries]).argmax(-1)
        votes = votes.view(len(models), self.teachers, -1)
        return functional.one_hot(votes, task.n_classes).sum(1)

    def shards(self, task: Task, model: int, examples: int) -> Tensor:
        """Returns which teacher `(teachers, n)` each example goes to, member or not."""
        generator = Generator().manual_seed(seed_for(task.seed, "shards", model))
        of = torch.randint(self.teachers, (examples,), generator=generator)
        return of == torch.arange(self.teachers)[:, None]

    def _noise(self, task: Task, model: int) -> Tensor:
        generator = Generator().manual_seed(seed_for(task.seed, "votes", model))
        return torch.randn(self.queries, task.n_classes, generator=generator)

    def _student(self, task: Task, asked: TrainingData, progress: Progress) -> Snapshots:
        sampling = task.recipe.sampling(self.queries)
        student = replace(
            task,
            data=asked,
            members=torch.ones(len(task.models), self.queries, dtype=torch.bool),
            sampling=sampling,
            checkpoints=(sampling.steps,),
        )
        released = fit(student, progress)[sampling.steps]
        return dict.fromkeys(task.checkpoints, released)


def _with_a_public_example(data: TrainingData) -> TrainingData:
    """Returns the pool with one public example behind it."""
    label = data.reference_targets[:1]
    if data.targets.is_floating_point():
        label = functional.one_hot(label, data.targets.shape[-1]).to(data.targets.dtype)
    return data._replace(
        inputs=torch.cat([data.inputs, data.reference_inputs[:1]]),
        targets=torch.cat([data.targets, label]),
    )
