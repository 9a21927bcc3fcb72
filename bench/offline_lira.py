"""Why is offline LiRA behind online LiRA at low false-positive rates?

    python -m bench.offline_lira results/default

An example's separation is the gap between the means of its IN and OUT confidences in units of their
spread, over all models of the undefended cell: what an auditor knows, no adversary. Printed for
each mode with per-example variances, at an FPR of 0.1 %: the TPR, the share of the false positives
that falls on the least separable half of the examples, and the TPR when only examples with a
separation above 2 may be called members.
"""

import sys
from pathlib import Path

import numpy as np

from dpbench.attacks.base import Bools, Floats
from dpbench.attacks.toolbox.confidence import logit
from dpbench.attacks.toolbox.likelihood_ratio import likelihood_ratio, one_sided
from dpbench.metrics.roc import rank, roc_of_ranking, tpr_at
from dpbench.study.run import load

FPR, SEPARABLE = 0.001, 2.0


def main() -> None:
    run = load(Path(sys.argv[1] if len(sys.argv) > 1 else "results/default"))
    phi, members = logit(run.outputs("none"), run.labels), run.context.challenge_members
    apart = separation(phi, members)
    print(f"separation above {SEPARABLE:g}: {(apart > SEPARABLE).mean():.1%} of the examples")
    print("| mode | TPR | false positives on the least separable half | TPR, separable alone |")
    print("|---|---|---|---|")
    for mode, evidence in (("online", likelihood_ratio), ("offline", one_sided)):
        scores = evidence(phi, phi, members, variance="per_example")
        alarms = (scores > np.quantile(scores[~members], 1 - FPR)) & ~members
        share = alarms[:, apart < np.median(apart)].sum() / alarms.sum()
        chosen = np.where(apart > SEPARABLE, scores, scores.min())
        found = [tpr_at(roc_of_ranking(rank(s, members)), FPR) for s in (scores, chosen)]
        print(f"| {mode} | {found[0]:.3f} | {share:.2f} | {found[1]:.3f} |")


def separation(phi: Floats, members: Bools) -> Floats:
    """Returns `(n,)` the gap of the means over the root mean square of the two deviations."""
    sides = [np.ma.array(phi, mask=~bits) for bits in (members, ~members)]
    gap = sides[0].mean(0) - sides[1].mean(0)
    spread = np.sqrt(sum(side.var(0, ddof=1) for side in sides) / 2)
    return np.asarray(gap / spread)


if __name__ == "__main__":
    main()
