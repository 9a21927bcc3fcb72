"""The steps of a training, the same for both engines: from the first, or from where it was left."""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from torch import Tensor

from dpbench.training.batches import Batch
from dpbench.training.partial import Saver, identity_of
from dpbench.training.resumable import Parts, Resumable
from dpbench.training.schedule import learning_rates
from dpbench.training.snapshots import Released
from dpbench.training.stopping import BestEpochs
from dpbench.training.task import Progress, Task, require_finite


class Stack(Protocol):
    """Models that are trained side by side."""

    @property
    def flat(self) -> Tensor:
        """All their parameters."""

    @property
    def what(self) -> str:
        """Whose parameters these are."""

    def batches(self, steps: int) -> Iterator[Batch]:
        """Yields the batches, the same whenever it is asked."""

    def take(self, step: int, batch: Batch, rate: float) -> None:
        """Takes a step."""

    def changing(self) -> Mapping[str, Resumable] | None:
        """Returns all that steps change; None where a part does not tell."""


def run_steps(
    stack: Stack,
    task: Task,
    *,
    best: BestEpochs | None,
    progress: Progress,
    saver: Saver | None,
) -> dict[int, Tensor]:
    """Takes every step up to the last checkpoint; returns the flat parameters of each checkpoint.

    Args:
        stack: The models.
        task: What they are trained for.
        best: Early stopping, if the recipe asks for it.
        progress: Called with the finished fraction.
        saver: Where to go on from and to save to, if anywhere.

    Raises:
        Diverged: A weight is not finite.
    """
    released = Released(task.checkpoints, task.recipe.averaging, device=task.device)
    last, rates = task.checkpoints[-1], learning_rates(task.recipe, task.sampling)
    per_epoch = max(1, round(task.sampling.steps_per_epoch))
    parts = _parts(stack, released, best)
    done = _resume(saver, parts, released, last)
    if done == last:
        return released.kept
    for step, batch in enumerate(stack.batches(last), 1):
        if step <= done:  # batches follow from their generator's seed, and are made anew
            continue
        stack.take(step, batch, rates[step - 1])
        released.after(step, stack.flat)
        if step % per_epoch == 0 or step == last:
            # Once an epoch: a weight that is not finite never becomes finite again, and looking at
            # every step would wait for the GPU.
            require_finite({stack.what: stack.flat}, step=step)
            progress(step / last)
            if best is not None and best.after_epoch():
                break
        if saver is not None and saver.due and parts is not None:
            saver.save(step, parts.state())
    # A model that stopped early is released at every checkpoint that it did not reach.
    if best is not None:
        released.stop(best.flat)
    if saver is not None:
        saver.ended(last, released.state())
    return released.kept


def savers(task: Task) -> Callable[[int], Saver | None]:
    """Returns what makes the saver of the models from a position of the task on."""
    if task.partial is None:
        return lambda first: None
    return task.partial.training(lambda: _identity(task))


def _parts(stack: Stack, released: Released, best: BestEpochs | None) -> Parts | None:
    changing = stack.changing()
    if changing is None:
        return None
    own: dict[str, Resumable] = {"released": released}
    if best is not None:
        own["best"] = best
    return Parts({**changing, **own})


def _resume(saver: Saver | None, parts: Parts | None, released: Released, last: int) -> int:
    """Restores what is found; returns the last step that need not be taken any more."""
    found = saver.found() if saver is not None else None
    if found is None:
        return 0
    # A finished training needs no objective to go on: what it released is all that counts.
    if found.step == last:
        released.restore(found.state)
    elif parts is not None:
        parts.restore(found.state)
    else:
        return 0
    return found.step


def _identity(task: Task) -> str:
    mechanism = task.mechanism
    noise = mechanism and (mechanism.max_grad_norm, mechanism.noise_multiplier, mechanism.quantile)
    initial = task.initial or {}
    return identity_of(
        task.architecture,
        task.recipe,
        task.sampling,
        noise,
        task.seed,
        task.models,
        task.checkpoints,
        task.device,
        sorted(task.frozen),
        tensors=(task.members, task.data.targets, *initial.values()),
    )
