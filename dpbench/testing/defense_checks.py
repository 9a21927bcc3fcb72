"""The contract of a defense, as one call."""

import inspect
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Generator, Tensor

from dpbench.defenses.base import Defense, Serving, State, overrides, released
from dpbench.errors import UserError
from dpbench.models import MLP
from dpbench.models.base import Architecture
from dpbench.testing.component_checks import check_component
from dpbench.testing.gpu_checks import check_on_gpu
from dpbench.testing.objective_run import CLASSES, POOL, run_objective
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Mechanism, TrainingData

MARGIN = 0.05
"""A predicted label must survive `release` when its lead is at least this large."""
LARGEST_LOGIT = 200.0
"""exp(-200) is 0 in float32: a loss must not take the logarithm of a probability."""


def check_defense(defense: Defense) -> None:
    """Checks that a defense keeps its contract, stage by stage, on small random tensors.

    It must be documented and survive a round trip through JSON; never touch a global random state
    or what it was given; change recipes into recipes; prepare, penalise and price each example or
    model alone; describe its mechanism; release finite, non-negative scores of the same shape,
    one example at a time, as deterministically as `randomised` says, with the predicted label kept
    if `keeps_argmax` says so; and train on a GPU (`check_on_gpu`).

    Raises:
        AssertionError: The contract is broken; the message says how.
    """
    check_component(defense)
    name = defense.label()
    with _untouched_global_randomness(name):
        recipe = defense.adapt(Recipe())
        assert isinstance(recipe, Recipe), f"{name}: adapt returns {type(recipe)}, not a Recipe"
        assert defense.adapt(Recipe()) == recipe, f"{name}: adapt gives two recipes for one"
        _check_network(defense)
        _check_prepare(defense)
        _check_augment(defense)
        if overrides(defense, "objective"):
            _check_objective(defense)
        else:
            _check_loss(defense)
        _check_regularise(defense)
        _check_mechanism(defense)
        _check_release(defense)
        check_on_gpu(defense)


@contextmanager
def _untouched_global_randomness(name: str) -> Iterator[None]:
    before = _global_randomness()
    yield
    assert _global_randomness() == before, (
        f"{name}: it draws from a global random state; a randomised release is given a generator"
    )


def _global_randomness() -> tuple[object, ...]:
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    return random.getstate(), str(numpy_state), torch.random.get_rng_state().numpy().tobytes()


def _generator(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def _check_prepare(defense: Defense) -> None:
    """Preparing keeps shapes, and one example's inputs and targets do not depend on the others."""
    name, generator = defense.label(), _generator(0)
    labels = torch.arange(2 * CLASSES + 1) % CLASSES
    data = TrainingData(
        torch.rand(len(labels), 4, generator=generator),
        labels,
        torch.rand(CLASSES, 4, generator=generator),
        torch.arange(CLASSES),
    )
    given = TrainingData(*(part.clone() for part in data))
    prepared = defense.prepare(data)
    assert _same(data, given), f"{name}: prepare writes into the data it was given"
    assert prepared.inputs.shape == given.inputs.shape, f"{name}: prepare changes the inputs' shape"
    hard = prepared.targets.shape == labels.shape and prepared.targets.dtype == torch.int64
    soft = prepared.targets.shape == (len(labels), CLASSES) and prepared.targets.is_floating_point()
    assert hard or soft, (
        f"{name}: prepare returns {prepared.targets.dtype} targets of shape "
        f"{tuple(prepared.targets.shape)}; allowed are (n,) int64 and (n, C) float"
    )
    others_changed = given._replace(inputs=given.inputs.clone(), targets=given.targets.clone())
    others_changed.inputs[0] += 1.0
    others_changed.targets[0] = 1
    again = defense.prepare(others_changed)
    assert _same(
        (again.inputs[1:], again.targets[1:]), (prepared.inputs[1:], prepared.targets[1:])
    ), f"{name}: prepare lets one example change what another one becomes"


def _check_network(defense: Defense) -> None:
    """The network stays one, and every input is represented alone."""
    name = defense.label()
    network = defense.remodel(MLP(hidden=(8,)))
    assert isinstance(network, Architecture), f"{name}: remodel returns {type(network)}"
    for shape in ((4,), (1, 14, 14), (3, 16, 16)):
        inputs = torch.rand(6, *shape, generator=_generator(6))
        try:
            seen = defense.represent(inputs.clone())
        except UserError:  # not for inputs of this shape
            continue
        assert len(seen) == len(inputs), f"{name}: represent changes the number of examples"
        alone = torch.cat([defense.represent(row[None]) for row in inputs])
        assert torch.allclose(alone, seen, rtol=1e-4, atol=1e-6), (
            f"{name}: what represent makes of one input depends on the others of its batch"
        )


def _check_augment(defense: Defense) -> None:
    """A batch keeps its shape; unless examples are mixed, each one changes alone."""
    name, generator = defense.label(), _generator(7)
    inputs = torch.rand(2, 6, 1, 8, 8, generator=generator)
    soft = torch.rand(2, 6, CLASSES, generator=generator).softmax(-1)
    given = inputs.clone(), soft.clone()
    seen = defense.augment(inputs, soft, _generator(8))
    assert _same((inputs, soft), given), f"{name}: augment writes into the batch it was given"
    assert seen[0].shape == inputs.shape, f"{name}: augment changes the inputs' shape"
    assert seen[1].shape == soft.shape, f"{name}: augment changes the targets' shape"
    assert _same(defense.augment(*given, _generator(8)), seen), (
        f"{name}: augment differs between two calls with the same generator"
    )
    if defense.mixes_examples:
        return
    others = inputs.clone(), soft.clone()
    for part in others:
        part[:, 0] = part[:, 0].flip(-1)
    again = defense.augment(*others, _generator(8))
    assert all(torch.equal(a[:, 1:], b[:, 1:]) for a, b in zip(again, seen, strict=True)), (
        f"{name}: augment lets one example change another one: set mixes_examples to True"
    )


def _check_objective(defense: Defense) -> None:
    """Two models side by side lose what each would alone, whatever the other one sees."""
    name = f"{defense.label()}: objective"
    logits = torch.randn(2, POOL, CLASSES, generator=_generator(9))
    found = run_objective(defense, logits)
    for gradient in found[1::2]:
        assert bool(gradient.isfinite().all()), f"{name}'s gradient is not finite"
    other = run_objective(defense, torch.cat([logits[:1], 2 * logits[1:] + 1]))
    for one, same in zip(found, other, strict=True):
        assert torch.allclose(one[0], same[0], rtol=1e-4, atol=1e-6), (
            f"{name}: one model's loss depends on another model's batch"
        )


def _check_loss(defense: Defense) -> None:
    """The loss takes hard and soft targets."""
    generator = _generator(1)
    logits = torch.randn(12, CLASSES, generator=generator) * torch.logspace(-1, 1, 12)[:, None]
    # More confident than any overfitted model, once rightly and once wrongly.
    logits[:2] = LARGEST_LOGIT * torch.eye(CLASSES)[:2]
    hard = torch.arange(12) // 2 % CLASSES
    soft = torch.randn(12, CLASSES, generator=generator).softmax(-1)
    for targets in (hard, soft):
        _check_loss_on(defense, logits, targets)


def _check_loss_on(defense: Defense, logits: Tensor, targets: Tensor) -> None:
    """Losses are finite, differentiable, one per example, and each example's is its own affair."""
    kind = "soft" if targets.is_floating_point() else "hard"
    name = f"{defense.label()}: with {kind} targets, loss"
    given = logits.clone(), targets.clone()
    losses, gradient = _loss_and_gradient(defense, logits, targets, name=name)
    assert _same((logits, targets), given), f"{name} writes into what it was given"
    assert bool(gradient.any()), f"{name} has no gradient anywhere"
    for row in range(len(logits)):
        alone, its_gradient = _loss_and_gradient(defense, logits[row], targets[row], name=name)
        assert torch.allclose(alone, losses[row], rtol=1e-4, atol=1e-6), (
            f"{name} of one example depends on the other examples of its batch"
        )
        assert torch.allclose(its_gradient, gradient[row], rtol=1e-4, atol=1e-6), (
            f"{name}'s gradient of one example depends on the other examples of its batch"
        )
    stacked = logits.reshape(3, 4, CLASSES), targets.reshape(3, 4, *targets.shape[1:])
    folded, _ = _loss_and_gradient(defense, *stacked, name=name)
    assert torch.allclose(folded.flatten(), losses, rtol=1e-4, atol=1e-6), (
        f"{name} changes when examples are arranged as (models, batch)"
    )


def _loss_and_gradient(
    defense: Defense, logits: Tensor, targets: Tensor, *, name: str
) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    losses = defense.loss(leaf, targets)
    assert losses.shape == logits.shape[:-1], (
        f"{name} has shape {tuple(losses.shape)} for logits {tuple(logits.shape)}: "
        "return one number per example, do not average"
    )
    assert losses.requires_grad, f"{name} cannot be differentiated: it is detached from the logits"
    (gradient,) = torch.autograd.grad(losses.sum(), leaf)
    for what, values in (("", losses), ("'s gradient", gradient)):
        assert bool(values.isfinite().all()), (
            f"{name}{what} is not finite for logits up to {LARGEST_LOGIT:g}"
        )
    return losses.detach(), gradient


def _check_regularise(defense: Defense) -> None:
    """The penalty is one number per model, of that model's weights alone."""
    name, generator, models = defense.label(), _generator(2), 3
    weights = {
        "0.weight": torch.randn(models, CLASSES, 4, generator=generator),
        "0.bias": torch.randn(models, CLASSES, generator=generator),
    }
    penalty = defense.regularise(weights)
    assert penalty.shape in {(), (models,)}, (
        f"{name}: regularise returns shape {tuple(penalty.shape)}, not ({models},) for "
        f"{models} models"
    )
    assert bool(penalty.isfinite().all()), f"{name}: regularise is not finite"
    for model, value in enumerate(penalty.expand(models)):
        one = {key: stacked[model : model + 1] for key, stacked in weights.items()}
        assert torch.allclose(defense.regularise(one).sum(), value, rtol=1e-4, atol=1e-6), (
            f"{name}: regularise lets one model's weights change another one's penalty"
        )


def _check_mechanism(defense: Defense) -> None:
    name = defense.label()
    sampling = Sampling(rate=0.05, steps=100, batch=25.0, steps_per_epoch=20.0)
    mechanism = defense.mechanism(sampling)
    if mechanism is None:
        return
    assert isinstance(mechanism, Mechanism), f"{name}: mechanism returns {type(mechanism)}"
    assert mechanism.max_grad_norm > 0, f"{name}: max_grad_norm is {mechanism.max_grad_norm}"
    noise = mechanism.noise_multiplier
    assert 0 <= noise < math.inf, f"{name}: noise_multiplier is {noise}"
    if not mechanism.clips:
        assert noise == 0, f"{name}: it asks for noise on gradients that it does not clip"
    elif mechanism.claim is not None:
        assert noise > 0, f"{name}: it clips, claims privacy and adds no noise"
    assert defense.mechanism(sampling) == mechanism, f"{name}: mechanism gives two for one sampling"


def _state(defense: Defense, outputs: Tensor) -> State | None:
    """Returns what the release stage learns about one model with some outputs, if it learns."""
    if not overrides(defense, "fit_release"):
        return None
    generator, shape = _generator(11), (4,)
    many = outputs.repeat(4, 1)[None]
    labels = torch.arange(many.shape[1]) % CLASSES
    serving = Serving(
        outputs=many,
        labels=labels,
        members=torch.arange(many.shape[1])[None] % 2 == 0,
        reference_outputs=many.flip(1),
        reference_labels=labels.flip(0),
        predict=lambda inputs: many[:, torch.arange(len(inputs)) % many.shape[1]],
        shape=shape,
        low=torch.zeros(shape),
        high=torch.ones(shape),
        binary=torch.zeros(shape, dtype=torch.bool),
        generator=generator,
    )
    return defense.fit_release(serving)


def _check_release(defense: Defense) -> None:
    """Released scores look like scores, whatever the batch, and say what the defense declares."""
    name = defense.label()
    if defense.randomised:
        assert "generator" in inspect.signature(defense.release).parameters, (
            f"{name}: randomised, but release takes no `generator`"
        )
    outputs = _outputs()
    state = _state(defense, outputs)

    def release(asked: Tensor, seed: int) -> Tensor:
        if state is None:
            return released(defense, asked, _generator(seed))
        one_model = asked.reshape(1, -1, CLASSES)
        return released(defense, one_model, _generator(seed), state).view(asked.shape)

    for shape in ((0,), (1,), (3,), (len(outputs),), (2, 3)):
        _check_released(name, release, outputs[: math.prod(shape)].reshape(*shape, CLASSES))
    seen = release(outputs, 3)
    assert torch.equal(release(outputs, 3), seen), (
        f"{name}: release differs between two calls with the same generator"
    )
    if not defense.randomised:
        rows = torch.stack([release(row, 3) for row in outputs])
        assert torch.allclose(rows, seen, rtol=1e-5, atol=1e-7), (
            f"{name}: what is released for one example depends on the other examples of its batch"
        )
    if defense.keeps_argmax:
        leaders = outputs.topk(2, dim=-1).values
        clear = leaders[:, 0] - leaders[:, 1] >= MARGIN
        assert torch.equal(seen.argmax(-1)[clear], outputs.argmax(-1)[clear]), (
            f"{name}: release changes a predicted label: set keeps_argmax to False"
        )


def _check_released(name: str, release: Callable[[Tensor, int], Tensor], outputs: Tensor) -> None:
    name, shape = f"{name}: release", tuple(outputs.shape)
    given = outputs.clone()
    seen = release(outputs, 4)
    assert torch.equal(outputs, given), f"{name} writes into the scores it was given"
    assert seen.shape == outputs.shape, f"{name} turns shape {shape} into {tuple(seen.shape)}"
    assert seen.dtype == outputs.dtype, f"{name} turns {outputs.dtype} into {seen.dtype}"
    assert bool(seen.isfinite().all()), f"{name} is not finite"
    assert bool((seen >= 0).all()), f"{name} returns negative scores"


def _outputs() -> Tensor:
    """Returns `(n, C)` probabilities: from unsure to sure, exact one-hots, uniform, tiny ones."""
    generator = _generator(5)
    logits = torch.randn(40, CLASSES, generator=generator)
    sharpness = torch.logspace(-1, 1.5, 40)[:, None]
    tiny = torch.tensor([[1.0, 1e-30, 1e-38, 1e-45, 0.0]])
    uniform = torch.full((1, CLASSES), 1 / CLASSES)
    return torch.cat([(sharpness * logits).softmax(-1), torch.eye(CLASSES), uniform, tiny])


def _same(some: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))
