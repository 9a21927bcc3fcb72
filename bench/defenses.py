"""What does each defense's training cost, beside the undefended one?

    python -m bench.defenses    # minutes of one core; prints the table of docs/speed.md

All registered defenses in one process and on one thread, 16 models of the population of
`grids/defenses.yaml`, processor seconds; the undefended training, before and after, is the unit.
A defense that only changes what is released trains nothing, and is listed as such.
"""

import dataclasses
import sys
import tempfile
import time
from pathlib import Path

import torch

import dpbench.attacks  # noqa: F401
from dpbench.component import REGISTRIES
from dpbench.defenses import Composition
from dpbench.defenses.base import TRAINING_STAGES, overrides
from dpbench.errors import UserError
from dpbench.jobs.store import Store
from dpbench.study.context import Context
from dpbench.study.plan import make_plan
from dpbench.study.shipped import find_grid
from dpbench.study.spec import read_grid

MODELS = 16
# Fields without a default, and strengths of early stopping.
EXAMPLES = {
    "dp_sgd": {"epsilon": 8.0},
    "early_stopping": {"patience": 3},
    "l1": {"weight": 1e-3},
    "l2": {"weight_decay": 1e-2},
    "objective_perturbation": {"epsilon": 8.0},
    "output_perturbation": {"epsilon": 8.0},
    "pate": {"epsilon": 8.0},
    "recipe": {"epochs": 12.0},
    "short_training": {"epochs": 12.0},
}


def seconds(context: Context, defense: Composition) -> float:
    """Processor seconds of all trainings of one cell."""
    one = dataclasses.replace(context, cache=context.cache)
    one.grid = dataclasses.replace(context.grid, cells=(defense,))
    jobs = [job for job in make_plan(one).jobs.values() if job.kind == "train"]
    start = time.process_time()
    for job in jobs:
        job.run(one)
    return time.process_time() - start


def main() -> None:
    """Prints a Markdown table, dearest first."""
    torch.set_num_threads(1)
    grid = dataclasses.replace(read_grid(find_grid("defenses")), models=MODELS)
    with tempfile.TemporaryDirectory() as folder:
        context = Context(grid=grid, store=Store(Path(folder)))
        none = Composition((REGISTRIES["defense"]["none"](),))
        seconds(context, none)  # imports and caches
        unit = [seconds(context, none)]
        rows = []
        for name, cls in sorted(REGISTRIES["defense"].items()):
            defense = Composition((cls.parse(EXAMPLES.get(name, {}), where=name),))
            if name == "none":
                continue
            if not any(
                overrides(part, stage) for part in defense.parts for stage in TRAINING_STAGES
            ):
                rows.append((0.0, name, "trains nothing", ""))
                continue
            try:
                took = seconds(context, defense)
            except UserError as error:
                rows.append((0.0, name, f"not on this population: {error}", ""))
                continue
            rows.append((took, defense.label, f"{took:.1f}", f"{defense.cost:g}"))
            print(f"{name}: {took:.1f} s", file=sys.stderr, flush=True)
        unit.append(seconds(context, none))
    mean = sum(unit) / len(unit)
    print(f"undefended: {unit[0]:.2f} s before, {unit[1]:.2f} s after\n")
    print("| defense | seconds | ratio | nominal |\n| --- | --- | --- | --- |")
    for took, label, shown, nominal in sorted(rows, reverse=True):
        ratio = f"{took / mean:.1f}" if took else ""
        print(f"| {label} | {shown} | {ratio} | {nominal} |")


if __name__ == "__main__":
    main()
