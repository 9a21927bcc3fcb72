"""Claims 12-14: what masks that keep the predicted label hide, and from whom."""

from collections.abc import Iterator

import numpy as np

from bench.claims.evidence import (
    ACCURACY,
    AUC,
    FAILS,
    HOLDS,
    Line,
    all_of,
    at_least,
    difference,
    table,
    within,
)
from bench.claims.labels import like
from bench.claims.runs import Study
from dpbench.study.run import Run

FLAT, TEMPERATURE = "label_only(form=flat)", "temperature"
LABEL_ATTACKS = ("gap", "label_lira", "noise_robustness")
SCORE_ATTACKS = ("malt", "lira")
CALIBRATED = ("noise_lira", "boundary_lira")
NEAR_A_GUESS, NEVER_BELOW, RECOVERED = 0.55, 0.01, 0.002


def lines(study: Study, data: str) -> Iterator[Line]:
    """Yields these claims on one data set."""
    run = study.variant("masks", data)
    yield labels_are_untouched(run, data)
    yield from static_and_adaptive(run, data)
    yield calibrated_labels(run, data)
    yield monotone_masks(run, data)


def labels_are_untouched(run: Run, data: str) -> Line:
    """Claim 12."""
    changed = [
        f"{attack} under {cell}"
        for cell in run.cells["cell"]
        for attack in LABEL_ATTACKS
        if not np.array_equal(table(run, cell, attack).scores, table(run, "none", attack).scores)
    ]
    return Line(
        12,
        "label-preserving masks leave label-only attacks bit-identical",
        data,
        f"{len(LABEL_ATTACKS)} attacks, {len(run.cells) - 1} masks: "
        + (", ".join(changed) + " differ" if changed else "no score differs"),
        FAILS if changed else HOLDS,
    )


def static_and_adaptive(run: Run, data: str) -> Iterator[Line]:
    """Claim 13. The static adversary's thresholds come from the unmasked models."""
    rows = run.attacks[run.attacks["cell"] == FLAT].set_index(["attack", "knowledge"])
    static = {name: rows.loc[(name, "static")] for name in SCORE_ATTACKS}
    worst = max(row["balanced_accuracy_high"] for row in static.values())
    yield Line(
        13.1,
        "under a flat label-only mask, static score attacks fall to a guess",
        data,
        ", ".join(f"{name} {row['balanced_accuracy']:.3f}" for name, row in static.items())
        + f" (upper limit {worst:.3f})",
        HOLDS if worst <= NEAR_A_GUESS else FAILS,
    )
    gap = table(run, "none", "gap")[ACCURACY]
    leads = {
        f"{name} {cell}": difference(table(run, cell, name)[ACCURACY], gap)
        for cell in run.cells["cell"]
        for name in SCORE_ATTACKS
    }
    worst_name = min(leads, key=lambda name: leads[name].value)
    yield Line(
        13.2,
        f"adaptive score attacks are never below the gap attack (by over {NEVER_BELOW})",
        data,
        f"gap {gap.value:.3f}; closest: {worst_name}, lead {leads[worst_name]}",
        all_of(*(at_least(lead.interval, -NEVER_BELOW) for lead in leads.values())),
    )


def calibrated_labels(run: Run, data: str) -> Line:
    """Claim 13 for adversaries who calibrate how robust a point's label is by shadows."""
    shown, verdicts = [], []
    for name in CALIBRATED:
        scored = table(run, FLAT, name)
        gap = like(table(run, FLAT, "gap"), scored)
        lead = difference(scored[ACCURACY], gap[ACCURACY])
        shown.append(f"{name} {scored[ACCURACY].value:.3f}, lead {lead}")
        verdicts.append(at_least(lead.interval))
    return Line(
        13.3,
        "under a flat label-only mask, calibrated label attacks lead the gap attack",
        data,
        "; ".join(shown),
        all_of(*verdicts),
    )


def monotone_masks(run: Run, data: str) -> Line:
    """Claim 14."""
    pairs = {
        name: (table(run, TEMPERATURE, name)[AUC], table(run, "none", name)[AUC])
        for name in SCORE_ATTACKS
    }
    return Line(
        14,
        "an adversary who knows the temperature loses nothing",
        data,
        "; ".join(
            f"{name}: AUC {masked.value:.4f} masked, {plain.value:.4f} plain"
            for name, (masked, plain) in pairs.items()
        ),
        all_of(*(within(difference(*pair).interval, RECOVERED) for pair in pairs.values())),
    )
