"""Verdicts on published numbers and statements, each from a run."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from dpbench.errors import UserError
from dpbench.metrics import Interval
from dpbench.reproduction.expectation import Measure, Ordering, Paper, Reported

MATCH, DIFFERS, SHOWN = "match", "differs", "miniature"
HOLDS, FAILS, OPEN = "ordering holds", "ordering fails", "not resolvable"
MISSING = "no result"


class Numbers(Protocol):
    """What a run, or a simulated game, tells: numbers, and differences on the same draws."""

    def of(self, measure: Measure) -> Interval:
        """Returns a number with its 95 % interval."""

    def difference(self, more: Measure, than: Measure, factor: float) -> Interval:
        """Returns `more - factor * than`."""


class Judged(NamedTuple):
    """One line of a paper's page.

    Attributes:
        what: The number or statement.
        source: Where the paper has it.
        reported: What it printed.
        ours: What we measured, with its interval; for a statement both sides and their difference.
        verdict: One of this module's words.
        note: Why, where a reader would ask.
    """

    what: str
    source: str
    reported: str
    ours: str
    verdict: str
    note: str = ""


def judge(paper: Paper, numbers: Callable[[str], Numbers]) -> list[Judged]:
    """Returns a line for every number and statement of a paper.

    Args:
        paper: What it reported.
        numbers: The numbers of a grid or of a simulation, by its name.
    """
    lines = []
    for one in paper.reported:
        try:
            lines.append(_reported(one, numbers(one.ours.grid)))
        except UserError as error:
            lines.append(Judged(one.what, one.source, f"{one.value:g}", "-", MISSING, str(error)))
    for statement in paper.orderings:
        try:
            lines.append(_ordering(statement, numbers))
        except UserError as error:
            lines.append(Judged(statement.claim, statement.source, "", "-", MISSING, str(error)))
    lines += [
        Judged(other.what, other.source, other.value, "-", "not attempted", other.why)
        for other in paper.not_attempted
    ]
    return lines


def _reported(one: Reported, numbers: Numbers) -> Judged:
    ours = numbers.of(one.ours)
    if one.within is None:
        verdict, note = SHOWN, "another scale: not judged by itself"
    else:
        verdict, note = equivalence(ours, one.value, one.within), f"tolerance {one.within:g}"
        if verdict == DIFFERS and one.because:
            note = f"{note}; {one.because}"
        if verdict == OPEN and ours.high - ours.low > 2 * one.within:
            note = f"{note}, less than the interval's half-width: no value could match"
    return Judged(one.what, one.source, f"{one.value:g}", _number(ours), verdict, note)


def equivalence(ours: Interval, value: float, within: float) -> str:
    """Returns whether a measured number equals a published one up to a tolerance.

    This is the equivalence test by its interval: the burden of proof is on the match, so that a
    wider interval never makes one. Two numbers that are exactly `within` apart match in at most
    2.5 % of studies, and so do any that lie farther apart.
    """
    if value - within <= ours.low and ours.high <= value + within:
        return MATCH
    apart = ours.high < value - within or value + within < ours.low
    return DIFFERS if apart else OPEN


def _ordering(statement: Ordering, numbers: Callable[[str], Numbers]) -> Judged:
    first, second = _side(statement.more, numbers), _side(statement.than, numbers)
    gap = _gap(statement, first, second, numbers)
    shown = [
        _number(value) if isinstance(one, Measure) else f"{value.value:g}"
        for one, value in ((statement.more, first), (statement.than, second))
    ]
    text = f"{shown[0]} against {shown[1]}; difference {_number(gap)}"
    if statement.factor != 1:
        text += f" with the second times {statement.factor:g}"
    if gap.low >= statement.margin:
        verdict = HOLDS
    else:
        verdict = FAILS if gap.high < statement.margin else OPEN
    note = statement.because if verdict == FAILS else ""
    return Judged(statement.claim, statement.source, "", text, verdict, note)


def _side(one: Measure | float, numbers: Callable[[str], Numbers]) -> Interval:
    return numbers(one.grid).of(one) if isinstance(one, Measure) else Interval(one, one, one)


def _gap(
    statement: Ordering, first: Interval, second: Interval, numbers: Callable[[str], Numbers]
) -> Interval:
    """Returns the difference: paired where both numbers are of one run and one track."""
    more, than = statement.more, statement.than
    if (
        isinstance(more, Measure)
        and isinstance(than, Measure)
        and (more.grid, more.track) == (than.grid, than.track)
    ):
        return numbers(more.grid).difference(more, than, statement.factor)
    return _apart(first, second, statement.factor)


def _apart(first: Interval, second: Interval, factor: float) -> Interval:
    """Returns the difference of independent numbers: half-widths add in squares."""
    value = first.value - factor * second.value
    down = ((first.value - first.low) ** 2 + (factor * (second.high - second.value)) ** 2) ** 0.5
    up = ((first.high - first.value) ** 2 + (factor * (second.value - second.low)) ** 2) ** 0.5
    return Interval(value, value - down, value + up)


def _number(value: Interval) -> str:
    digits = 4 if max(abs(value.low), abs(value.high)) < 0.1 else 3
    if value.low == value.high:  # a number without limits: nothing was resampled
        return f"{value.value:.{digits}f}"
    return f"{value.value:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"
