"""Claims 31 and 33: precision at the top, and what gradients add."""

from collections.abc import Iterator

from bench.claims.evidence import (
    ACCURACY,
    AUC,
    FAILS,
    HOLDS,
    OPEN,
    TOP,
    TPR01,
    Line,
    all_of,
    at_least,
    difference,
    table,
    total,
)
from bench.claims.runs import Study
from dpbench.study.run import Run

FEWER = 3
"""How many times fewer errors at the top than over all make precision there "much higher"."""
NO_GAIN = 0.005
LITTLE = 0.1
"""An AUC that rises by less rises "slightly"."""


def lines(study: Study, data: str) -> Iterator[Line]:
    """Yields these claims on one data set."""
    run = study.main(data)
    yield from precision_at_the_top(run, data)
    yield from gradient_norms(run, data)


def precision_at_the_top(run: Run, data: str) -> Iterator[Line]:
    """Claim 31: LiRA's precision is far above its accuracy, that of the loss attack is not."""
    lira, malt = table(run, "none", "lira"), table(run, "none", "malt")
    # FEWER (1 - precision) <= 1 - accuracy
    high, low = (
        total((FEWER, scored[TOP]), (-1, scored[ACCURACY])).interval for scored in (lira, malt)
    )
    yield Line(
        31,
        f"{FEWER} times fewer errors among the top 1% than over all: LiRA, not the loss attack",
        data,
        f"precision and accuracy: LiRA {lira[TOP]}, {lira[ACCURACY].value:.3f}; MALT {malt[TOP]}, "
        f"{malt[ACCURACY].value:.3f}",
        all_of(
            at_least(high, FEWER - 1),
            {HOLDS: FAILS, FAILS: HOLDS, OPEN: OPEN}[at_least(low, FEWER - 1)],
        ),
    )


def gradient_norms(run: Run, data: str) -> Iterator[Line]:
    """Claim 33: as a global score, and calibrated with shadows."""
    pairs = {
        "global, over MALT": (
            table(run, "none", "gradient_norm", calibration="global"),
            table(run, "none", "malt"),
        ),
        "calibrated, over LiRA": (
            table(run, "none", "gradient_norm", calibration="per_example"),
            table(run, "none", "lira", variance="per_example"),
        ),
    }
    for what, (norm, plain) in pairs.items():
        area, found = (difference(norm[metric], plain[metric]) for metric in (AUC, TPR01))
        less = total((-1, found))
        yield Line(
            33,
            f"gradient norm ({what}): AUC up slightly, TPR at FPR 0.1% not",
            data,
            f"AUC {norm[AUC].value:.3f} and {plain[AUC].value:.3f}, gain {area}; TPR "
            f"{norm[TPR01].value:.3f} and {plain[TPR01].value:.3f}, gain {found}",
            all_of(
                at_least(area.interval),
                HOLDS if area.interval.high < LITTLE else OPEN,
                at_least(less.interval, -NO_GAIN),
            ),
        )
