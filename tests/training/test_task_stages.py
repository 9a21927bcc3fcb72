"""What a task may ask of both engines beside plain training, against slow loops and each other."""

import dataclasses

import pytest
import torch
from torch.nn import functional

from dpbench.models import MLP
from dpbench.training import dense
from dpbench.training.ensemble import Ensemble
from dpbench.training.fit import AUTOGRAD, DENSE
from dpbench.training.recipe import Recipe
from dpbench.training.schedule import learning_rates
from dpbench.training.task import Mechanism, Setting, Step
from tests.training.small_task import CLASSES, TABLE, N, make_task

NET = MLP(hidden=(8,))
FULL = Recipe(epochs=4, sampling_rate=1.0, lr=0.3, momentum=0.9, weight_decay=0.01)
ENGINES = [DENSE, AUTOGRAD]


def task_of(**changes):
    task = make_task(NET, TABLE, FULL, models=(0, 1, 2), **changes)
    return dataclasses.replace(
        task,
        sampling=task.sampling._replace(steps=6),
        checkpoints=(6,),
        members=torch.ones(3, N, dtype=torch.bool),
    )


def fitted(engine, task):
    return engine.fit(task)[task.checkpoints[-1]]


def same(some, others, **tolerance):
    return all(torch.allclose(some[name], others[name], **tolerance) for name in some)


# Full batches of all points: then both engines see the same batches, in another order.
def whole_batches(task):
    size = float(N)
    return dataclasses.replace(task, sampling=task.sampling._replace(batch=size, rate=1.0))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("soft", [False, True])
def test_each_model_learns_its_own_targets(engine, soft):
    task = whole_batches(task_of())
    labels = torch.randint(0, CLASSES, (3, N), generator=torch.Generator().manual_seed(0))
    own = functional.one_hot(labels, CLASSES).float() if soft else labels
    together = fitted(engine, dataclasses.replace(task, data=task.data._replace(targets=own)))
    for model in range(3):
        alone = dataclasses.replace(
            task,
            data=task.data._replace(targets=labels[model]),
            models=(model,),
            members=task.members[:1],
        )
        for name, value in fitted(engine, alone).items():
            assert torch.allclose(value[0], together[name][model], atol=1e-5)
    assert not same(together, fitted(engine, task), atol=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mechanism", [None, Mechanism(max_grad_norm=0.5, noise_multiplier=1.0)])
def test_training_starts_from_given_weights_and_leaves_the_frozen_ones(engine, mechanism):
    task = task_of(mechanism=mechanism)
    initial = fitted(engine, task_of())
    frozen = frozenset({"1.weight", "1.bias"})
    after = fitted(engine, dataclasses.replace(task, initial=initial, frozen=frozen))
    for name in frozen:
        assert torch.equal(after[name], initial[name])
    assert not torch.allclose(after["3.weight"], initial["3.weight"], atol=1e-3)


def test_clipping_measures_trained_layers_only():
    task = whole_batches(task_of(mechanism=Mechanism(max_grad_norm=0.05, noise_multiplier=0.0)))
    task = dataclasses.replace(task, frozen=frozenset({"1.weight", "1.bias"}))
    assert same(fitted(DENSE, task), fitted(AUTOGRAD, task), atol=1e-5)
    unfrozen = dataclasses.replace(task, frozen=frozenset())
    assert not torch.allclose(
        fitted(DENSE, task)["3.weight"], fitted(DENSE, unfrozen)["3.weight"], atol=1e-4
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_augmentation_sees_every_batch_and_draws_anew(engine):
    seen = []

    def augment(inputs, targets, generator):
        seen.append(torch.rand(1, generator=generator).item())
        assert inputs.shape[2:] == TABLE
        assert targets.shape == (*inputs.shape[:2], CLASSES)
        return 2 * inputs, 0.5 * targets + 0.5 / CLASSES

    task = whole_batches(task_of())
    after = fitted(engine, dataclasses.replace(task, augment=augment))
    assert len(set(seen)) == len(seen) >= 6
    soft = functional.one_hot(task.data.targets, CLASSES).float()
    by_hand = task.data._replace(inputs=2 * task.data.inputs, targets=0.5 * soft + 0.5 / CLASSES)
    assert same(after, fitted(engine, dataclasses.replace(task, data=by_hand)), atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_augmented_gradients_are_clipped_by_their_own_norm(engine):
    task = whole_batches(task_of(mechanism=Mechanism(max_grad_norm=0.1, noise_multiplier=0.0)))
    augmented = dataclasses.replace(task, augment=lambda x, y, generator: (3 * x, y))
    by_hand = task.data._replace(inputs=3 * task.data.inputs)
    expected = fitted(engine, dataclasses.replace(task, data=by_hand))
    assert same(fitted(engine, augmented), expected, atol=1e-5)


def ascending(setting: Setting):
    """Cross-entropy with a sign that depends on the batch's mean and on the step."""

    def objective(step: Step):
        loss = functional.cross_entropy(
            step.logits.flatten(0, 1), step.targets.flatten(), reduction="none"
        ).view(step.targets.shape)
        known = setting.predict(setting.data.reference_inputs)
        assert known.shape == (setting.models, len(setting.data.reference_inputs), CLASSES)
        up = (loss.mean(1, keepdim=True) < 1.37) & (step.number % 2 == 0)
        return torch.where(up, -loss, loss)

    return objective


def test_an_objective_means_the_same_in_both_engines():
    task = whole_batches(task_of())
    task = dataclasses.replace(task, objective=ascending)
    ours = fitted(DENSE, task)
    assert same(ours, fitted(AUTOGRAD, task), atol=1e-5)
    assert not same(ours, fitted(DENSE, dataclasses.replace(task, objective=None)), atol=1e-3)


@pytest.mark.parametrize("mechanism", [None, Mechanism(max_grad_norm=0.2, noise_multiplier=0.0)])
def test_adam_is_torchs(mechanism):
    task = whole_batches(task_of(mechanism=mechanism))
    recipe = dataclasses.replace(FULL, optimizer="adam", lr=0.05)
    task = dataclasses.replace(task, recipe=recipe)
    ours, theirs = fitted(DENSE, task), fitted(AUTOGRAD, task)
    assert same(ours, theirs, atol=1e-4)
    sgd = dataclasses.replace(task, recipe=dataclasses.replace(recipe, optimizer="sgd"))
    assert not same(ours, fitted(DENSE, sgd), atol=1e-2)


@pytest.mark.parametrize("engine", ENGINES)
def test_adam_is_the_usual_loop(engine):
    recipe = dataclasses.replace(FULL, optimizer="adam", lr=0.05)
    task = dataclasses.replace(whole_batches(task_of()), recipe=recipe)
    rates = learning_rates(recipe, task.sampling)
    after, start = fitted(engine, task), engine_start(task)
    for model in range(3):
        module = NET.build(TABLE, CLASSES, torch.Generator())
        module.load_state_dict({name: value[model] for name, value in start.items()})
        adam = torch.optim.Adam(module.parameters(), lr=1.0, weight_decay=recipe.weight_decay)
        for rate in rates[:6]:
            adam.param_groups[0]["lr"] = rate
            adam.zero_grad()
            functional.cross_entropy(module(task.data.inputs), task.data.targets).backward()
            adam.step()
        for name, value in module.named_parameters():
            torch.testing.assert_close(after[name][model], value.detach(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_stops_at_the_first_epoch_that_is_accurate_enough(engine):
    task = task_of()
    task = dataclasses.replace(task, sampling=task.sampling._replace(steps=40), checkpoints=(40,))
    data, scores = task.data, []
    for step in range(1, 41):
        after = engine.fit(dataclasses.replace(task, checkpoints=(step, 40)))[step]
        outputs = engine.logits(Ensemble(task.network, after), data.reference_inputs).argmax(-1)
        scores.append((outputs == data.reference_targets).double().mean(1))
    least = float(torch.stack(scores)[15].median())
    recipe = dataclasses.replace(task.recipe, stop_accuracy=least)
    released = fitted(engine, dataclasses.replace(task, recipe=recipe))
    for model in range(3):
        reached = [step for step in range(40) if scores[step][model] >= least]
        first = reached[0] + 1 if reached else 40
        expected = engine.fit(dataclasses.replace(task, checkpoints=(first, 40)))[first]
        for name, value in expected.items():
            assert torch.allclose(released[name][model], value[model], atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_patience_may_watch_the_members(engine):
    task = task_of()
    task = dataclasses.replace(task, sampling=task.sampling._replace(steps=30), checkpoints=(30,))
    fitted_by = {
        monitor: fitted(
            engine,
            dataclasses.replace(
                task, recipe=dataclasses.replace(task.recipe, patience=2, monitor=monitor)
            ),
        )
        for monitor in ("reference", "members")
    }
    # The members' loss goes on falling long after the other one has turned.
    assert same(fitted_by["members"], fitted(engine, task), atol=0.5)
    assert not same(fitted_by["members"], fitted_by["reference"], atol=1e-3)


@pytest.mark.parametrize("net", [NET, MLP(hidden=(8,), layer_norm=True, activation="tanh")])
def test_copies_of_an_example_are_one_gradient(net):
    """Both engines against a slow loop: the mean gradient of the copies, clipped, then summed."""
    norm, copies = 0.4, 3
    mechanism = Mechanism(max_grad_norm=norm, noise_multiplier=0.0, multiplicity=copies)

    def augment(inputs, targets, generator):
        scales = torch.tensor([1.0, -0.5, 2.0]).repeat(inputs.shape[1] // copies)
        return inputs * scales[:, None], targets

    recipe = dataclasses.replace(FULL, momentum=0.0, weight_decay=0.0)
    task = make_task(net, TABLE, recipe, models=(0, 1), mechanism=mechanism, augment=augment)
    size = torch.ones(2, N, dtype=torch.bool)
    task = dataclasses.replace(task, checkpoints=(1,), members=size)
    task = dataclasses.replace(task, sampling=task.sampling._replace(steps=1))
    start = engine_start(task)
    for model in range(2):
        module = net.build(TABLE, CLASSES, torch.Generator())
        module.load_state_dict({name: value[model] for name, value in start.items()})
        total = {name: torch.zeros_like(value) for name, value in module.named_parameters()}
        for x, y in zip(task.data.inputs, task.data.targets, strict=True):
            loss = 0.0
            for scale in (1.0, -0.5, 2.0):
                loss = loss + functional.cross_entropy(module(scale * x[None]), y[None]) / copies
            gradients = torch.autograd.grad(loss, list(module.parameters()))
            length = torch.cat([one.flatten() for one in gradients]).norm()
            factor = min(1.0, norm / float(length))
            for name, gradient in zip(total, gradients, strict=True):
                total[name] += factor * gradient
        for engine in ENGINES:
            after = fitted(engine, task)
            for name, value in module.named_parameters():
                expected = value - FULL.lr * total[name] / task.sampling.batch
                assert torch.allclose(after[name][model], expected, atol=1e-5), engine.__name__


def engine_start(task):
    return dense._initial(task, slice(None))
