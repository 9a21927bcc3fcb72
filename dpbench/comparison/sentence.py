"""Verdicts in words: every number with its interval, and no more than the data carry."""

import math
from collections.abc import Sequence

from dpbench.comparison.compare import (
    BETTER,
    BEYOND,
    COARSE,
    SHORT,
    UNRESOLVED,
    WORSE,
    Compared,
)
from dpbench.comparison.measure import METRICS
from dpbench.metrics import Interval
from dpbench.study.spec import AVERAGE, CANARY

NAMES = {
    "tpr_at_fpr_0.001": "TPR at 0.1 % FPR",
    "tpr_at_fpr_0.01": "TPR at 1 % FPR",
    "advantage": "advantage",
}
_RIVALS = {"dp_sgd": "DP-SGD", "best other": "the best other defense", "none": "no defense"}

_READ = 1e-9
"""Readings that differ by less lie where they were asked for: only rounding keeps them apart."""


def sentence(one: Compared, *, models: int) -> str:
    """Returns one comparison with its verdict, e.g. for a paper's text."""
    rival, points = _RIVALS[one.rival], "canaries" if one.track == CANARY else "ordinary examples"
    where = "" if one.rival == "none" else f" ({one.where})"
    text = (
        f"{one.cell} at {100 * one.accuracy.value:.1f} % accuracy leaks {_percent(one.leak)} "
        f"{NAMES[one.metric]} of {points} ({one.attack}); {rival} at "
        f"{100 * one.rival_accuracy.value:.1f} % accuracy leaks {_percent(one.rival_leak)}{where}; "
        f"paired difference {_points(one.difference)}"
    )
    return f"{text}: {_ending(one, models)}{_unequal(one)}"


def _ending(one: Compared, models: int) -> str:
    rival = _RIVALS[one.rival]
    equal = " at equal accuracy" if one.equally_accurate else ""
    match one.verdict:
        case _ if one.rival == "none" and one.verdict not in (UNRESOLVED, COARSE):
            return f"{'more' if one.difference.value > 0 else 'less'} than {rival}{equal}"
        case verdict if verdict == WORSE:
            return f"worse than {rival}{equal}"
        case verdict if verdict == BETTER:
            return f"better than {rival}{equal}"
        case verdict if verdict == BEYOND:
            return f"more than {rival}, which may be less accurate"
        case verdict if verdict == SHORT:
            return f"less than {rival}, which may be more accurate"
        case verdict if verdict == COARSE:
            return (
                f"not decided, since {rival} may bend between these strengths: "
                f"the difference to the stricter is {_points(one.stricter)}, to the looser "
                f"{_points(one.looser)}; run strengths between them"
            )
    return f"not resolvable with {models} models{_needed(one.models_needed)}"


def _unequal(one: Compared) -> str:
    """Says by how much accuracies differ, and what the difference is at equal leak instead."""
    if one.equally_accurate:
        return ""
    said = f"; accuracies differ by {_points(one.accuracy_difference)} points"
    if one.rival != "dp_sgd":
        return said
    if one.equal_leak_difference is None or one.equal_leak_gap is None:
        return f"{said}, and at equal leak nothing can be read off a single strength"
    if abs(one.equal_leak_gap.value) > _READ:
        return (
            f"{said}, and no strength leaks as much: the nearest is {_points(one.equal_leak_gap)} "
            "points of leak away"
        )
    return f"{said}; at equal leak by {_points(one.equal_leak_difference)}"


def _needed(models: float) -> str:
    if math.isinf(models) or models > 100_000:
        return "; a difference this small would take another pool, not more models"
    rounded = math.ceil(models / 10) * 10
    return f"; about {rounded:,} would tell such a difference from none"


def shown(found: Sequence[Compared]) -> list[Compared]:
    """Returns the comparisons for the terminal, by cell: on each track the lowest FPR."""
    tracks = dict.fromkeys(one.track for one in found)
    lines = [one for track in tracks for one in headline(_on(found, track))]
    order = list(dict.fromkeys(one.cell for one in lines))
    return sorted(lines, key=lambda one: order.index(one.cell))


def _on(found: Sequence[Compared], track: str) -> list[Compared]:
    return [one for one in found if one.track == track]


def headline(found: Sequence[Compared]) -> list[Compared]:
    """Returns the comparisons that the verdict is about: the worst case where it was measured.

    That is the canary track if there is one, by the TPR at the lowest FPR that can be resolved.
    """
    tracks = {one.track for one in found}
    track = CANARY if CANARY in tracks else AVERAGE
    own = _on(found, track)
    metric = next(name for name in METRICS if any(one.metric == name for one in own))
    return [one for one in own if one.metric == metric]


def verdict(found: Sequence[Compared], *, models: int) -> str:
    """Returns the verdict on the whole defense in one or two sentences."""
    own = headline(found)
    private = [one for one in own if one.rival == "dp_sgd"]
    against = private or [one for one in own if one.rival != "none"] or own
    worse = [one for one in against if one.verdict in (WORSE, BEYOND)]
    better = [one for one in against if one.verdict in (BETTER, SHORT)]
    largest = max(worse or better or against, key=lambda one: abs(one.difference.value))
    said = [_overall(worse, better, against), sentence(largest, models=models)]
    undefended = [one for one in own if one.rival == "none"]
    if undefended and not any(one.simultaneous.high < 0 for one in undefended):
        said.append("no cell is shown to leak less than no defense")
    return ". ".join(text[0].upper() + text[1:] for text in said) + "."


def _overall(
    worse: Sequence[Compared], better: Sequence[Compared], against: Sequence[Compared]
) -> str:
    rival, total = _RIVALS[against[0].rival], len(against)
    counts = []
    for ones, word in ((worse, "more"), (better, "less")):
        places = [_place(one) for one in ones]
        counts += [
            f"{_some(places.count(place), total)} {word} than {rival} {place}"
            for place in dict.fromkeys(places)
        ]
    if counts:
        return " and ".join(counts)
    place = "at equal accuracy " if all(one.equally_accurate for one in against) else ""
    return f"no difference in leak from {rival} {place}can be told"


def _place(one: Compared) -> str:
    """Returns at which accuracy the cell was compared with its baseline."""
    if one.equally_accurate:
        return "at equal accuracy"
    if one.accuracy_difference.low > 0:
        return "at higher accuracy"
    if one.accuracy_difference.high < 0:
        return "at lower accuracy"
    return "at an accuracy that may differ"


def _some(count: int, total: int) -> str:
    if total == 1:
        return "it leaks"
    return f"{count} of {total} cells {'leaks' if count == 1 else 'leak'}"


def _percent(value: Interval) -> str:
    return f"{100 * value.value:.1f} % [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _points(value: Interval) -> str:
    return f"{100 * value.value:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"
