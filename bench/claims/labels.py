"""Claims 15 and 16: what labels alone give away, and for how many queries."""

import json
from collections.abc import Iterator
from itertools import pairwise

from bench.claims.evidence import (
    ACCURACY,
    AUC,
    Line,
    Table,
    all_of,
    at_least,
    difference,
    table,
    within,
)
from bench.claims.runs import Study
from dpbench.study.run import Run

CLOSE = 0.02
"""AUCs of boundary distance and confidence that differ by less are taken to be equal."""
NO_FALL = 0.002
FEW_QUERIES = 300


def lines(study: Study, data: str) -> Iterator[Line]:
    """Yields these claims on one data set."""
    run = study.variant("labels", data)
    yield distance_and_confidence(run, data)
    yield more_copies(run, data)
    yield few_queries(run, data)


def distance_and_confidence(run: Run, data: str) -> Line:
    """Claim 15, on the models and points that the search was afforded for."""
    queries = max(budgets(run, "boundary_distance"))
    distance = table(run, "none", "boundary_distance", queries=queries)
    malt = like(table(run, "none", "malt"), distance)
    gap = like(table(run, "none", "gap"), distance)
    behind = difference(distance[AUC], malt[AUC])
    return Line(
        15,
        f"boundary distance ({queries} queries) is worth the confidence",
        data,
        f"AUC {distance[AUC].value:.3f}, MALT {malt[AUC].value:.3f}, difference {behind}; accuracy "
        f"{distance[ACCURACY].value:.3f}, {malt[ACCURACY].value:.3f}, gap "
        f"{gap[ACCURACY].value:.3f}",
        within(behind.interval, CLOSE),
    )


def more_copies(run: Run, data: str) -> Line:
    """Claim 16, first half."""
    copies = [count - 1 for count in budgets(run, "noise_robustness")]
    found = {count: table(run, "none", "noise_robustness", copies=count) for count in copies}
    rises = [
        difference(found[more][ACCURACY], found[fewer][ACCURACY])
        for fewer, more in pairwise(copies)
    ]
    whole = difference(found[copies[-1]][ACCURACY], found[copies[0]][ACCURACY])
    return Line(
        16.1,
        "noise robustness gains accuracy with the number of queries",
        data,
        ", ".join(f"{count}: {found[count][ACCURACY].value:.3f}" for count in copies)
        + f"; from {copies[0]} to {copies[-1]} {whole}",
        all_of(at_least(whole.interval), *(at_least(rise.interval, -NO_FALL) for rise in rises)),
    )


def few_queries(run: Run, data: str) -> Line:
    """Claim 16, second half: each search with few queries against the noise that costs no more."""
    noises, searches = (budgets(run, name) for name in ("noise_robustness", "boundary_distance"))
    shown, verdicts = [], []
    for search in (budget for budget in searches if budget < FEW_QUERIES):
        # Budgets of both differ a little: 257 and 250.
        noise = max(budget for budget in noises if budget < 1.05 * search)
        distance = table(run, "none", "boundary_distance", queries=search)
        robust = like(table(run, "none", "noise_robustness", copies=noise - 1), distance)
        lead = difference(robust[ACCURACY], distance[ACCURACY])
        verdicts.append(at_least(lead.interval))
        shown.append(
            f"{noise} queries {robust[ACCURACY].value:.3f}, {search} queries "
            f"{distance[ACCURACY].value:.3f}, lead {lead}"
        )
    return Line(
        16.2,
        f"below {FEW_QUERIES} queries noise robustness is at least as accurate as the distance",
        data,
        "; ".join(shown),
        all_of(*verdicts),
    )


def budgets(run: Run, attack: str) -> list[int]:
    """Returns the query budgets of an attack's rows, ascending."""
    rows = run.attacks[(run.attacks["attack"] == attack) & (run.attacks["cell"] == "none")]
    fields = [json.loads(params) for params in rows["attack_params"]]
    return sorted({one.get("queries", one.get("copies", 0) + 1) for one in fields})


def like(scored: Table, part: Table) -> Table:
    """Returns a table cut to the models and points of another."""
    models, points = part.scores.shape
    return Table(scored.scores[:models, :points], scored.members[:models, :points])
