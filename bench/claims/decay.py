"""Claim 18: weak weight decay changes little; strong decay and DP hide, and cost accuracy."""

from collections.abc import Iterator

from bench.claims.evidence import (
    AUC,
    Estimate,
    Line,
    all_of,
    apart,
    at_least,
    difference,
    table,
)
from bench.claims.runs import Study
from dpbench.metrics import Interval
from dpbench.study.run import Run

ATTACKS = ("gap", "malt", "mast", "lira", "label_lira", "noise_robustness")
PLAIN, WEAK = "none", (1e-4, 1e-3)
STRONG = {"L2 of 0.1": "l2(weight_decay=0.1, convention=keras)", "DP-SGD": "dp_sgd(epsilon=8)"}
SAME = 0.02
"""AUCs that differ by less are taken to be equal."""


def lines(study: Study, data: str) -> Iterator[Line]:
    """Yields this claim on one data set."""
    run = study.variant("l2", data)
    for weight in WEAK:
        yield weak(run, data, weight)
    for name, cell in STRONG.items():
        yield strong(run, data, name, cell)


def weak(run: Run, data: str, weight: float) -> Line:
    """Claim 18, first half: no attack's AUC falls; those that are calibrated may even rise."""
    cell = f"l2(weight_decay={weight:g}, convention=keras)"
    rises = {name: difference(table(run, cell, name)[AUC], before(run, name)) for name in ATTACKS}
    least, most = (choose(rises, key=lambda name: rises[name].value) for choose in (min, max))
    return Line(
        18.1,
        f"weak L2 ({weight:g}) lowers no attack by over {SAME} of AUC",
        data,
        f"changes from {least} {rises[least]} to {most} {rises[most]}; test accuracy "
        f"{shown(run, PLAIN)}, then {shown(run, cell)}",
        all_of(*(at_least(rise.interval, -SAME) for rise in rises.values())),
    )


def strong(run: Run, data: str, name: str, cell: str) -> Line:
    """Claim 18, second half: every attack's AUC falls, and so does the accuracy."""
    falls = {one: difference(before(run, one), table(run, cell, one)[AUC]) for one in ATTACKS}
    smallest = min(falls, key=lambda one: falls[one].value)
    cost = apart(accuracy(run, PLAIN), accuracy(run, cell))
    numbers = ", ".join(
        f"{one} {before(run, one).value:.3f} to {table(run, cell, one)[AUC].value:.3f}"
        for one in ATTACKS
    )
    return Line(
        18.2,
        f"{name} lowers every attack, and costs accuracy",
        data,
        f"AUC: {numbers}; smallest fall {smallest} {falls[smallest]}; test accuracy "
        f"{shown(run, PLAIN)}, then {shown(run, cell)}",
        all_of(*(at_least(fall.interval) for fall in falls.values()), at_least(cost)),
    )


def before(run: Run, attack: str) -> Estimate:
    """Returns an attack's AUC on undefended models."""
    return table(run, PLAIN, attack)[AUC]


def accuracy(run: Run, cell: str) -> Interval:
    """Returns a cell's accuracy on the test set, which is the same for all cells."""
    row = run.cells.set_index("cell").loc[cell]
    return Interval(*(float(row[f"test_accuracy{end}"]) for end in ("", "_low", "_high")))


def shown(run: Run, cell: str) -> str:
    """Returns a cell's accuracy on the test set as text."""
    value, low, high = accuracy(run, cell)
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"
