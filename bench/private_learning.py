"""What a private training gains from optimizers, copies, frozen features and public data.

    python -m bench.private_learning    # some ten minutes of one core; writes the page of dp_sgd

Mean test accuracy of eight models of the default grid's population, each on a random half of its
pool, at epsilon 3, where Tramer & Boneh 2021 compare networks with linear models on scattering
coefficients. Nothing is tuned here: fields left out take the shipped schedule.
"""

import copy
import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.generated import replace_section
from dpbench.defenses import Composition
from dpbench.game.network import network_of
from dpbench.jobs.store import Store
from dpbench.study.context import Context
from dpbench.study.document import read_document, write_document
from dpbench.study.plan import make_plan
from dpbench.study.shipped import find_grid
from dpbench.study.spec import read_grid
from dpbench.training.ensemble import Ensemble
from dpbench.training.fit import logits

MODELS, EPSILON = 8, 3.0
PAGE = Path("docs/defenses/dp_sgd.md")


def private(**fields: Any) -> dict[str, Any]:
    """Returns DP-SGD at the epsilon that is compared, as a grid writes it."""
    return {"dp_sgd": {"epsilon": EPSILON, **fields}}


CELLS: Mapping[str, Any] = {
    "network, no defense": "none",
    "network": private(),
    "network, Adam": private(optimizer="adam"),
    "network, clipping to the median": private(quantile=0.5),
    "network, shifted copies, 1 of each example": [{"augmentation": {"pixels": 1}}, private()],
    "network, shifted copies, 4 of each example": [
        {"augmentation": {"pixels": 1}},
        private(augmentations=4),
    ],
    "scattering, no defense": "scattering",
    "scattering": ["scattering", private()],
    "public network, last layer": ["transfer", private()],
    "public network, all layers": [{"transfer": {"layers": "all"}}, private()],
}


def accuracies(context: Context, defense: Composition) -> list[float]:
    """Returns the test accuracy of every model."""
    one = copy.copy(context)  # with the population that it has loaded
    one.grid = dataclasses.replace(context.grid, cells=(defense,))
    network, found = network_of(one.grid.model, one.population, defense), []
    inputs = defense.represent(torch.from_numpy(one.population.test_x))
    for job in make_plan(one).jobs.values():
        if job.kind != "train":
            continue
        arrays = job.run(one.results(job)).arrays
        assert arrays is not None
        weights = {name.split("/", 1)[1]: torch.from_numpy(row) for name, row in arrays.items()}
        outputs = logits(Ensemble(network, weights), inputs)
        right = outputs.argmax(-1).numpy() == one.population.test_y
        found += np.asarray(right.mean(1)).tolist()
    return found


def main() -> None:
    """Prints the table and writes it into the page."""
    torch.set_num_threads(1)
    lines = ["| what is trained | cell | test accuracy | models' deviation |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "private.yaml"
        document = read_document(find_grid("default"))
        cells = list(CELLS.values())
        write_document({**document, "models": MODELS, "defenses": cells}, path)
        context = Context(grid=read_grid(path), store=Store(Path(folder)))
        for what, defense in zip(CELLS, context.grid.cells, strict=True):
            found = accuracies(context, defense)
            mean, spread = statistics.mean(found), statistics.stdev(found)
            lines.append(f"| {what} | `{defense.label}` | {mean:.3f} | {spread:.3f} |")
            print(lines[-1], file=sys.stderr, flush=True)
    text = "\n".join(lines)
    print(text)
    replace_section(PAGE, text)


if __name__ == "__main__":
    main()
