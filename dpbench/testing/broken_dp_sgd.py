"""DP-SGD broken on purpose: positive controls for an audit, each through a public extension point.

A defense may claim what its mechanism does not do (`BrokenDpSgd`), and a trainer may do something
else than the mechanism says (`clip_each_layer`, `skip_clipping`, `divide_by_members`).
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from dpbench.defenses.base import Defense
from dpbench.defenses.dp_sgd import DpSgd
from dpbench.models.build import built
from dpbench.seeds import seed_for
from dpbench.training.fit import fit
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.schedule import learning_rates
from dpbench.training.task import Mechanism, Snapshots, Task, Weights

_NEVER_REACHED = 1e6


@dataclass(frozen=True, kw_only=True)
class BrokenDpSgd(Defense):
    """DP-SGD that does something else than it claims. Factors of 1 are honest.

    Attributes:
        claims: What is claimed.
        noise: Factor on the noise.
        clipping: Factor on the clipping norm, with the absolute noise as claimed.
        rate: Factor on the sampling rate.
        steps: Factor on the number of steps.
    """

    reference: ClassVar[str] = "Tramer et al. 2022, Debugging Differential Privacy"

    claims: DpSgd
    noise: float = 1.0
    clipping: float = 1.0
    rate: int = 1
    steps: int = 1

    def adapt(self, recipe: Recipe) -> Recipe:
        """Samples more and trains longer than the claim will count."""
        honest = self.claims.adapt(recipe)
        rate = honest.sampling_rate
        return replace(
            honest,
            batch_size=honest.batch_size * self.rate,
            sampling_rate=None if rate is None else rate * self.rate,
            epochs=honest.epochs * self.rate * self.steps,
        )

    def mechanism(self, sampling: Sampling) -> Mechanism:
        """Clips and adds noise otherwise than the claim says."""
        counted = sampling._replace(
            rate=sampling.rate / self.rate, steps=sampling.steps // self.steps
        )
        honest = self.claims.mechanism(counted)
        return replace(
            honest,
            max_grad_norm=honest.max_grad_norm * self.clipping,
            noise_multiplier=honest.noise_multiplier * self.noise / self.clipping,
        )


def skip_clipping(task: Task) -> Snapshots:
    """Trains with the noise that the mechanism says, and no clipping to speak of."""
    assert task.mechanism is not None
    unclipped = replace(
        task.mechanism,
        max_grad_norm=task.mechanism.max_grad_norm * _NEVER_REACHED,
        noise_multiplier=task.mechanism.noise_multiplier / _NEVER_REACHED,
    )
    return fit(replace(task, mechanism=unclipped))


def divide_by_members(task: Task) -> Snapshots:
    """Divides gradients by the batch expected of each model's own number of members."""
    counts = task.members.sum(1)
    result: Snapshots = {}
    for count in sorted(set(counts.tolist())):
        rows = (counts == count).nonzero().squeeze(1)
        part = replace(
            task,
            members=task.members[rows],
            models=tuple(task.models[row] for row in rows.tolist()),
            sampling=task.sampling._replace(batch=task.sampling.rate * count),
        )
        for step, weights in fit(part).items():
            whole = result.setdefault(step, {})
            for name, value in weights.items():
                shape = (len(counts), *value.shape[1:])
                whole.setdefault(name, value.new_empty(shape))[rows] = value
    return result


def clip_each_layer(task: Task) -> Snapshots:
    """Clips every layer's gradient to the norm that the mechanism says for all together."""
    return train_plainly(task, per_layer=True)


def train_plainly(task: Task, *, per_layer: bool = False) -> Snapshots:
    """Trains by a slow DP-SGD without momentum, independent of both engines.

    Args:
        task: What to train.
        per_layer: Clip the layers separately, which is wrong: the sensitivity is sqrt(layers) C.
    """
    assert task.mechanism is not None
    norm, sigma = task.mechanism.max_grad_norm, task.mechanism.noise_multiplier
    generator = torch.Generator().manual_seed(seed_for(task.seed, "plain", *task.models))
    network = built(task.architecture, task.shape, task.n_classes)

    def loss(weights: Weights, inputs: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(network, weights, inputs[None])[0], target)

    of_examples = vmap(vmap(grad(loss), in_dims=(None, 0, 0)), in_dims=(0, None, None))
    now = {
        name: value.expand(len(task.models), *value.shape)
        for name, value in network.state_dict().items()
    }
    kept: Snapshots = {}
    for step, rate in enumerate(learning_rates(task.recipe, task.sampling), 1):
        gradients = of_examples(now, task.data.inputs, task.data.targets)
        drawn = torch.rand(task.members.shape, generator=generator) < task.sampling.rate
        weights = {}
        for name, value in now.items():
            scales = _clip_factors(gradients, name if per_layer else "", norm)
            scales = scales * (drawn & task.members)
            total = torch.einsum("kn,kn...->k...", scales, gradients[name])
            noise = torch.randn(total.shape, generator=generator) * (sigma * norm)
            weights[name] = value - rate * (total + noise) / task.sampling.batch
        now = weights
        if step in task.checkpoints:
            kept[step] = now
    return kept


def _clip_factors(gradients: Weights, parameter: str, norm: float) -> Tensor:
    """Returns what to multiply `(K, N)` examples' gradients with.

    Args:
        gradients: `(K, N, ...)` by parameter.
        parameter: The parameter whose layer is clipped by itself; empty for all layers together.
        norm: Clipping norm.
    """
    layer = parameter.partition(".")[0]
    squares = [
        value.flatten(2).square().sum(2)
        for name, value in gradients.items()
        if name.startswith(layer)
    ]
    return (norm / torch.stack(squares).sum(0).sqrt().clamp(min=1e-12)).clamp(max=1)
