"""What it costs an attack that its thresholds know no bit of the target, on a finished run.

`python -m bench.threshold_cost results/default` prints the advantage of every attack with shadows,
averaged over cells, by where scores and thresholds come from: thresholds of the other half of the
models with all shadows (which know the target), with shadows of that half alone (as in the tables),
scores and thresholds of one half's shadows alone, and the best threshold for the reported scores
themselves, which no attacker has. Trains nothing.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

import dpbench
from dpbench.arrays import Bools, Floats
from dpbench.metrics.roc import rank, roc
from dpbench.metrics.thresholds import best_threshold, decide, fold_curves


def advantage(scores: Floats, source: Floats, members: Bools) -> float:
    """Returns TPR - FPR at thresholds of the other fold of the source."""
    curves = fold_curves(rank(source, members), source.shape[1])
    return _gap(decide(scores, np.arange(len(scores)), curves), members)


def _gap(decisions: Bools, members: Bools) -> float:
    return float(decisions[members].mean() - decisions[~members].mean())


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    run = dpbench.load(parser.parse_args().folder)
    found: dict[str, list[list[float]]] = defaultdict(list)
    for cell in run.plan.cells:
        for row in cell.rows:
            if row.attack is None or row.knowledge != "adaptive" or not row.attack.needs_shadows:
                continue
            one = run.attack_scores(cell.defense.label, row.label)
            members = run.context.bits_of(one.scores)
            found[row.label].append(
                [
                    advantage(one.scores, one.scores, members),
                    advantage(one.scores, one.source, members),
                    advantage(one.source, one.source, members),
                    _gap(one.scores >= best_threshold(roc(one.scores, members)), members),
                ]
            )
    heads = ("all shadows", "half's thresholds", "half alone", "best threshold")
    print(f"{'attack':42}{'cells':>6}" + "".join(f"{head:>19}" for head in heads))
    for label, values in found.items():
        means = "".join(f"{mean:19.4f}" for mean in np.mean(values, axis=0))
        print(f"{label:42}{len(values):6}{means}")


if __name__ == "__main__":
    main()
