"""What it costs to save long trainings, and to take one up again.

    python -m bench.saving

Shares of the time are of a minute, which is what lies between two savings.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from dpbench.models import MLP
from dpbench.training import dense
from dpbench.training.fit import DENSE
from dpbench.training.partial import Partial
from dpbench.training.recipe import Recipe
from dpbench.training.task import Mechanism, Task, TrainingData

MINUTE = 60.0
POOL, WIDTH, CLASSES, MODELS, STEPS = 5000, 784, 10, 16, 400
PARAMETERS = {"16 MLPs, 784-128-10": 16 * 101_770, "a ResNet-18": 11_200_000}


def seconds(measured: Callable[[], object], times: int = 5) -> float:
    """Returns the median of the CPU-and-disk time of several calls."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        measured()
        found.append(time.perf_counter() - start)
    return sorted(found)[times // 2]


def saving(parameters: int, folder: Path) -> float:
    """Returns how long it takes to save weights, momentum and four generators."""
    state = {name: torch.randn(parameters) for name in ("weights", "momentum")}
    state |= {str(number): torch.Generator().get_state() for number in range(4)}
    saver = Partial(folder).training(lambda: "identity")(0)
    return seconds(lambda: saver.save(1, state))


def task_of(mechanism: Mechanism | None) -> Task:
    """A block of a Fashion-MNIST grid, on random inputs."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(POOL, WIDTH, generator=generator)
    targets = torch.randint(CLASSES, (POOL,), generator=generator)
    recipe = Recipe()
    return Task(
        architecture=MLP(hidden=(128,)),
        shape=(WIDTH,),
        n_classes=CLASSES,
        recipe=recipe,
        sampling=recipe.sampling(POOL / 2),
        mechanism=mechanism,
        loss=None,
        regularise=None,
        data=TrainingData(inputs, targets, inputs[:100], targets[:100]),
        members=torch.rand(MODELS, POOL, generator=generator) < 0.5,
        seed=0,
        models=tuple(range(MODELS)),
        checkpoints=(STEPS,),
    )


def again(task: Task) -> tuple[float, float]:
    """Returns the seconds of all steps, and of making their batches alone, of one stack."""
    width = DENSE.models_at_once(task.network, task.sampling.batch)

    def batches() -> None:
        for _ in dense._Chunk(task, slice(0, width)).batches(STEPS):
            pass

    whole = seconds(lambda: dense._Chunk(task, slice(0, width)).run(lambda _: None), times=3)
    return whole, seconds(batches, times=3)


def main() -> None:
    """Prints what was measured."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what, parameters in PARAMETERS.items():
            spent = saving(parameters, folder)
            print(f"saving {what}: {spent * 1e3:.0f} ms, {spent / MINUTE:.2%} of a minute")
        partial = Partial(folder)
        looks = seconds(lambda: [partial.due for _ in range(100_000)]) / 100_000
    for what, mechanism in (("SGD", None), ("DP-SGD", Mechanism(max_grad_norm=1.0))):
        whole, batches = again(task_of(mechanism))
        print(f"{what}: looking at the clock is {looks * STEPS / whole:.3%} of a step;", end=" ")
        print(f"a step that was taken before takes {batches / whole:.1%} of one")


if __name__ == "__main__":
    main()
