"""The dense engine: softmax regression and MLPs, K models at once as stacked matrices."""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from dpbench.models.dense_layer import DenseLayer
from dpbench.models.network import Network
from dpbench.seeds import seed_for
from dpbench.training.batches import Batch, poisson_batches, shuffled_batches
from dpbench.training.clipping import ClippingNorms
from dpbench.training.dense_net import DenseNet, evaluate, softmax
from dpbench.training.engine import Engine
from dpbench.training.ensemble import Ensemble
from dpbench.training.loop import run_steps, savers
from dpbench.training.partial import Saver
from dpbench.training.resumable import Generators, InPlace, Resumable
from dpbench.training.stopping import BestEpochs, Stopping
from dpbench.training.task import (
    Mechanism,
    Penalty,
    Progress,
    Setting,
    Snapshots,
    Step,
    Task,
    TrainingData,
    Weights,
)

# Numbers that one step of all models trained side by side may touch: enough to hide the cost of a
# call for tiny nets, few enough that weights, momentum and activations of all K models stay in a
# core's cache (docs/speed.md).
_NUMBERS_AT_ONCE = 600_000
_MOST_AT_ONCE = 64
# Models per job: few enough to share among workers and lose little, enough to train side by side.
_BLOCK = 16
_EVALUATED_AT_ONCE, _EVALUATION_BATCH = 8, 1024
# Of Adam's moments, as published and as in torch.
_FIRST_DECAY, _SECOND_DECAY = 0.9, 0.999


class DenseEngine(Engine):
    """Networks of affine layers, many models at once."""

    def fit(self, task: Task, progress: Progress = lambda fraction: None) -> Snapshots:
        """Trains the models, as many side by side as their network favours."""
        width = self.models_at_once(task.network, task.sampling.batch)
        total, parts, saver = len(task.models), [], savers(task)
        for start in range(0, total, width):
            stop = min(total, start + width)

            def report(fraction: float, start: int = start, stop: int = stop) -> None:
                progress((start + fraction * (stop - start)) / total)

            parts.append(_Chunk(task, slice(start, stop)).run(report, saver(start)))
        return {
            step: {name: torch.cat([part[step][name] for part in parts]) for name in parts[0][step]}
            for step in task.checkpoints
        }

    def logits(self, models: Ensemble, inputs: Tensor) -> Tensor:
        """Returns the logits, a few models at a time."""
        layers = _layers(models.network)
        rows = inputs.reshape(len(inputs), -1)
        result = torch.empty(len(models), len(rows), models.network.n_classes)
        for some, weights in models.chunks(_EVALUATED_AT_ONCE):
            for start in range(0, len(rows), _EVALUATION_BATCH):
                block = rows[start : start + _EVALUATION_BATCH]
                outputs = evaluate(layers, weights, block.to(models.device))
                result[some, start : start + len(block)] = outputs.cpu()
        return result

    def models_per_job(self, network: Network, batch: float) -> int:
        """Returns how many models one job trains: all that are trained side by side, or more."""
        return max(_BLOCK, self.models_at_once(network, batch))

    def models_at_once(self, network: Network, batch: float) -> int:
        """Returns K, a power of two, from the sizes of the network and of the batch alone."""
        layers = _layers(network)
        parameters = sum((layer.d_in + 1) * layer.d_out for layer in layers)
        activations = batch * sum(layer.d_in + layer.d_out for layer in layers)
        fitting = _NUMBERS_AT_ONCE / (2 * parameters + activations)
        return 1 << int(math.log2(min(_MOST_AT_ONCE, max(1.0, fitting))))


def _layers(network: Network) -> Sequence[DenseLayer]:
    layers = network.dense_layers
    assert layers is not None, "fit.engine_for chooses this engine for dense networks alone"
    return layers


class _Chunk:
    """Some models of a task, trained in lockstep."""

    def __init__(self, task: Task, rows: slice) -> None:
        self.task, self.rows, self.models = task, rows, task.models[rows]
        self.members = task.members[rows].to(task.device)
        self.device = torch.device(task.device)
        inputs = task.data.inputs.to(self.device).reshape(len(task.data.inputs), -1)
        # The constant one makes the bias a row of the matrix (dense_net).
        self.inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1)
        self.input_norms = self.inputs.square().sum(1)
        self.labels, self.offsets = self._labels(rows)
        self.targets = self._soft(self.labels)
        self.copies = task.mechanism.multiplicity if task.mechanism else 1
        self.net = DenseNet(
            _layers(task.network),
            models=len(self.models),
            capacity=self._capacity() * self.copies,
            device=self.device,
        )
        self.net.load(_initial(task, rows))
        frozen = [layer.linear for layer in self.net.layers if layer.parameters <= task.frozen]
        self.net.frozen = frozenset(frozen)
        self.velocity = torch.zeros_like(self.net.flat)
        # Noise and clipped sum meet here before they are divided and join the momentum.
        self.noise = torch.zeros_like(self.net.flat) if task.mechanism else self.velocity
        adam = task.recipe.optimizer == "adam"
        self.momentum = 0.0 if adam else task.recipe.momentum
        self.moments = torch.zeros(3, self.net.size, device=self.device) if adam else None
        self.velocity_views = self.net.views(self.velocity)
        self.still = [self.velocity_views[name] for name in self.net.frozen_names()]
        self.noise_views = self.net.views(self.noise)
        self.draws = Generators(self._generator)
        self.objective = task.objective and task.objective(self.setting(rows))
        self.norms = self._clipping_norms()
        self._gathered: Batch | None = None
        self._number = 0

    def _soft(self, labels: Tensor) -> Tensor:
        """Returns labels as distributions over classes, which some of them are already."""
        if labels.is_floating_point():
            return labels
        return torch.nn.functional.one_hot(labels, self.task.n_classes).float()

    def _clipping_norms(self) -> ClippingNorms | None:
        if self.task.mechanism is None:
            return None
        return ClippingNorms(
            self.task.mechanism,
            models=len(self.models),
            batch=self.task.sampling.batch,
            generator=self.draws["counts"],
        )

    def run(self, progress: Progress, saver: Saver | None = None) -> Snapshots:
        """Takes every step up to the last checkpoint."""
        best = None
        if Stopping.asked_for(self.task.recipe):
            stopping = Stopping(self.task.recipe, self.setting(self.rows).data, self.members)
            best = BestEpochs(stopping, self.flat, views=self.net.views, predict=self.predict)
        kept = run_steps(self, self.task, best=best, progress=progress, saver=saver)
        return {
            step: {name: value.contiguous().cpu() for name, value in self.net.weights(flat).items()}
            for step, flat in kept.items()
        }

    @property
    def flat(self) -> Tensor:
        """All parameters."""
        return self.net.flat

    @property
    def what(self) -> str:
        """Whose they are."""
        return "parameters"

    def changing(self) -> Mapping[str, Resumable] | None:
        """Returns what steps change."""
        if self.objective is not None and not isinstance(self.objective, Resumable):
            return None
        moments = {} if self.moments is None else {"moments": self.moments}
        tensors = {"flat": self.flat, "velocity": self.velocity, **moments}
        parts: dict[str, Resumable] = {"tensors": InPlace(tensors), "draws": self.draws}
        if self.norms is not None:
            parts["norms"] = self.norms
        return parts if self.objective is None else {**parts, "objective": self.objective}

    def batches(self, steps: int) -> Iterator[Batch]:
        """Yields every step's examples."""
        generator, sampling = self._generator("batches"), self.task.sampling
        if self.task.mechanism is None:
            return shuffled_batches(self.members, self._capacity(), steps, generator)
        return poisson_batches(self.members, sampling.rate, steps, generator)

    def take(self, step: int, batch: Batch, rate: float) -> None:
        """Takes a step."""
        self._number = step
        if self.task.mechanism is None or self.norms is None:
            self._step_of_sgd(batch, rate)
        else:
            self._step_of_dp_sgd(self.task.mechanism, self.norms, batch, rate)

    def _step_of_sgd(self, batch: Batch, rate: float) -> None:
        self._pass(batch)
        # The products add straight into the momentum buffer: v <- momentum v + mean gradient.
        mean = 1 / batch.index.shape[1]
        self.net.accumulate(self.velocity_views, beta=self.momentum, alpha=mean)
        self._decay(self.velocity)
        self._update(rate)

    def _step_of_dp_sgd(
        self, mechanism: Mechanism, norms: ClippingNorms, batch: Batch, rate: float
    ) -> None:
        self._pass(batch)
        self._add_noise(norms, mechanism.noise_multiplier)
        self._clip(batch, norms)
        self.net.accumulate(self.noise_views, beta=1.0, alpha=1.0)
        denominator = self.task.sampling.batch
        # The expected batch, not the sampled one: a denominator that depends on how many members
        # were drawn would change the sensitivity that the accounting assumes.
        self.velocity.mul_(self.momentum).add_(self.noise, alpha=1 / denominator)
        # Decay follows the noise: it is post-processing and costs no privacy.
        self._decay(self.velocity)
        self._update(rate)

    def _add_noise(self, norms: ClippingNorms, sigma: float) -> None:
        """Fills the noise buffer with N(0, (sigma C)^2), each model's C."""
        generator = self.draws["noise"]
        if sigma == 0:
            self.noise.zero_()
        elif not norms.adaptive:
            self.noise.normal_(0, sigma * norms.first, generator=generator)
        else:
            # The noise is scaled by each model's norm of this step, which is known before the batch
            # is.
            self.noise.normal_(0, sigma, generator=generator)
            for view in self.noise_views.values():
                view.mul_(norms.now.view(-1, *[1] * (view.dim() - 1)))

    def _update(self, rate: float) -> None:
        """Moves the weights by what `velocity` holds: the momentum of SGD, the gradient of Adam."""
        if self.moments is None:
            self.net.flat.add_(self.velocity, alpha=-rate)
            return
        first, second, scratch = self.moments
        first.lerp_(self.velocity, 1 - _FIRST_DECAY)
        second.mul_(_SECOND_DECAY).addcmul_(self.velocity, self.velocity, value=1 - _SECOND_DECAY)
        # Both moments start at 0 and are too small at first; the powers of the decays correct that.
        torch.sqrt(second, out=scratch)
        scratch.div_(math.sqrt(1 - _SECOND_DECAY**self._number)).add_(1e-8)
        self.net.flat.addcdiv_(first, scratch, value=-rate / (1 - _FIRST_DECAY**self._number))

    def _pass(self, batch: Batch) -> None:
        """Forward and backward through one batch; leaves the deltas in the network's buffers."""
        batch = self._copied(batch)
        rows = self.net.input_rows(batch.index.shape[1])
        # At rate 1 every step has the same batch, which is gathered once.
        if batch is not self._gathered:
            torch.index_select(self.inputs, 0, batch.index.reshape(-1), out=rows)
            self._gathered = batch
        targets = self._augmented(batch, rows) if self.task.augment else None
        outputs = self.net.forward(self.draws["dropout"])
        self.net.backward(self._loss_gradient(outputs, batch, targets))

    def _copied(self, batch: Batch) -> Batch:
        """Returns a batch with every example's copies side by side."""
        if self.copies == 1:
            return batch
        index = batch.index.repeat_interleave(self.copies, 1)
        return Batch(index, None)

    def _augmented(self, batch: Batch, rows: Tensor) -> Tensor:
        """Changes the gathered inputs in place; returns the targets `(K, B, C)` they now have."""
        assert self.task.augment is not None
        inputs = rows[:, :-1].view(*batch.index.shape, *self.task.shape)
        soft = self._targets(self.targets, batch)
        inputs, soft = self.task.augment(inputs, soft, self.draws["augment"])
        rows[:, :-1] = inputs.reshape(len(rows), -1)
        # The rows were changed in place: the next step must gather them again.
        self._gathered = None
        return soft

    def _targets(self, source: Tensor, batch: Batch) -> Tensor:
        """Returns a batch's rows `(K, B, ...)` of labels, which may be every model's own."""
        index = batch.index if self.offsets is None else batch.index + self.offsets
        return source.index_select(0, index.reshape(-1)).view(*index.shape, *source.shape[1:])

    def _loss_gradient(self, outputs: Tensor, batch: Batch, targets: Tensor | None) -> Tensor:
        """Returns each example's loss gradient on its logits `(K, B, C)`."""
        task, objective = self.task, self.objective
        if task.loss is None and objective is None:
            soft = self._targets(self.targets, batch) if targets is None else targets
            return softmax(outputs).sub_(soft)
        targets = self._targets(self.labels, batch) if targets is None else targets
        # Autograd sees the small (K, B, C) tensor alone; the layers' gradients are written out.
        leaf = outputs.detach().requires_grad_()
        with torch.enable_grad():
            if objective is not None:
                losses = objective(Step(leaf, targets, self._number))
            else:
                assert task.loss is not None
                losses = task.loss(leaf, targets)
            (gradient,) = torch.autograd.grad(losses.sum(), leaf)
        return gradient

    def _labels(self, rows: slice) -> tuple[Tensor, Tensor | None]:
        """Returns the labels, one model's below the other's where each has its own, and offsets."""
        targets = self.task.data.targets
        own = targets.dim() > (2 if targets.is_floating_point() else 1)
        if not own:
            return targets.to(self.device), None
        mine = targets[rows].to(self.device)
        starts = torch.arange(len(mine), device=self.device) * mine.shape[1]
        return mine.flatten(0, 1), starts[:, None]

    def setting(self, rows: slice) -> Setting:
        """Returns what an objective may know."""
        task, data = self.task, self.task.data
        own = self.offsets is not None
        if own:
            data = data._replace(targets=data.targets[rows])
        return Setting(
            models=len(self.models),
            n_classes=task.n_classes,
            sampling=task.sampling,
            data=TrainingData(*(part.to(self.device) for part in data)),
            members=self.members,
            predict=self.predict,
            generator=self.draws["objective"],
        )

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """Returns the logits `(K, N, C)` of the models as they are."""
        weights = self.net.weights()
        return evaluate(self.net.layers, weights, inputs.to(self.device).flatten(1))

    def _clip(self, batch: Batch, norms: ClippingNorms) -> None:
        """Scales every example's gradient to at most its model's norm, and padding to nothing."""
        if self.copies > 1:
            inputs = batch.index
        elif self.task.augment is None:
            index = batch.index.reshape(-1)
            inputs = self.input_norms.index_select(0, index).view(batch.index.shape)
        else:
            rows = self.net.input_rows(batch.index.shape[1])
            inputs = rows.square().sum(1).view(batch.index.shape)
        # min(1, C / norm), as rsqrt of the squared norm. A norm of 0 gives inf, which the clamp
        # makes 1.
        factors = self.net.squared_norms(inputs, self.copies).rsqrt_().mul_(norms.now[:, None])
        if norms.adaptive:
            real = torch.ones_like(factors) if batch.mask is None else batch.mask
            norms.follow(((factors >= 1) * real).sum(1), real.sum(1))
        factors.clamp_(max=1)
        # Padding slots point at row 0: without this they would add its gradient.
        if batch.mask is not None:
            factors.mul_(batch.mask)
        if self.copies > 1:
            # The mean over copies is clipped as one gradient: an example counts once, whatever its
            # copies.
            factors = factors.div_(self.copies).repeat_interleave(self.copies, 1)
        self.net.scale(factors)

    def _decay(self, gradient: Tensor) -> None:
        """Adds the data-independent part of the gradient: decay and the defense's penalty."""
        if self.task.recipe.weight_decay > 0:
            gradient.add_(self.net.flat, alpha=self.task.recipe.weight_decay)
        if self.task.regularise is not None:
            gradient.add_(_penalty_gradient(self.net, self.task.regularise))
        # Decay and penalty act on all parameters; frozen layers must not move by them.
        for view in self.still:
            view.zero_()

    def _capacity(self) -> int:
        """The largest batch: every member at most, and under Poisson sampling eight deviations."""
        sampling = self.task.sampling
        if self.task.mechanism is None:
            return max(1, round(sampling.batch))
        most = int(self.members.sum(1).max())
        mean = sampling.rate * most
        # Buffers are allocated once. A Poisson batch beyond eight deviations does not occur in
        # practice; a larger one would not fit.
        return min(most, int(mean + 8 * math.sqrt(mean * (1 - sampling.rate)) + 8)) or 1

    def _generator(self, name: str) -> torch.Generator:
        generator = torch.Generator(device=self.device)
        return generator.manual_seed(seed_for(self.task.seed, name, *self.models))


def _initial(task: Task, rows: slice) -> Weights:
    """Initial weights: every model has its own generator, the same under every defense."""
    if task.initial is not None:
        return {name: value[rows] for name, value in task.initial.items()}
    states = []
    for model in task.models[rows]:
        generator = torch.Generator().manual_seed(seed_for(task.seed, "init", model))
        states.append(task.architecture.build(task.shape, task.n_classes, generator).state_dict())
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


def _penalty_gradient(net: DenseNet, penalty: Penalty) -> Tensor:
    leaf = net.flat.detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(penalty(net.weights(leaf)).sum(), leaf)
    return gradient
