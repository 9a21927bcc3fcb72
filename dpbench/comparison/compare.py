"""Every difference between a new defense and its baselines, with intervals and verdicts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from dpbench.comparison.measure import ADVANTAGE, METRICS, Measured, Measurements
from dpbench.comparison.rivals import SLACK, Rival, private_family, rivals
from dpbench.defenses import Composition
from dpbench.errors import UserError
from dpbench.metrics import Interval
from dpbench.metrics.paired import Draws, combine, interval, models_needed, simultaneous
from dpbench.study.run import Run

WORSE, BETTER, UNRESOLVED = "worse", "better", "not resolvable"
BEYOND, SHORT = "more accurate", "less accurate"
COARSE = "strengths too far apart"
"""Verdicts: at the accuracy of the compared cell, it leaks more, less, or that cannot be told.
It must do so however the baseline bends between two strengths; else these are too far apart.
Where the accuracies are not shown to be equal, the cell may leak less because it learns less (`less
accurate`), or more because it learns more (`more accurate`)."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One cell beside one baseline, by one metric; differences are the cell's minus the baseline's.

    Attributes:
        cell: The compared cell.
        track: `average` or `canary`.
        metric: Of the leak.
        rival: `dp_sgd` (read off between its strengths at equal accuracy), `best other` (the least
            leaking other defense that is as accurate) or `none`.
        where: The baseline's cell, or the two between which it was read.
        attack: The attack that is strongest on the cell, on each fold of models.
        accuracy: The cell's test accuracy.
        leak: Its leak.
        rival_accuracy: The baseline's accuracy where it was read.
        rival_leak: Its leak there.
        difference: In leak, paired.
        simultaneous: The same, with an interval that holds for all strengths at once.
        stricter: The difference to the baseline's strength before, likewise.
        looser: The difference to its strength after. Between the two lies the difference at equal
            accuracy, whatever the baseline's course from one strength to the next.
        accuracy_difference: In accuracy where it was read; 0 but at the ends of the baseline.
        equal_leak_difference: In accuracy, where the baseline leaks as much; None for one cell.
        equal_leak_gap: In leak where that was read; 0 but at the ends of the baseline.
        models_needed: Models that would tell such a difference from 0, four times in five.
        verdict: One of this module's words.
    """

    cell: str
    track: str
    metric: str
    rival: str
    where: str
    attack: str
    accuracy: Interval
    leak: Interval
    rival_accuracy: Interval
    rival_leak: Interval
    difference: Interval
    simultaneous: Interval
    stricter: Interval
    looser: Interval
    accuracy_difference: Interval
    equal_leak_difference: Interval | None
    equal_leak_gap: Interval | None
    models_needed: float
    verdict: str

    @property
    def equally_accurate(self) -> bool:
        """Whether the accuracies differ by less than half a point, limits included."""
        apart = self.accuracy_difference
        return apart.low >= -SLACK and apart.high <= SLACK

    def row(self) -> dict[str, Any]:
        """Returns the row of `comparison.csv`: an interval is three columns."""
        row: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Interval):
                row |= columns(name, value)
            elif value is None:
                row |= columns(name, Interval(math.nan, math.nan, math.nan))
            else:
                row[name] = value
        return row


def columns(name: str, value: Interval) -> dict[str, float]:
    """Returns the three columns of a number with limits."""
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}


class _Pair(NamedTuple):
    cell: Measured
    rival: Rival
    metric: str

    def difference(self, course: str = "leak") -> Draws:
        """Returns the cell's leak minus the rival's: `leak`, `stricter` or `looser`."""
        return combine(_minus, self.cell.leaks[self.metric].mean, getattr(self.rival, course))


def _minus(first: float, second: float) -> float:
    return first - second


class Comparison(NamedTuple):
    """What a comparison found.

    Attributes:
        found: Every compared cell beside every baseline.
        points: Where all measured cells lie: `cell`, `role` (`compared`, `dp_sgd`, `none`,
            `other`), `track`, `metric`, `accuracy` and `leak`, each with limits.
    """

    found: list[Compared]
    points: pd.DataFrame


class _Field(NamedTuple):
    """Who takes part: the compared cells, and the baselines by their role, in order of strength."""

    compared: list[str]
    family: list[str]
    others: list[str]
    undefended: str | None


def compare(run: Run, compared: Sequence[Composition]) -> Comparison:
    """Compares cells of a run with all others: on every track, by every metric.

    Args:
        run: A finished run that holds the compared cells too.
        compared: The cells of the new defense.

    Raises:
        UserError: A cell has no result, or there is no baseline.
    """
    field = _field(run, compared)
    found: list[Compared] = []
    points: list[dict[str, Any]] = []
    for track in run.context.grid.tracks:
        measurements = Measurements(run, track)
        for metric in METRICS:
            pairs = list(_pairs(measurements, field, metric))
            for name in dict.fromkeys(pair.rival.name for pair in pairs):
                same = [pair for pair in pairs if pair.rival.name == name]
                found += _judged(same, measurements, track)
            points += _points(measurements, field, metric, track)
    if not found:
        raise UserError(
            f"{run.folder}: no baseline to compare with",
            next_step="run a grid that has none and dp_sgd",
        )
    return Comparison(found, pd.DataFrame(points))


def _field(run: Run, compared: Sequence[Composition]) -> _Field:
    labels = [cell.label for cell in compared]
    cells = [cell for cell in run.context.grid.cells if cell.label not in labels]
    done = [cell for cell in cells if _finished(run, cell)]
    family = [cell.label for cell in private_family(done)]
    private = {cell.label for cell in done if "dp_sgd" in cell.name.split("+")}
    undefended = next((cell.label for cell in done if cell.name == "none"), None)
    others = [cell.label for cell in done if cell.label not in private | {undefended}]
    return _Field(labels, family, others, undefended)


def _points(
    measurements: Measurements, field: _Field, metric: str, track: str
) -> Iterator[dict[str, Any]]:
    size = {"models": measurements.models, "examples": measurements.examples}
    roles = {
        "compared": field.compared,
        "dp_sgd": field.family,
        "none": [field.undefended] if field.undefended else [],
        "other": field.others,
    }
    for role, labels in roles.items():
        for cell in map(measurements.of, labels):
            if metric in cell.leaks:
                yield {
                    "cell": cell.label,
                    "role": role,
                    "track": track,
                    "metric": metric,
                    **columns("accuracy", interval(cell.accuracy, **size, lowest=0.0)),
                    **columns("leak", _leak(cell.leaks[metric].mean, metric, size)),
                }


def _pairs(measurements: Measurements, field: _Field, metric: str) -> Iterator[_Pair]:
    """Yields every compared cell with every baseline there is for it."""
    for label in field.compared:
        cell = measurements.of(label)
        if metric in cell.leaks:
            for rival in rivals(
                cell,
                measurements,
                metric,
                family=field.family,
                others=field.others,
                undefended=field.undefended,
            ):
                yield _Pair(cell, rival, metric)


def _finished(run: Run, cell: Composition) -> bool:
    rows = run.cells[run.cells["cell"] == cell.label]
    known = rows[["status", "canary_status"]].dropna(axis=1)
    return not rows.empty and bool((known == "done").all(axis=None))


def _judged(pairs: list[_Pair], measurements: Measurements, track: str) -> Iterator[Compared]:
    """Yields the results of all strengths against one baseline, which are one family of claims."""
    size = {"models": measurements.models, "examples": measurements.examples}
    together, stricter, looser = (
        simultaneous([pair.difference(course) for pair in pairs], **size)
        for course in ("leak", "stricter", "looser")
    )
    for number, pair in enumerate(pairs):
        difference = pair.difference()
        cell, rival = pair.cell, pair.rival
        leak = cell.leaks[pair.metric]
        apart = interval(combine(_minus, cell.accuracy, rival.accuracy), **size)
        equal, reached = rival.equal_leak_accuracy, rival.equal_leak
        yield Compared(
            cell=cell.label,
            track=track,
            metric=pair.metric,
            rival=rival.name,
            where=rival.where,
            attack=" / ".join(dict.fromkeys(leak.attacks)),
            accuracy=interval(cell.accuracy, **size, lowest=0.0),
            leak=_leak(leak.mean, pair.metric, size),
            rival_accuracy=interval(rival.accuracy, **size, lowest=0.0),
            rival_leak=_leak(rival.leak, pair.metric, size),
            difference=interval(difference, **size),
            simultaneous=together[number],
            stricter=stricter[number],
            looser=looser[number],
            accuracy_difference=apart,
            equal_leak_difference=equal and interval(combine(_minus, cell.accuracy, equal), **size),
            equal_leak_gap=reached and interval(combine(_minus, leak.mean, reached), **size),
            models_needed=models_needed(difference, **size),
            verdict=verdict(together[number], apart, stricter[number], looser[number]),
        )


def _leak(draws: Draws, metric: str, size: Mapping[str, int]) -> Interval:
    return interval(draws, **size, lowest=-1.0 if metric == ADVANTAGE else 0.0)


def verdict(difference: Interval, accuracy: Interval, stricter: Interval, looser: Interval) -> str:
    """Returns the word for a difference in leak at a difference in accuracy, both with limits.

    Args:
        difference: In leak, to the baseline at equal accuracy.
        accuracy: In accuracy to where the baseline was read. A cell is worse only if it is shown
            to be no more accurate, and better only if it is shown to be no less.
        stricter: In leak, to the baseline's strength before.
        looser: In leak, to its strength after.
    """
    if looser.low > 0:
        return WORSE if accuracy.high <= SLACK else BEYOND
    if stricter.high < 0:
        return BETTER if accuracy.low >= -SLACK else SHORT
    return COARSE if difference.low > 0 or difference.high < 0 else UNRESOLVED


def table(found: Sequence[Compared]) -> pd.DataFrame:
    """Returns one row for every cell, track, metric and baseline."""
    return pd.DataFrame([one.row() for one in found])
