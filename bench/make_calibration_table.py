"""Writes privacy/accounting/calibrations.json: the noise multipliers that no run waits for.

    python bench/make_calibration_table.py

Takes about a second per line of the table.
"""

import itertools
import json
from pathlib import Path

from dpbench import privacy
from dpbench.privacy.accounting.calibration import search

# Full batches (sampling rate 1) are solved in closed form and need no line here.
DELTAS = (1e-5,)
SAMPLING_RATES = (0.25, 0.5)
STEPS = (50, 100, 200)
EPSILONS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

TABLE = Path(privacy.__file__).parent / "accounting" / "calibrations.json"


def main() -> None:
    lines = []
    for delta, rate, steps, epsilon in itertools.product(DELTAS, SAMPLING_RATES, STEPS, EPSILONS):
        query = {"epsilon": epsilon, "delta": delta, "sampling_rate": rate, "steps": steps}
        row = {**query, "noise_multiplier": search(**query)}
        lines.append(json.dumps(row))
        print(lines[-1])
    TABLE.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
