"""What a new defense is compared with: the DP-SGD frontier, the best other defense, none."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dpbench.comparison.measure import Measured, Measurements, mean
from dpbench.defenses import Composition
from dpbench.metrics.frontier import Frontier, Reading
from dpbench.metrics.paired import Draws, combine

SLACK = 0.005
"""Accuracies that differ by less are taken to be equal when another defense is chosen."""

_STRENGTHS = ("epsilon", "noise_multiplier")
_SCHEDULE = ("schedule", "epochs", "lr", "batch_size", "momentum", "max_grad_norm")
"""How a strength is trained, which is tuned for each of them."""


class Rival(NamedTuple):
    """A baseline at the accuracy of the compared cell.

    Attributes:
        name: Which baseline.
        where: Which cell, or between which two.
        accuracy: Its accuracy there.
        leak: Its leak there.
        stricter: Its leak at the strength before; `leak` itself where it is one cell.
        looser: Its leak at the strength after. What it leaks there lies between the two, however
            the line bends.
        equal_leak_accuracy: Its accuracy where it leaks as much as the compared cell; None if it
            has a single strength.
        equal_leak: Its leak there: the compared cell's, but at the ends of the line.
    """

    name: str
    where: str
    accuracy: Draws
    leak: Draws
    stricter: Draws
    looser: Draws
    equal_leak_accuracy: Draws | None
    equal_leak: Draws | None


def private_family(cells: Sequence[Composition]) -> list[Composition]:
    """Returns the DP-SGD cells that differ in their strength alone, from the strictest on.

    Each strength may have a schedule of its own, as tuning gives it one. Where a run has several
    such series (another optimizer, say, or two schedules for one strength), the longest one.
    """
    private = [cell for cell in cells if cell.name == "dp_sgd"]
    series = _series(private, apart=_STRENGTHS + _SCHEDULE)
    # Two schedules for one strength are two series.
    series = [
        part
        for one in series
        for part in ([one] if _rises(one) else _series([c for _, c in one], apart=_STRENGTHS))
    ]
    if not series:
        return []
    return [cell for _, cell in max(series, key=len)]


def _series(
    cells: Sequence[Composition], *, apart: Sequence[str]
) -> list[list[tuple[float, Composition]]]:
    """Groups cells that are equal up to some fields; each group by growing epsilon."""
    series: dict[str, list[tuple[float, Composition]]] = {}
    for cell in cells:
        fields = cell.parts[0].to_json()
        # An epsilon grows as privacy is relaxed, a noise multiplier shrinks.
        strength = fields.get("epsilon")
        key = {name: value for name, value in fields.items() if name not in apart}
        by = "epsilon" if strength is not None else "noise_multiplier"
        order = float(strength if strength is not None else -fields["noise_multiplier"])
        group = json.dumps([by, key], sort_keys=True)
        series.setdefault(group, []).append((order, cell))
    return [sorted(group, key=lambda pair: pair[0]) for group in series.values()]


def _rises(series: Sequence[tuple[float, Composition]]) -> bool:
    strengths = [strength for strength, _ in series]
    return len(set(strengths)) == len(strengths)


def frontier_rival(cell: Measured, family: Sequence[Measured], metric: str) -> Rival:
    """Returns what DP-SGD leaks at a cell's accuracy, between its strengths.

    Args:
        cell: The compared cell.
        family: DP-SGD from the strictest strength to the loosest; at least one.
        metric: Of the leak.
    """
    accuracies = [member.accuracy for member in family]
    leaks = [member.leaks[metric].mean for member in family]

    def read(along: list[Draws], values: list[Draws], level: Draws, take: str) -> Draws:
        def one(target: float, *both: float) -> float:
            frontier = Frontier(np.array(both[: len(family)]), np.array(both[len(family) :]))
            return float(getattr(frontier.at(target), take))

        return combine(one, level, *along, *values)

    own, several = cell.leaks[metric].mean, len(family) > 1
    point = Frontier(
        np.array([draws.value for draws in accuracies]), np.array([draws.value for draws in leaks])
    ).at(cell.accuracy.value)
    return Rival(
        name="dp_sgd",
        where=_between([member.label for member in family], point),
        accuracy=read(accuracies, leaks, cell.accuracy, "along"),
        leak=read(accuracies, leaks, cell.accuracy, "value"),
        stricter=read(accuracies, leaks, cell.accuracy, "stricter"),
        looser=read(accuracies, leaks, cell.accuracy, "looser"),
        equal_leak_accuracy=read(leaks, accuracies, own, "value") if several else None,
        equal_leak=read(leaks, accuracies, own, "along") if several else None,
    )


def _between(labels: list[str], point: Reading) -> str:
    upper = int(np.ceil(point.position))
    if upper == point.position:
        return labels[upper]
    return f"{labels[upper - 1]} to {labels[upper]}"


def cell_rival(name: str, cell: Measured, metric: str) -> Rival:
    """Returns one cell as a baseline, whatever its accuracy."""
    leak = cell.leaks[metric].mean
    return Rival(name, cell.label, cell.accuracy, leak, leak, leak, None, None)


def best_rival(cell: Measured, others: Sequence[Measured], metric: str) -> Rival | None:
    """Returns the other defense that leaks least of those that are as accurate, or None.

    It is chosen on one fold of models and measured on the other, both ways; the least of many
    noisy leaks would be too low an estimate of its own.
    """
    chosen = []
    for fold in (0, 1):
        able = [
            other
            for other in others
            if metric in other.leaks
            and other.fold_accuracy[fold] >= cell.fold_accuracy[fold] - SLACK
        ]
        if not able:
            return None
        chosen.append(min(able, key=lambda other: other.leaks[metric].folds[fold].value))
    first, second = chosen
    leak = mean(first.leaks[metric].folds[1], second.leaks[metric].folds[0])
    return Rival(
        name="best other",
        where=" / ".join(dict.fromkeys(other.label for other in chosen)),
        accuracy=mean(first.accuracy, second.accuracy),
        leak=leak,
        stricter=leak,
        looser=leak,
        equal_leak_accuracy=None,
        equal_leak=None,
    )


def rivals(
    cell: Measured,
    measurements: Measurements,
    metric: str,
    *,
    family: Sequence[str],
    others: Sequence[str],
    undefended: str | None,
) -> list[Rival]:
    """Returns every baseline that a run has for a cell and a metric."""
    found = []
    strengths = [measurements.of(label) for label in family]
    strengths = [member for member in strengths if metric in member.leaks]
    if strengths:
        found.append(frontier_rival(cell, strengths, metric))
    best = best_rival(cell, [measurements.of(label) for label in others], metric)
    if best is not None:
        found.append(best)
    if undefended is not None and metric in measurements.of(undefended).leaks:
        found.append(cell_rival("none", measurements.of(undefended), metric))
    return found
