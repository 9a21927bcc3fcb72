"""Claim 19: MemGuard stops its own attack, not those that know the label or are taught by it."""

from collections.abc import Iterator
from functools import cache

import numpy as np

from bench.claims.evidence import (
    ACCURACY,
    FAILS,
    HOLDS,
    Estimate,
    Line,
    Table,
    all_of,
    at_least,
    difference,
    table,
    total,
)
from bench.claims.runs import Study
from dpbench.attacks.jia import Jia, Layers, forward
from dpbench.attacks.toolbox.cross_fitting import halves
from dpbench.seeds import rng_for
from dpbench.study.run import Run

GRID, MASKED = "location-memguard", "memguard"
PUBLISHED = Jia()
NEAR_A_GUESS, MOST = 0.55, 0.5


def lines(study: Study, data: str) -> Iterator[Line]:
    """Yields this claim on Location-30."""
    if data != "location":
        return
    run = study.grid(GRID)
    yield own_attack(run, data)
    yield class_thresholds(run, data)
    yield labels_alone(run, data)


def decided(run: Run, cell: str, attack: Jia = PUBLISHED) -> Estimate:
    """Returns the accuracy of the paper's adversary: undefended shadows, its own decision."""
    members = table(run, cell, "gap").members
    vectors = np.sort(run.outputs(cell), axis=-1).astype(np.float32)
    decisions = np.empty(members.shape)
    for fold, layers in enumerate(_networks(run, attack)):
        for model in range(fold, len(members), 2):
            decisions[model] = forward(layers, vectors[model])[-1][:, 0] >= 0
    return Table(decisions, members)[ACCURACY]


@cache
def _networks(run: Run, attack: Jia) -> list[Layers]:
    """Returns the network for the even models, and that for the odd ones."""
    members = table(run, "none", "gap").members
    vectors = np.sort(run.outputs("none"), axis=-1).astype(np.float32)
    return [
        attack.taught(vectors[by], members[by], rng_for(0, "memguard", number))
        for number, (_, by) in enumerate(halves(len(members)))
    ]


def own_attack(run: Run, data: str) -> Line:
    """MemGuard against the attack of its paper."""
    masked, plain = decided(run, MASKED), decided(run, "none")
    return Line(
        19.1,
        "MemGuard, budget 1: the attack of its paper is no better than a guess",
        data,
        f"accuracy {masked}, undefended {plain}",
        all_of(
            HOLDS if masked.interval.high <= NEAR_A_GUESS else FAILS,
            at_least(plain.interval, 0.5 + 2 * (NEAR_A_GUESS - 0.5)),
        ),
    )


def class_thresholds(run: Run, data: str) -> Line:
    """MemGuard against thresholds for each class that know the true label and the mask."""
    masked, plain, gap = (
        table(run, cell, attack)[ACCURACY]
        for cell, attack in ((MASKED, "modified_entropy"), ("none", "modified_entropy"),
                             ("none", "gap"))
    )  # fmt: skip
    half = Estimate(0.5, np.zeros_like(gap.models), np.zeros_like(gap.examples))
    left = total((1, masked), (-MOST, plain), (MOST - 1, half))
    return Line(
        19.2,
        "MemGuard, budget 1: adaptive modified entropy keeps over half of its advantage, and leads "
        "the gap attack",
        data,
        f"accuracy {masked}, undefended {plain}; lead over the gap attack "
        f"{difference(masked, gap)}",
        all_of(at_least(left.interval), at_least(difference(masked, gap).interval)),
    )


def labels_alone(run: Run, data: str) -> Line:
    """MemGuard against noise robustness."""
    masked, plain = (table(run, cell, "noise_robustness") for cell in (MASKED, "none"))
    labels = [run.outputs(cell).argmax(-1) for cell in (MASKED, "none")]
    same = np.array_equal(*labels) and np.array_equal(masked.scores, plain.scores)
    gap = table(run, "none", "gap")[ACCURACY]
    return Line(
        19.3,
        "MemGuard, budget 1: no label differs, and noise robustness leads the gap attack as before",
        data,
        f"{'no' if same else 'a'} score differs; accuracy {masked[ACCURACY]}, lead "
        f"{difference(masked[ACCURACY], gap)}",
        all_of(HOLDS if same else FAILS, at_least(difference(masked[ACCURACY], gap).interval)),
    )
