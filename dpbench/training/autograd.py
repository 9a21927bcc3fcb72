"""The autograd engine: any `nn.Module`, one model at a time.

Under DP-SGD, Opacus clips the per-example gradients and adds the noise; the sampling rate, the
number of steps and the denominator are ours (`Sampling`). The gradients are computed by Opacus'
rules or by `torch.func`, whichever is right for the network (`trainable`).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from dpbench.errors import UserError
from dpbench.models.build import built
from dpbench.models.dropout import drive_dropout
from dpbench.models.global_draws import global_draws
from dpbench.models.network import Network
from dpbench.seeds import seed_for
from dpbench.training.batches import Batch, poisson_batches, shuffled_batches
from dpbench.training.clipping import ClippingNorms
from dpbench.training.engine import Engine
from dpbench.training.ensemble import Ensemble
from dpbench.training.example_gradients import ExampleGradients, leave, left, trained
from dpbench.training.loop import run_steps, savers
from dpbench.training.partial import Saver
from dpbench.training.resumable import Generators, InPlace, OptimizerState, Resumable
from dpbench.training.stopping import BestEpochs, Stopping
from dpbench.training.task import (
    Mechanism,
    Progress,
    Setting,
    Snapshots,
    Step,
    Task,
    TrainingData,
    Weights,
)
from dpbench.training.trainable import EXAMPLES, Trial, Way, require_trainable

# Per-example gradients held at once, in floats (512 MiB); larger batches are clipped in parts.
_GRADIENTS_AT_ONCE = 1 << 27
_EVALUATION_BATCH = 1024

_Step = Callable[[Tensor], None]
"""Takes one optimizer step on the pool rows `(B,)`; B may be zero under Poisson sampling."""


class AutogradEngine(Engine):
    """Any module, one model after another."""

    def fit(self, task: Task, progress: Progress = lambda fraction: None) -> Snapshots:
        """Trains the models once a trial has shown that the network can be trained."""
        way = require_trainable(
            Trial(
                architecture=task.architecture,
                shape=task.shape,
                n_classes=task.n_classes,
                clips=task.mechanism is not None,
                inputs=task.data.inputs[:EXAMPLES],
            )
        )
        data = _on_device(task)
        total, kept, saver = len(task.models), [], savers(task)
        for position in range(total):

            def report(fraction: float, position: int = position) -> None:
                progress((position + fraction) / total)

            kept.append(_Training(task, data, position, way).run(report, saver(position)))
        return {
            step: {name: torch.stack([one[step][name] for one in kept]) for name in kept[0][step]}
            for step in task.checkpoints
        }

    def logits(self, models: Ensemble, inputs: Tensor) -> Tensor:
        """Returns the logits, model by model."""
        module = models.module()
        result = torch.empty(len(models), len(inputs), models.network.n_classes)
        for model in models.loaded(module):
            result[model] = _evaluate(module, inputs, models.device).cpu()
        return result

    def models_per_job(self, network: Network, batch: float) -> int:
        """Returns 1."""
        return 1


class _Training:
    """One model of a task, from its first step to its last checkpoint."""

    def __init__(
        self, task: Task, data: TrainingData, position: int, way: Way | None = None
    ) -> None:
        self.task, self.data = task, _own_targets(data, position)
        self.model = task.models[position]
        self.members = task.members[position : position + 1].to(task.device)
        seed = seed_for(task.seed, "init", self.model)
        network = built(task.architecture, task.shape, task.n_classes, seed=seed).to(task.device)
        self.draws = Generators(self._generator)
        drive_dropout(network, self.draws["dropout"])
        if task.initial is not None:
            network.load_state_dict({key: row[position] for key, row in task.initial.items()})
        self.network, self.flat = network, _flatten(network)
        for name, parameter in network.named_parameters():
            if name in task.frozen:  # others may be frozen by the network itself
                parameter.requires_grad_(False)
        self.trained = list(trained(network).values())
        if not self.trained:
            raise UserError(
                "model: a defense and the network together leave no parameter that is trained",
                next_step="let build leave requires_grad where the defense trains",
            )
        self.objective = task.objective and task.objective(self._setting())
        self.number = 0
        self.copies = task.mechanism.multiplicity if task.mechanism else 1
        self.optimizer = self._optimizer()
        self.norms: ClippingNorms | None = None
        self._step: _Step = self._plain
        if task.mechanism is not None:
            assert way is not None
            self._step = self._private(task.mechanism, way(network))

    def _optimizer(self) -> torch.optim.Optimizer:
        recipe = self.task.recipe
        decay = recipe.weight_decay
        if recipe.optimizer == "adam":
            return torch.optim.Adam(self.trained, lr=recipe.lr, weight_decay=decay)
        return torch.optim.SGD(
            self.trained, lr=recipe.lr, momentum=recipe.momentum, weight_decay=decay
        )

    def run(self, progress: Progress, saver: Saver | None = None) -> Snapshots:
        """Takes every step up to the last checkpoint."""
        best = None
        if Stopping.asked_for(self.task.recipe):
            stopping = Stopping(self.task.recipe, self.data, self.members)
            best = BestEpochs(stopping, self.flat, views=_as_one, predict=self.predict)
        if any(True for _ in self.network.buffers()):
            saver = None  # they are released, too, and not among the flat parameters
        self.network.train()
        kept = run_steps(self, self.task, best=best, progress=progress, saver=saver)
        return {step: self._weights(flat) for step, flat in kept.items()}

    @property
    def what(self) -> str:
        """Whose parameters these are."""
        return f"parameters of model {self.model}"

    def take(self, step: int, batch: Batch, rate: float) -> None:
        """Takes a step."""
        self.number = step
        self.optimizer.param_groups[0]["lr"] = rate
        # Layers may draw from torch's global generator: it is seeded for every step and put back,
        # so that neither other jobs nor a resumed training change the draws.
        seed = seed_for(self.task.seed, "forward", self.model, step)
        with global_draws(seed, self.task.device):
            self._step(_rows(batch))

    def changing(self) -> Mapping[str, Resumable] | None:
        """Returns what steps change."""
        if self.objective is not None and not isinstance(self.objective, Resumable):
            return None
        parts: dict[str, Resumable] = {
            "tensors": InPlace({"flat": self.flat}),
            "optimizer": OptimizerState(self.optimizer),
            "draws": self.draws,
        }
        if self.norms is not None:
            parts["norms"] = self.norms
        return parts if self.objective is None else {**parts, "objective": self.objective}

    def _plain(self, rows: Tensor) -> None:
        self.optimizer.zero_grad()
        loss = self._losses(rows).mean()
        if self.task.regularise is not None:
            # The sum is over one model: engines share penalties that give one number for each of K.
            loss = loss + self.task.regularise(self._stacked()).sum()
        torch.autograd.backward(loss)
        self.optimizer.step()

    def _opacus(self, mechanism: Mechanism) -> Any:
        """Returns Opacus' optimizer, which clips what lies in `grad_sample`."""
        # Imported here because Opacus takes two seconds that plain training need not wait.
        from opacus.optimizers import DPOptimizer

        return DPOptimizer(
            self.optimizer,
            noise_multiplier=mechanism.noise_multiplier,
            max_grad_norm=mechanism.max_grad_norm,
            expected_batch_size=self.task.sampling.batch,
            loss_reduction="mean",
            generator=self.draws["noise"],
        )

    def _private(self, mechanism: Mechanism, gradients: ExampleGradients) -> _Step:
        optimizer = self._opacus(mechanism)
        at_once = max(1, _GRADIENTS_AT_ONCE // len(self.flat) // self.copies)
        norms = self.norms = ClippingNorms(
            mechanism, models=1, batch=self.task.sampling.batch, generator=self.draws["counts"]
        )
        optimizer.max_grad_norm = norms.first

        def step(rows: Tensor) -> None:
            parts = torch.split(rows, at_once)
            if norms.adaptive:
                optimizer.max_grad_norm = float(norms.now)
            below = torch.zeros_like(norms.now)
            for number, part in enumerate(parts, 1):
                optimizer.zero_grad()
                self._example_gradients(part, gradients)
                if norms.adaptive:
                    below += (self._gradient_norms() <= norms.now).sum()
                # Opacus adds noise once per optimizer step: parts before the last one only clip and
                # sum.
                if number < len(parts):
                    optimizer.signal_skip_step()  # clip and sum only
                optimizer.pre_step()
            # The step was taken with the norm that was known before the batch; the next one follows
            # it.
            norms.follow(below, torch.full_like(below, len(rows)))
            # Decay and penalty follow the noise: they are post-processing and cost no privacy.
            self._add_penalty_gradient()
            self.optimizer.step()

        return step

    def _gradient_norms(self) -> Tensor:
        """Returns the norms `(B,)` of the gradients that `_example_gradients` left."""
        squares = [left(part).flatten(1).square().sum(1) for part in self.trained]
        return torch.stack(squares).sum(0).sqrt()

    def _example_gradients(self, rows: Tensor, gradients: ExampleGradients) -> None:
        """Leaves each example's gradient in its parameters' `grad_sample`."""
        if len(rows) == 0:
            for parameter in self.trained:
                leave(parameter, parameter.new_zeros(0, *parameter.shape))
            return
        inputs, targets = self._batch(rows.repeat_interleave(self.copies))
        gradients.leave(inputs, targets, self._loss)
        if self.copies > 1:
            for parameter in self.trained:
                copies = left(parameter)
                leave(parameter, copies.reshape(-1, self.copies, *parameter.shape).mean(1))

    def _batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what the network is given and what it is to answer."""
        inputs, targets = self.data.inputs[rows], self.data.targets[rows]
        if self.task.augment is None:
            return inputs, targets
        soft = targets if targets.is_floating_point() else self._one_hot(targets)
        augmented = self.task.augment(inputs[None], soft[None], self.draws["augment"])
        return augmented[0][0], augmented[1][0]

    def _losses(self, rows: Tensor) -> Tensor:
        """Returns the training loss of each example `(B,)`."""
        inputs, targets = self._batch(rows)
        outputs = self.network(inputs)
        if self.objective is not None:
            return self.objective(Step(outputs[None], targets[None], self.number))[0]
        return self._loss(outputs, targets)

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.task.loss is None:
            return functional.cross_entropy(outputs, targets, reduction="none")
        return self.task.loss(outputs, targets)

    def _one_hot(self, targets: Tensor) -> Tensor:
        return functional.one_hot(targets, self.task.n_classes).float()

    def _setting(self) -> Setting:
        return Setting(
            models=1,
            n_classes=self.task.n_classes,
            sampling=self.task.sampling,
            data=self.data,
            members=self.members,
            predict=self.predict,
            generator=self.draws["objective"],
        )

    def predict(self, inputs: Tensor) -> Tensor:
        """Returns the logits `(1, N, C)` of the model as it is."""
        training = self.network.training
        # Evaluation turns dropout off; training has to find the network as it left it.
        outputs = _evaluate(self.network, inputs, self.task.device)[None]
        self.network.train(training)
        return outputs

    def _add_penalty_gradient(self) -> None:
        if self.task.regularise is None:
            return
        parameters = self.trained
        penalty = self.task.regularise(self._stacked()).sum()
        gradients = torch.autograd.grad(penalty, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None and parameter.grad is not None:
                parameter.grad.add_(gradient)

    def _stacked(self) -> Weights:
        return {name: value[None] for name, value in self.network.named_parameters()}

    def _weights(self, flat: Tensor) -> Weights:
        """Returns flat parameters as a state dict on the CPU."""
        self.flat.copy_(flat)
        state = self.network.state_dict()
        return {name: value.detach().cpu().clone() for name, value in state.items()}

    def batches(self, steps: int) -> Iterator[Batch]:
        """Yields every step's examples."""
        generator, sampling = self._generator("batches"), self.task.sampling
        if self.task.mechanism is None:
            return shuffled_batches(self.members, max(1, round(sampling.batch)), steps, generator)
        return poisson_batches(self.members, sampling.rate, steps, generator)

    def _generator(self, name: str) -> Generator:
        seed = seed_for(self.task.seed, name, self.model)
        return torch.Generator(device=self.task.device).manual_seed(seed)


def _on_device(task: Task) -> TrainingData:
    """Returns the data where the models are.

    Plain training takes images as channels_last, where convolutions are a fifth to a third faster;
    private training cannot, see `hooked.in_rows`, nor can networks with narrow shortcuts.
    """
    inputs, targets, reference, labels = task.data
    inputs = inputs.to(task.device)
    if inputs.dim() == 4 and task.mechanism is None and not _has_narrow_shortcut(task):
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    rest = (part.to(task.device) for part in (targets, reference, labels))
    return TrainingData(inputs, *rest)


def _has_narrow_shortcut(task: Task) -> bool:
    """Tells whether torch may corrupt memory in this network's backward pass on channels_last.

    oneDNN does, on processors without AVX-512, for 1x1 convolutions with a stride and with channels
    that do not fill its blocks of eight (torch 2.14; docs/decisions/0006).
    """
    network = built(task.architecture, task.shape, task.n_classes)
    return any(
        part.kernel_size == (1, 1) and part.stride != (1, 1) and part.in_channels % 8 != 0
        for part in network.modules()
        if isinstance(part, nn.Conv2d)
    )


def _flatten(network: nn.Module) -> Tensor:
    """Moves all parameters into one vector of which they become views, and returns it."""
    parameters = list(network.parameters())
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
    # One vector is averaged, saved and restored with one operation instead of one for each layer.
    pieces = torch.split(flat, [parameter.numel() for parameter in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.data = piece.view(parameter.shape)
    return flat


def _own_targets(data: TrainingData, position: int) -> TrainingData:
    """Returns the data with the targets of one model, where every model has its own."""
    targets = data.targets
    own = targets.dim() > (2 if targets.is_floating_point() else 1)
    return data._replace(targets=targets[position]) if own else data


def _as_one(flat: Tensor) -> dict[str, Tensor]:
    """Returns flat parameters as those of one model among one."""
    return {"": flat[None]}


def _rows(batch: Batch) -> Tensor:
    """Returns the pool rows of a single model's batch, which is padded only when it is empty."""
    return batch.index[0] if batch.mask is None else batch.index[0, :0]


@torch.no_grad()
def _evaluate(network: nn.Module, inputs: Tensor, device: str) -> Tensor:
    """Returns the network's logits `(N, C)`, and leaves it in evaluation mode."""
    network.eval()
    blocks = torch.split(inputs, _EVALUATION_BATCH)
    return torch.cat([network(block.to(device)).float() for block in blocks])
