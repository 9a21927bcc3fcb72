"""Training speed of the dense engine against plain PyTorch and Opacus, as ratios in one run.

    python -m bench.speed            # prints the table, writes bench/out/speed.csv

Both sides run on one thread with the same allocator setting, take the same kind of batches from the
same data, and are measured alternately; the best of several rounds counts. Loading and calibration
are outside the clock; sampling, noise and the optimizer step are inside. Opacus gets its three
gradient modes, on its own modules and optimizer, with batches drawn by this project's sampler (its
loader builds batches item by item, which would flatter us).
"""

import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

_ALLOCATOR = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296"
if os.environ.get("GLIBC_TUNABLES") != _ALLOCATOR and __name__ == "__main__":
    settings = {"GLIBC_TUNABLES": _ALLOCATOR, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    os.execve(
        sys.executable, [sys.executable, "-m", "bench.speed", *sys.argv[1:]], os.environ | settings
    )

import pandas as pd
import torch
from torch import nn

from dpbench.models import MLP
from dpbench.models.network import Network
from dpbench.training import dense
from dpbench.training.batches import poisson_batches, shuffled_batches
from dpbench.training.fit import DENSE
from dpbench.training.recipe import Recipe
from dpbench.training.task import Mechanism, Task, TrainingData

POOL, ROUNDS = 4000, 5
DP_SHAPES = [(446, 128, 30, 256), (784, 128, 10, 64), (196, 128, 10, 64), (16, 128, 26, 64)]
SGD_SHAPES = [(784, 256, 10, 256), *DP_SHAPES[1:]]
# The floors that the project promises: (against the fastest Opacus mode, against its hooks).
DP_FLOORS = {446: (2.5, 8.0), 784: (3.0, 8.0), 196: (4.0, 8.0), 16: (8.0, 8.0)}
SGD_FLOORS = {784: 1.3, 196: 2.5, 16: 5.0}


def main() -> None:
    """Measures every shape and prints the ratios."""
    torch.set_num_threads(1)
    rows = [sgd_row(*shape) for shape in SGD_SHAPES] + [dp_row(*shape) for shape in DP_SHAPES]
    table = pd.DataFrame(rows)
    out = Path("bench/out")
    out.mkdir(parents=True, exist_ok=True)
    table.to_csv(out / "speed.csv", index=False)
    with pd.option_context("display.width", 200, "display.max_columns", None):
        print(table.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    print(f"sgemm: {sgemm_rate() / 1e9:.0f} GFLOP/s on one thread")


def data(d: int, classes: int) -> TrainingData:
    """Random inputs and labels: speed does not depend on what is learnt."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(POOL, d, generator=generator)
    targets = torch.randint(0, classes, (POOL,), generator=generator)
    return TrainingData(inputs, targets, inputs[:10], targets[:10])


def task(d: int, hidden: int, classes: int, batch: int, mechanism: Mechanism | None) -> Task:
    """One chunk of the dense engine: K models, K chosen by the engine."""
    architecture = MLP(hidden=(hidden,))
    models = DENSE.models_at_once(Network(architecture, (d,), classes), batch)
    momentum = 0.9 if mechanism is None else 0.0
    recipe = Recipe(epochs=40, batch_size=batch, lr=0.01, momentum=momentum)
    sampling = recipe.sampling(POOL / 2)
    generator = torch.Generator().manual_seed(1)
    return Task(
        architecture=architecture,
        shape=(d,),
        n_classes=classes,
        recipe=recipe,
        sampling=sampling,
        mechanism=mechanism,
        loss=None,
        regularise=None,
        data=data(d, classes),
        members=torch.rand(models, POOL, generator=generator) < 0.5,
        seed=0,
        models=tuple(range(models)),
        checkpoints=(sampling.steps,),
    )


def best_of(runs: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Seconds per model-step of every contender: alternating rounds, the best one counts."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, measure in runs.items():
            best[name] = min(best[name], measure())
    return best


def ours(work: Task) -> Callable[[], float]:
    """Seconds per model-step of the dense engine."""
    steps = max(8, min(work.sampling.steps, 1200 // len(work.models)))
    short = dense._Chunk(
        Task(**{**vars(work), "checkpoints": (steps,)}), slice(0, len(work.models))
    )

    def measure() -> float:
        start = time.perf_counter()
        short.run(lambda fraction: None)
        return (time.perf_counter() - start) / steps / len(work.models)

    return measure


def network(d: int, hidden: int, classes: int) -> nn.Sequential:
    """The module a user would write."""
    return nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def plain_loop(d: int, hidden: int, classes: int, batch: int) -> Callable[[], float]:
    """Seconds per step of the usual PyTorch loop."""
    module, given = network(d, hidden, classes), data(d, classes)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    members, steps = torch.ones(1, POOL, dtype=torch.bool), 200

    def measure() -> float:
        batches = shuffled_batches(members, batch, steps, torch.Generator().manual_seed(0))
        start = time.perf_counter()
        for index, _ in batches:
            rows = index[0]
            loss = nn.functional.cross_entropy(module(given.inputs[rows]), given.targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return (time.perf_counter() - start) / steps

    return measure


def opacus_loop(mode: str, d: int, hidden: int, classes: int, batch: int) -> Callable[[], float]:
    """Seconds per step of Opacus in one gradient mode."""
    from opacus import GradSampleModule
    from opacus.grad_sample import (
        GradSampleModuleExpandedWeights,
        GradSampleModuleFastGradientClipping,
    )
    from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    module, given = network(d, hidden, classes), data(d, classes)
    ghost = mode == "ghost"
    optimizer = (DPOptimizerFastGradientClipping if ghost else DPOptimizer)(
        torch.optim.SGD(module.parameters(), lr=0.01),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch_size=batch,
    )
    criterion = nn.CrossEntropyLoss()
    if ghost:
        wrapped = GradSampleModuleFastGradientClipping(
            module, max_grad_norm=1.0, use_ghost_clipping=True
        )
        criterion = DPLossFastGradientClipping(wrapped, optimizer, criterion)
    else:
        kinds = {"hooks": GradSampleModule, "ew": GradSampleModuleExpandedWeights}
        wrapped = kinds[mode](module)
    members, steps = torch.ones(1, POOL, dtype=torch.bool), 60

    def measure() -> float:
        generator = torch.Generator().manual_seed(0)
        batches = poisson_batches(members, batch / POOL, steps, generator)
        start = time.perf_counter()
        for index, _ in batches:
            rows = index[0]
            optimizer.zero_grad()
            loss = criterion(wrapped(given.inputs[rows]), given.targets[rows])
            loss.backward()
            optimizer.step()
        return (time.perf_counter() - start) / steps

    return measure


def sgd_row(d: int, hidden: int, classes: int, batch: int) -> dict[str, object]:
    """One shape without privacy."""
    work = task(d, hidden, classes, batch, None)
    seconds = best_of({"ours": ours(work), "loop": plain_loop(d, hidden, classes, batch)})
    # Forward and weight gradient of both layers, and the gradient on the hidden layer.
    flops = batch * (4 * d * hidden + 6 * hidden * classes)
    return {
        "shape": f"sgd {d}-{hidden}-{classes} B={batch}",
        "K": len(work.models),
        "ours us": seconds["ours"] * 1e6,
        "loop us": seconds["loop"] * 1e6,
        "speedup": seconds["loop"] / seconds["ours"],
        "floor": SGD_FLOORS[d] if batch == 64 else 1.0,
        "of sgemm": flops / seconds["ours"] / sgemm_rate(),
    }


def dp_row(d: int, hidden: int, classes: int, batch: int) -> dict[str, object]:
    """One shape with DP-SGD."""
    work = task(d, hidden, classes, batch, Mechanism(max_grad_norm=1.0, noise_multiplier=1.0))
    runs = {"ours": ours(work)}
    for mode in ("hooks", "ghost", "ew"):
        runs[mode] = opacus_loop(mode, d, hidden, classes, batch)
    with warnings.catch_warnings():
        # Opacus warns about backward hooks on modules whose inputs need no gradient.
        warnings.simplefilter("ignore")
        seconds = best_of(runs)
    fastest = min(seconds[mode] for mode in ("hooks", "ghost", "ew"))
    return {
        "shape": f"dp  {d}-{hidden}-{classes} B={batch}",
        "K": len(work.models),
        "ours us": seconds["ours"] * 1e6,
        **{f"{mode} us": seconds[mode] * 1e6 for mode in ("hooks", "ghost", "ew")},
        "speedup": fastest / seconds["ours"],
        "floor": DP_FLOORS[d][0],
        "over hooks": seconds["hooks"] / seconds["ours"],
        "hooks floor": DP_FLOORS[d][1],
    }


def sgemm_rate() -> float:
    """FLOP/s of a large single-precision product, the best this core does."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    out, best = torch.empty(1024, 1024), float("inf")
    for _ in range(10):
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best


if __name__ == "__main__":
    main()
