"""How often intervals of TPRs hold where few examples are exposed.

    python -m bench.rare_examples     # prints a table; about two minutes on one core

A share of the examples scores N(6, 1) as members, all else N(0, 1). The exposed ones are drawn anew
in each experiment, as the interval is about new examples too. `quantiles` is the interval without
the limit on the scale of the log odds.
"""

import sys

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from dpbench.metrics.evaluate import FPRS
from dpbench.metrics.intervals import crossed_interval, deviations, resampling_weights
from dpbench.metrics.replicates import Bins, units
from dpbench.metrics.roc import Bools, Floats, rank, roc_of_ranking, tpr_at
from dpbench.seeds import rng_for

Spread = NDArray[np.float64]

EXPERIMENTS, REPLICATES, SIGNAL = 300, 100, 6.0
DESIGNS = ((64, 500, 0.01), (16, 500, 0.01), (64, 1000, 0.005), (64, 500, 0.05), (64, 500, 1.0))


def main() -> None:
    """Prints how often the truth lies above and below the limits, and mean widths."""
    experiments = int(sys.argv[1]) if len(sys.argv) > 1 else EXPERIMENTS
    print("Above and below: the truth is; quantiles, and as it is now\n")
    print("| models x examples | exposed | FPR | above | below | width | above | below | width |")
    print("|---|---|---|---|---|---|---|---|---|")
    for models, examples, share in DESIGNS:
        found = np.array(
            [
                measured(
                    models, examples, share, rng_for(seed, "rare", models, examples, str(share))
                )
                for seed in range(experiments)
            ]
        )
        for place, fpr in enumerate(FPRS):
            truth = share * norm.sf(norm.isf(fpr) - signal(share)) + (1 - share) * fpr
            cells = [f"{models} x {examples}", f"{share:g}", f"{fpr:g}"]
            for low, high in np.moveaxis(found[:, place], 0, -1):
                cells += [f"{np.mean(high < truth):.1%}", f"{np.mean(low > truth):.1%}"]
                cells.append(f"{np.mean(high - low):.4f}")
            print(f"| {' | '.join(cells)} |", flush=True)


def signal(share: float) -> float:
    """Returns the signal of the exposed examples; 1 where all are."""
    return SIGNAL if share < 1 else 1.0


def measured(models: int, examples: int, share: float, rng: np.random.Generator) -> Floats:
    """Returns limits `(FPRs, 2 intervals, 2 ends)`."""
    exposed = signal(share) * (rng.random(examples) < share)
    members = rng.random((models, examples)) < 0.5
    scores = rng.standard_normal(members.shape) + members * exposed
    ranking = rank(scores, members)
    curve, bins = roc_of_ranking(ranking), Bins(ranking)
    spreads = [axis_spread(bins, members, axis, rng) for axis in (0, 1)]
    rows = []
    for place, fpr in enumerate(FPRS):
        value, pair = tpr_at(curve, fpr), [spread[place] for spread in spreads]
        low, high = value + np.quantile(np.add.outer(*pair), (0.025, 0.975))
        rows.append([(max(0.0, low), high), crossed_interval(value, pair[0], pair[1])[1:]])
    return np.array(rows)


def axis_spread(bins: Bins, members: Bools, axis: int, rng: np.random.Generator) -> list[Spread]:
    """Returns the deviations of the TPRs over models or over examples."""
    count = members.shape[axis]
    weights = resampling_weights(count, REPLICATES, rng)
    found = bins.statistics(units(members.shape, axis), weights, FPRS)[1:]
    return [deviations(one, count) for one in found]


if __name__ == "__main__":
    main()
