"""Claims 11 and 17: what training on shifted and mirrored copies hides, and from which queries.

Every step of the augmented models sees each image moved by up to one pixel, or two, and mirrored at
random: 18 views, or 50. The plain models see the image itself, with the same bits and recipe.
"""

from collections.abc import Iterator

from bench.claims.evidence import (
    ACCURACY,
    AUC,
    TPR01,
    Line,
    Table,
    at_least,
    difference,
    table,
    total,
    within,
)
from bench.claims.runs import Study
from dpbench.study.run import Run

IMAGES = ("fashion_mnist", "cifar10")
EPOCHS = 200
"""A view of 18 comes back every 18 epochs: the networks need as many to fit them."""
PLAIN, COPIES, WIDER = "none", "augmentation(flip=True)", "augmentation(pixels=2, flip=True)"
QUERIES = (1, 2, 18, 50, 162)
SHOWN = {COPIES: 18, WIDER: 50}
"""How many views the training shows."""
SAME = 0.02
"""AUCs that differ by less are taken to be equal."""


def lines(study: Study, data: str) -> Iterator[Line]:
    """Yields these claims on an image set; nothing on others."""
    if data in IMAGES:
        run = study.variant("augmentation", data, epochs=EPOCHS)
        yield from queries_help(run, data)
        yield from few_queries(run, data)
        yield from translations(run, data)


def queries_help(run: Run, data: str) -> Iterator[Line]:
    """Claim 11, first half: the queries must be the views that the training shows."""
    for cell, what in ((COPIES, "one pixel"), (WIDER, "two pixels"), (PLAIN, "no shifts")):
        found, most = by_queries(run, cell), SHOWN.get(cell, SHOWN[COPIES])
        gain = difference(found[most][AUC], found[1][AUC])
        beyond = difference(found[QUERIES[-1]][AUC], found[most][AUC])
        numbers = ", ".join(
            f"{queries}: {scored[AUC].value:.3f} / {scored[TPR01].value:.3f}"
            for queries, scored in found.items()
        )
        helps = gain if cell in SHOWN else total((-1, gain))
        yield Line(
            11.1,
            f"trained on {what}, more augmented queries {'' if cell in SHOWN else 'do not '}"
            "help LiRA",
            data,
            f"AUC / TPR at FPR 0.1% by queries: {numbers}; gain in AUC from 1 to {most} {gain}, "
            f"from {most} to {QUERIES[-1]} {beyond}",
            at_least(helps.interval),
        )


def few_queries(run: Run, data: str) -> Iterator[Line]:
    """Claim 11, second half: the gain saturates early."""
    found = by_queries(run, COPIES)
    early = total((2, found[2][AUC]), (-1, found[1][AUC]), (-1, found[18][AUC]))
    yield Line(
        11.2,
        "the second query brings more than all others up to 18",
        data,
        f"gain of the second minus gain of the rest {early}",
        at_least(early.interval),
    )
    found = by_queries(run, WIDER)
    left = difference(found[50][AUC], found[18][AUC])
    yield Line(
        11.3,
        f"18 of 50 trained views are as good as all, within {SAME} of AUC",
        data,
        f"{found[18][AUC].value:.3f} and {found[50][AUC].value:.3f}, difference {left}",
        within(left.interval, SAME),
    )


def translations(run: Run, data: str) -> Iterator[Line]:
    """Claim 17."""
    for name in ("malt", "boundary_distance"):
        before, after = (table(run, cell, name)[ACCURACY] for cell in (PLAIN, COPIES))
        fall = difference(before, after)
        yield Line(
            17.1,
            f"training on shifted copies lowers {name.replace('_', ' ')}",
            data,
            f"accuracy {before.value:.3f} plain, {after.value:.3f} with copies, fall {fall}",
            at_least(fall.interval),
        )
    before, after = (table(run, cell, "augmentation", magnitude=1) for cell in (PLAIN, COPIES))
    rise = difference(after[ACCURACY], before[ACCURACY])
    gap, lira = (
        [table(run, cell, name, **fields)[ACCURACY].value for cell in (PLAIN, COPIES)]
        for name, fields in (("gap", {}), ("lira", {"queries": SHOWN[COPIES], "mirrored": True}))
    )
    yield Line(
        17.2,
        "training on shifted copies raises the attack that queries these shifts",
        data,
        f"accuracy {before[ACCURACY].value:.3f} plain, {after[ACCURACY].value:.3f} with copies, "
        f"rise {rise}; gap attack {gap[0]:.3f} and {gap[1]:.3f}, LiRA with {SHOWN[COPIES]} queries "
        f"{lira[0]:.3f} and {lira[1]:.3f}",
        at_least(rise.interval),
    )
    malt = table(run, PLAIN, "malt")
    lead = difference(after[ACCURACY], malt[ACCURACY])
    yield Line(
        17.3,
        "with copies, that attack is above MALT without",
        data,
        f"accuracy {after[ACCURACY].value:.3f} and {malt[ACCURACY].value:.3f}, lead {lead}",
        at_least(lead.interval),
    )


def by_queries(run: Run, cell: str) -> dict[int, Table]:
    """Returns LiRA's tables by the number of views it asks about."""
    return {
        queries: table(run, cell, "lira", queries=queries, mirrored=True) for queries in QUERIES
    }
