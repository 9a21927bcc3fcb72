"""What MemGuard hides at every budget, and from whom; other masks beside it.

    dpbench run grids/location-memguard.yaml
    python -m bench.memguard [DIR]    # default results/location-memguard; writes its page

The first columns are the adversary of the paper, a network on sorted scores that undefended models
have taught, by its own decision. All others know the mask.
"""

import json
import sys
from pathlib import Path

import numpy as np

import dpbench
from bench.claims.evidence import ACCURACY, table
from bench.claims.memguard import decided
from bench.generated import replace_section
from dpbench.attacks import Jia
from dpbench.study.run import Run

PAGE = Path("docs/defenses/memguard.md")
OTHER = Jia(epochs=60, shadows=4)
ADAPTIVE = ("salem", "modified_entropy", "malt", "lira", "gap", "noise_robustness")
COLUMNS = ("distortion", "own attack", "own attack, taught otherwise", *ADAPTIVE)


def main() -> None:
    """Prints the table and writes it into the page."""
    run = dpbench.load(sys.argv[1] if len(sys.argv) > 1 else "results/location-memguard")
    text = "\n".join(_lines(run))
    print(text)
    replace_section(PAGE, text)


def _lines(run: Run) -> list[str]:
    head = ["| budget | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    plain = run.outputs("none")
    rows = []
    for cell, name in _cells(run):
        moved = np.abs(run.outputs(cell) - plain).sum(-1).mean()
        found = [f"{moved:.3f}", str(decided(run, cell)), str(decided(run, cell, OTHER))]
        found += [f"{table(run, cell, attack)[ACCURACY].value:.3f}" for attack in ADAPTIVE]
        rows.append(f"| {name} | " + " | ".join(found) + " |")
    return [*head, *rows]


def _cells(run: Run) -> list[tuple[str, str]]:
    """Returns the cells with what they are called here: budgets from none up, then other masks."""
    budgets = {
        row.cell: json.loads(row.params)["budget"]
        for row in run.cells.itertuples()
        if row.defense == "memguard"
    }
    masked = sorted(budgets, key=budgets.__getitem__)
    others = [cell for cell in run.cells["cell"] if cell != "none" and cell not in budgets]
    return [
        ("none", "0"),
        *((cell, f"{budgets[cell]:g}") for cell in masked),
        *((cell, f"`{cell}`") for cell in others),
    ]


if __name__ == "__main__":
    main()
