"""Claims 1-3 and 5-8: how score attacks rank on one trained cell."""

from collections.abc import Iterator

from bench.claims.evidence import (
    ACCURACY,
    AUC,
    FAILS,
    HOLDS,
    OPEN,
    TPR01,
    Bools,
    Floats,
    Line,
    Table,
    all_of,
    at_least,
    difference,
    table,
    total,
    within,
)
from bench.claims.runs import Study
from dpbench.attacks.toolbox.confidence import cross_entropy, logit
from dpbench.attacks.toolbox.leave_one_out import leave_one_out, means
from dpbench.attacks.toolbox.likelihood_ratio import likelihood_ratio
from dpbench.study.run import Run

TINY_VIOLATION = 0.002
"""By how much the gap attack may beat a loss threshold: neither is nested in the other."""
SAME = 0.02
"""AUCs that differ by less are taken to be equal."""


def lines(study: Study, data: str) -> Iterator[Line]:
    """Yields these claims on one data set."""
    run = study.main(data)
    for claim in (
        gap_is_half_the_gap,
        threshold_beats_gap,
        sample_beats_global,
        loss_attack_at_low_fpr,
        calibrated_at_low_fpr,
        online_offline_global,
        mild_overfit,
        logit_scaling,
    ):
        yield from claim(run, data)


def stopped(run: Run) -> str:
    """Returns the cell that was stopped early."""
    return str(run.cells["cell"].iloc[1])


def gap_is_half_the_gap(run: Run, data: str) -> Iterator[Line]:
    """Claim 1."""
    right = run.outputs("none").argmax(-1) == run.labels
    scored = table(run, "none", "gap")
    gap = float(right[scored.members].mean() - right[~scored.members].mean())
    rows = run.attacks[(run.attacks["attack"] == "gap") & (run.attacks["cell"] == "none")]
    accuracy = float(rows["balanced_accuracy"].iloc[0])
    error = abs(accuracy - 0.5 - gap / 2)
    yield Line(
        1,
        "gap attack's accuracy is 1/2 + gap/2",
        data,
        f"{accuracy:.4f}, off by {error:.0e}",
        HOLDS if error < 1e-9 else FAILS,
    )


def threshold_beats_gap(run: Run, data: str) -> Iterator[Line]:
    """Claim 2."""
    malt, gap = table(run, "none", "malt")[ACCURACY], table(run, "none", "gap")[ACCURACY]
    lead = difference(malt, gap)
    yield Line(
        2,
        "a tuned loss threshold is at least as accurate as the gap attack",
        data,
        f"{malt.value:.3f} and {gap.value:.3f}, lead {lead}",
        at_least(lead.interval, -TINY_VIOLATION),
    )


def sample_beats_global(run: Run, data: str) -> Iterator[Line]:
    """Claim 3, on trained models."""
    for cell, what in (("none", "overfitted"), (stopped(run), "stopped early")):
        # The claim is about each point's best threshold; Carlini et al. estimate it by midpoints.
        tuned = table(run, cell, "mast", threshold="cut")
        midpoint, malt = table(run, cell, "mast"), table(run, cell, "malt")
        phi = logit(run.outputs(cell), run.labels)
        scaled = Table(_above_midpoint(phi, malt.members), malt.members)
        lead = difference(tuned[ACCURACY], malt[ACCURACY])
        yield Line(
            3,
            f"MAST with tuned thresholds is at least as accurate as MALT, {what}",
            data,
            f"{tuned[ACCURACY].value:.3f} and {malt[ACCURACY].value:.3f}, lead {lead}; "
            f"AUC {tuned[AUC].value:.3f} and {malt[AUC].value:.3f}; midpoints as τ: accuracy "
            f"{midpoint[ACCURACY].value:.3f}, AUC {midpoint[AUC].value:.3f}; midpoints of φ: "
            f"accuracy {scaled[ACCURACY].value:.3f}, AUC {scaled[AUC].value:.3f}",
            at_least(lead.interval),
        )


def loss_attack_at_low_fpr(run: Run, data: str) -> Iterator[Line]:
    """Claim 5."""
    malt = table(run, "none", "malt")
    found = malt[TPR01].interval
    verdict = FAILS if found.low > 0.005 else HOLDS if found.high < 0.005 else OPEN
    if malt[ACCURACY].interval.low < 0.55:
        verdict = OPEN
    yield Line(
        5,
        "loss attack: accurate, yet TPR at FPR 0.1% stays below 0.5%",
        data,
        f"accuracy {malt[ACCURACY]}, TPR {malt[TPR01]}",
        verdict,
    )


def calibrated_at_low_fpr(run: Run, data: str) -> Iterator[Line]:
    """Claim 6."""
    malt = table(run, "none", "malt")[TPR01]
    for name in ("watson", "mast"):
        found = table(run, "none", name)[TPR01]
        # No global attack is credited with less than the FPR itself.
        lead = total((1, found), (-10, malt)) if malt.value > 0.001 else found
        least = 0.0 if malt.value > 0.001 else 0.01
        yield Line(
            6,
            f"{name} finds ten times more than MALT at FPR 0.1%",
            data,
            f"{found} and {malt.value:.4f}",
            at_least(lead.interval, least),
        )


def online_offline_global(run: Run, data: str) -> Iterator[Line]:
    """Claim 7, where models overfit."""
    online, offline = (
        table(run, "none", "lira", mode=mode, variance="per_example")
        for mode in ("online", "offline")
    )
    malt = table(run, "none", "malt")
    first = difference(online[TPR01], offline[TPR01])
    second = difference(offline[TPR01], malt[TPR01])
    yield Line(
        7,
        "overfitted: TPR at FPR 0.1% of LiRA online ≥ offline ≥ global",
        data,
        f"{online[TPR01].value:.3f}, {offline[TPR01].value:.3f}, {malt[TPR01].value:.3f}; "
        f"leads {first}, {second}",
        all_of(at_least(first.interval), at_least(second.interval)),
    )


def mild_overfit(run: Run, data: str) -> Iterator[Line]:
    """Claim 7, where models overfit little."""
    cell = stopped(run)
    online, offline = (table(run, cell, "lira", mode=mode) for mode in ("online", "offline"))
    mast = table(run, cell, "mast")
    gaps = [difference(online[AUC], other[AUC]) for other in (offline, mast)]
    train, test = run.cells.set_index("cell").loc[cell, ["train_accuracy", "test_accuracy"]]
    yield Line(
        7,
        f"mild overfit: AUCs of LiRA online, offline and MAST within {SAME}",
        data,
        f"train {train:.2f}, test {test:.2f}; {online[AUC].value:.3f}, {offline[AUC].value:.3f}, "
        f"{mast[AUC].value:.3f}; differences {gaps[0]}, {gaps[1]}",
        all_of(*(within(gap.interval, SAME) for gap in gaps)),
    )


def logit_scaling(run: Run, data: str) -> Iterator[Line]:
    """Claim 8: from the saved outputs, the same two attacks on the loss and on phi."""
    members = table(run, "none", "gap").members
    outputs = run.outputs("none")
    loss, phi = -cross_entropy(outputs, run.labels), logit(outputs, run.labels)
    midpoint = [Table(_above_midpoint(s, members), members)[TPR01] for s in (loss, phi)]
    ratio = [
        Table(likelihood_ratio(s, s, members, variance="per_example"), members)[TPR01]
        for s in (loss, phi)
    ]
    hurt, helped = difference(*midpoint), difference(ratio[1], midpoint[0])
    yield Line(
        8.1,
        "logit scaling alone hurts MAST at FPR 0.1%",
        data,
        f"loss {midpoint[0].value:.3f}, φ {midpoint[1].value:.3f}, loss ahead by {hurt}",
        at_least(hurt.interval),
    )
    yield Line(
        8.2,
        "logit scaling with a Gaussian ratio beats MAST on the loss at FPR 0.1%",
        data,
        f"{ratio[1].value:.3f} (ratio on the loss {ratio[0].value:.3f}), lead {helped}",
        at_least(helped.interval),
    )


def _above_midpoint(values: Floats, members: Bools) -> Floats:
    sides = means(leave_one_out(values, members), leave_one_out(values, ~members))
    above: Floats = values - (sides[0] + sides[1]) / 2
    return above
