"""How much narrower do paired intervals get on the data of a finished run?

    python -m bench.pairing results/default

Each difference in leak is taken twice: with the replicates of both cells drawn on the same models,
pool examples and test examples (paired, as `dpbench compare` does it), and with every cell's
replicates put into an order of their own, as if each had been measured on models and examples of
its own (unpaired). Printed: how many times narrower pairing is, against DP-SGD at equal accuracy
(read off its frontier), against no defense, and between neighbouring strengths of DP-SGD.
Nothing is trained.
"""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dpbench.comparison.measure import METRICS, Leak, Measured, Measurements
from dpbench.comparison.rivals import frontier_rival, private_family
from dpbench.metrics.paired import Draws, combine, interval
from dpbench.study.run import Run, load


def shuffled(cell: Measured, rng: np.random.Generator) -> Measured:
    """Returns the cell with its replicates in another order, the same for all its statistics."""
    size = len(cell.accuracy.models)
    order = np.concatenate([[0], 1 + rng.permutation(size - 1)])

    def moved(draws: Draws) -> Draws:
        return Draws(draws.models[order], draws.examples[order])

    leaks = {
        metric: Leak((moved(leak.folds[0]), moved(leak.folds[1])), leak.attacks)
        for metric, leak in cell.leaks.items()
    }
    return cell._replace(accuracy=moved(cell.accuracy), leaks=leaks)


def difference(cell: Measured, rivals: list[Measured], metric: str, *, read: bool) -> Draws:
    """Returns leak minus that of the one rival, or of the frontier that the rivals are."""
    own = cell.leaks[metric].mean
    other = frontier_rival(cell, rivals, metric).leak if read else rivals[0].leaks[metric].mean
    return combine(lambda a, b: a - b, own, other)


def width(draws: Draws, size: dict[str, int]) -> float:
    limits = interval(draws, **size)
    return limits.high - limits.low


def gain(
    cell: Measured, rivals: list[Measured], metric: str, size: dict[str, int], *, read: bool
) -> float:
    """Returns the unpaired width over the paired one; infinite where the cells never differ."""
    rng = np.random.default_rng(0)
    apart = [shuffled(one, rng) for one in rivals]
    unpaired = width(difference(shuffled(cell, rng), apart, metric, read=read), size)
    paired = width(difference(cell, rivals, metric, read=read), size)
    return unpaired / paired if paired > 0 else float("inf")


def questions(run: Run, done: set[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yields a kind of difference, the cell, and its rivals."""
    cells = [cell for cell in run.context.grid.cells if cell.label in done]
    family = [cell.label for cell in private_family(cells)]
    undefended = [cell.label for cell in cells if cell.name == "none"]
    for cell in cells:
        if "dp_sgd" not in cell.name.split("+") and len(family) > 1:
            yield "to DP-SGD at equal accuracy", cell.label, family
        if undefended and cell.name != "none":
            yield "to no defense", cell.label, undefended
    for one, other in itertools.pairwise(family):
        yield "DP-SGD to its next strength", one, [other]


def main() -> None:
    run = load(Path(sys.argv[1] if len(sys.argv) > 1 else "results/default"))
    measurements = Measurements(run, "average")
    done = set(run.cells.loc[run.cells["status"] == "done", "cell"])
    size = {"models": measurements.models, "examples": measurements.examples}
    gains: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for kind, label, others in questions(run, done):
        cell, rivals = measurements.of(label), [measurements.of(other) for other in others]
        for metric in METRICS:
            if all(metric in one.leaks for one in (cell, *rivals)):
                found = gain(cell, rivals, metric, size, read="accuracy" in kind)
                gains.setdefault((kind, metric), []).append((found, label))
    print(f"{run.folder}: {len(done)} cells, {size['models']} models\n")
    print("| difference | metric | cells | median | quartiles | least | at least 2x |")
    print("|---|---|---|---|---|---|---|")
    for (kind, metric), found in gains.items():
        values = np.array([value for value, _ in found])
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75], method="nearest")
        least = min(found)
        print(
            f"| {kind} | {metric} | {len(found)} | {median:.2f} | {low:.2f} to {high:.2f} "
            f"| {least[0]:.2f} ({least[1]}) | {np.mean(values >= 2):.0%} |"
        )


if __name__ == "__main__":
    main()
