"""Our boundary search against HopSkipJump of the Adversarial Robustness Toolbox, in one run.

    python -m pip install --no-deps --target /tmp/art adversarial-robustness-toolbox six tqdm
    PYTHONPATH=/tmp/art python -m bench.hop_skip_jump

The Toolbox (1.20.1 when this was written) is installed apart: nothing else here needs it. Both
sides attack the same network on the same points of 14 x 14 Fashion-MNIST, on one thread, each as
its users do: the Toolbox through its PyTorchClassifier, ours through the engine that a grid asks.
One more row gives the Toolbox a bare function in place of its classifier: the fastest it can be.
It goes first, since it has iterations but no budget; what it asked about a point on average is the
budget of ours. Ours knows the labels of the whole pool, one query about each point, and starts from
there; the Toolbox starts from noise. Two more rows show ours with a quarter of the queries, and on
more points, where calls cost least. Seconds are of the processor.

Exits with 1 if ours finds a larger median distance with the same queries or with a quarter of them,
or if with that quarter it does not take 20 times less time than the bare function; with 2 without
the Toolbox.
"""

import os
import sys

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpbench.attacks.base import Access, Oracle
from dpbench.attacks.toolbox.hop_skip_jump import Box, boundary_distances
from dpbench.data import Population, load_population
from dpbench.data.population import PopulationSpec
from dpbench.models import MLP
from dpbench.training.fit import fit, logits
from dpbench.training.recipe import Recipe
from dpbench.training.task import Task, TrainingData, Weights

Floats = NDArray[np.float32]
POOL, POINTS, MORE_POINTS, ITERATIONS = 2000, 100, 500, 10
FLOOR = 20.0
NET = MLP(hidden=(128,))


class Measured(NamedTuple):
    """One side on one set of points."""

    distances: Floats
    queries: int
    seconds: float

    @property
    def rate(self) -> float:
        """Queries per second."""
        return self.queries / self.seconds

    @property
    def median(self) -> float:
        """The median distance."""
        return float(np.median(self.distances))

    def row(self, name: str) -> str:
        """Returns a line of the table."""
        points = len(self.distances)
        return (
            f"{name:24} {points:5d} points  {self.queries / points:7.0f} queries each  "
            f"{self.rate:9.0f} queries/s  {1e3 * self.seconds / points:7.2f} ms each  "
            f"median distance {self.median:.4f}"
        )


class Single(torch.nn.Module):
    """Single precision: the Toolbox asks about doubles."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns the inputs in single precision."""
        return inputs.float()


class Network:
    """A trained network that counts what it is asked."""

    def __init__(self, population: Population) -> None:
        self.population, self.asked = population, 0
        self._weights = trained(population)
        build = torch.Generator().manual_seed(0)
        network = NET.build(population.shape, population.n_classes, build)
        network.load_state_dict({name: value[0] for name, value in self._weights.items()})
        shaped = torch.nn.Unflatten(1, population.shape)
        self.module = torch.nn.Sequential(Single(), shaped, network).eval()
        # The Toolbox calls the parts of a sequence one by one.
        shaped.register_forward_hook(self._count)

    def __call__(self, rows: Floats) -> Floats:
        """Returns logits `(N, C)` of the module."""
        with torch.no_grad():
            outputs: Floats = self.module(torch.from_numpy(rows)).numpy()
        return outputs

    def engine(self, rows: Floats) -> Floats:
        """Returns logits `(N, C)` of the engine that a grid asks."""
        self.asked += len(rows)
        facts = {"shape": self.population.shape, "n_classes": self.population.n_classes}
        outputs: Floats = logits(NET, self._weights, torch.from_numpy(rows), **facts)[0].numpy()
        return outputs

    def _count(self, module: torch.nn.Module, inputs: tuple[Tensor], outputs: Tensor) -> None:
        self.asked += len(outputs)


def main() -> None:
    """Measures and prints; exits with 1 if a promise is broken, with 2 without the Toolbox."""
    try:
        from art.attacks.evasion import HopSkipJump
        from art.estimators.classification import BlackBoxClassifier, PyTorchClassifier
    except ImportError as error:
        print(f"bench.hop_skip_jump: the Toolbox is missing ({error}):\n{__doc__}", file=sys.stderr)
        sys.exit(2)
    torch.set_num_threads(1)
    spec = PopulationSpec(dataset="fashion_mnist", pool=POOL, average_pool=2)
    network = Network(load_population(spec, seed=0, data_dir=None))
    pool = network.population.pool_x.reshape(POOL, -1)
    right = np.flatnonzero(network(pool).argmax(1) == network.population.pool_y)
    low, high = float(network.population.low.min()), float(network.population.high.max())
    shape, box = (pool.shape[1],), (low, high)
    bare = BlackBoxClassifier(network, shape, 10, clip_values=box)
    usual = PyTorchClassifier(
        network.module, torch.nn.CrossEntropyLoss(), shape, 10, clip_values=box, device_type="cpu"
    )
    searches = (HopSkipJump(one, max_iter=ITERATIONS, verbose=False) for one in (usual, bare))
    usually, theirs = (toolbox(network, one.generate, pool[right[:POINTS]]) for one in searches)
    budget = round(theirs.queries / POINTS)
    ours = dpbench_search(network, right[:POINTS], budget)
    quarter = dpbench_search(network, right[:POINTS], budget // 4)
    many = dpbench_search(network, right[:MORE_POINTS], budget)
    for name, found in [
        ("Toolbox", usually),
        ("Toolbox, bare function", theirs),
        ("dpbench", ours),
        ("dpbench, a quarter", quarter),
        ("dpbench, more points", many),
    ]:
        print(found.row(name))
    for name, found in (("Toolbox", usually), ("bare function", theirs)):
        rate, most = ours.rate / found.rate, many.rate / found.rate
        print(f"{name}: {rate:.1f} times as many queries per second, {most:.1f} on more points")
    _judge(theirs, ours, quarter)


def _judge(theirs: Measured, ours: Measured, quarter: Measured) -> None:
    faster = theirs.seconds / quarter.seconds
    print(f"median distance: {ours.median / theirs.median:.3f} of theirs with the same queries,")
    print(f"{quarter.median / theirs.median:.3f} with a quarter, in {faster:.0f} times less time")
    if max(ours.median, quarter.median) > theirs.median or faster < FLOOR:
        sys.exit(1)


def toolbox(network: Network, generate: Callable[..., Floats], points: Floats) -> Measured:
    """Returns what the Toolbox finds, in raw units."""
    before, start = network.asked, time.process_time()
    found = generate(x=points)
    seconds = time.process_time() - start
    gaps = (found - points) / network.population.unit.ravel()
    return Measured(np.linalg.norm(gaps, axis=1), network.asked - before, seconds)


def dpbench_search(network: Network, points: NDArray[np.int64], budget: int) -> Measured:
    """Returns what ours finds for some points of the pool, in raw units."""
    population, every = network.population, network.population.pool_x.reshape(POOL, -1)
    labels = np.full(POOL, -1)
    labels[points] = population.pool_y[points]
    oracle = Oracle(
        access=Access.LABEL,
        budget=budget,
        pool_outputs=lambda: network.engine(every)[None],
        query=lambda inputs: network.engine(inputs)[None],
        query_each=lambda models, points, inputs: network.engine(
            inputs.reshape(-1, every.shape[1])
        ).reshape(*inputs.shape[:2], -1),
    )
    before, start = network.asked, time.process_time()
    distances = boundary_distances(
        oracle,
        every,
        labels=labels,
        predicted=oracle.predictions(),
        queries=budget - 1,
        box=Box(population.low.ravel(), population.high.ravel(), population.unit.ravel()),
        seed=0,
    )
    seconds = time.process_time() - start
    return Measured(distances[0, points], network.asked - before, seconds)


def trained(population: Population) -> Weights:
    """Returns the weights of a 196-128-10 network, trained on half of the pool."""
    recipe = Recipe(epochs=40, batch_size=64, lr=0.05, momentum=0.9)
    inputs = torch.from_numpy(population.pool_x)
    targets = torch.from_numpy(population.pool_y)
    reference = torch.from_numpy(population.reference_x), torch.from_numpy(population.reference_y)
    sampling = recipe.sampling(POOL / 2)
    task = Task(
        architecture=NET,
        shape=population.shape,
        n_classes=population.n_classes,
        recipe=recipe,
        sampling=sampling,
        mechanism=None,
        loss=None,
        regularise=None,
        data=TrainingData(inputs, targets, *reference),
        members=torch.arange(POOL)[None] % 2 == 0,
        seed=0,
        models=(0,),
        checkpoints=(sampling.steps,),
    )
    return fit(task)[sampling.steps]


if __name__ == "__main__":
    main()
