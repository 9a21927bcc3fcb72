"""Is the 0-1 attack better than a threshold on the loss because it is none?

    python -m bench.margins results/paper/logistic-400 results/paper/logistic-4000

With two classes a point is classified rightly where its loss is below log 2, so the best threshold
on the loss is never worse than 0-1. With more it is another decision. The margin in logits, the
true class's less the largest other one's, has 0-1 among its thresholds (zero) again. Printed:
balanced accuracies of all three on the undefended cell, thresholds from the other fold of models.
"""

import sys
from pathlib import Path

import numpy as np

from dpbench.metrics import evaluate
from dpbench.seeds import rng_for
from dpbench.study.run import load


def main() -> None:
    print("| run | attack | balanced accuracy | low | high |")
    print("|---|---|---|---|---|")
    for folder in map(Path, sys.argv[1:] or ["results/paper/logistic-4000"]):
        run = load(folder)
        logits = np.log(np.maximum(run.outputs("none"), np.finfo(np.float32).tiny))
        true = np.broadcast_to(run.labels[None, :, None], (*logits.shape[:2], 1))
        own = np.take_along_axis(logits, true, axis=2)[..., 0]
        np.put_along_axis(logits, true, -np.inf, axis=2)
        margin = own - logits.max(axis=2)
        _, members = run.scores("none", "gap")
        scores = {"0-1": (margin > 0).astype(np.float32), "loss": own, "margin": margin}
        for name, values in scores.items():
            rng = rng_for(0, "margins", name)
            found = evaluate(values, members, rng=rng, uses_other_bits=False).balanced_accuracy
            limits = f"{found.value:.4f} | {found.low:.4f} | {found.high:.4f}"
            print(f"| {folder.name} | {name} | {limits} |")


if __name__ == "__main__":
    main()
