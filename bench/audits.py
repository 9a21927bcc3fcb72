"""What bounds and audits of a full grid cost on one core, and the memory they take.

    python -m bench.audits

30 cells of 16 attacks, each 64 models on 5000 examples; every third cell claims a guarantee, whose
accounting is cached before the clock starts, as in a run. Scores are drawn outside the clock. Exits
with 1 if bounds and audits take 20 seconds of processor time or 300 MB more than before.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from dp_accounting import DpEvent

from dpbench import privacy
from dpbench.metrics import evaluate
from dpbench.metrics.example_fpr import margins, rank_margins
from dpbench.metrics.examples import example_advantage, top_advantage
from dpbench.metrics.lower_bound import epsilon_lower
from dpbench.metrics.roc import Bools, Floats, rank
from dpbench.metrics.thresholds import decide, fold_curves
from dpbench.seeds import rng_for

CELLS, ATTACKS, MODELS, EXAMPLES = 30, 16, 64, 5000
DELTA = 1e-5
SECONDS, MEGABYTES = 20.0, 300.0
FPRS = np.array([0.01, 0.001])


class Scored(NamedTuple):
    """One attack on one cell."""

    scores: Floats
    event: DpEvent | None
    uses_other_bits: bool


class Clock:
    """Processor seconds by part."""

    def __init__(self) -> None:
        self.parts: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Adds what the block takes to a part."""
        start = time.process_time()
        yield
        self.parts[name] += time.process_time() - start


def main() -> None:
    """Measures and prints; exits with 1 if a limit is exceeded."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    members = rng_for(0, "audits", "members").random((MODELS, EXAMPLES)) < 0.5
    claims = {cell: claim(cell) for cell in range(0, CELLS, 3)}
    for event in claims.values():
        allowed(event)
    before, clock = peak(), Clock()
    for cell in range(CELLS):
        with clock.part("bounds"):
            if cell in claims:
                bounds(claims[cell])
        for attack in range(ATTACKS):
            audit(scored(cell, attack, members, claims.get(cell)), members, clock)
    total, grown = sum(clock.parts.values()), peak() - before
    rows = CELLS * ATTACKS
    print(f"{CELLS} cells x {ATTACKS} attacks, {MODELS} models x {EXAMPLES} examples, one core")
    for name, seconds in clock.parts.items():
        print(f"  {name:<22} {seconds:6.2f} s  {1000 * seconds / rows:6.1f} ms a row")
    print(f"  {'total':<22} {total:6.2f} s  (limit {SECONDS:.0f})")
    print(f"  {'peak memory':<22} +{grown:.0f} MB  (limit {MEGABYTES:.0f})")
    print(f"  {'torch imported':<22} {'torch' in sys.modules}")
    more(members, claims)
    sys.exit(total >= SECONDS or grown >= MEGABYTES or "torch" in sys.modules)


def claim(cell: int) -> DpEvent:
    """Returns a DP-SGD mechanism of its own for each cell."""
    return privacy.SampledGaussian(
        noise_multiplier=0.6 + 0.1 * cell, sampling_rate=64 / 2500, steps=1000
    ).event()


def scored(cell: int, attack: int, members: Bools, event: DpEvent | None) -> Scored:
    """Draws scores: half the attacks use shadows, a quarter see labels only, some leak a lot."""
    rng = rng_for(0, "audits", cell, attack)
    noise = rng.standard_normal(members.shape, dtype=np.float32)
    difficulty = rng.standard_normal(EXAMPLES, dtype=np.float32)
    signal = np.float32(0.1 if event is not None else 0.2 * (1 + cell % 5))
    scores = noise + difficulty + signal * members
    if attack % 4 == 3:
        scores = (scores > 0).astype(np.float32)
    return Scored(scores, event, attack % 2 == 0)


def allowed(event: DpEvent) -> tuple[float, float, Floats]:
    """Returns epsilon, and the most advantage and TPR that the mechanism allows."""
    return (
        privacy.epsilon(event, DELTA),
        privacy.advantage(event),
        privacy.trade_off(event, FPRS),
    )


def bounds(event: DpEvent) -> list[float]:
    """Returns a cell's bounds, as in its row, and those of the ROC figure."""
    epsilon, advantage, _ = allowed(event)
    privacy.trade_off(event, np.geomspace(1e-5, 1, 400))
    return [
        epsilon,
        advantage,
        float(privacy.accuracy_half_exp(epsilon)),
        float(privacy.advantage_yeom(epsilon)),
        float(privacy.advantage_epsilon(epsilon, DELTA)),
    ]


def audit(row: Scored, members: Bools, clock: Clock) -> None:
    """Bounds epsilon from below, and holds the measured rates against what is allowed."""
    with clock.part("sorting"):
        ranking = rank(row.scores, members)
    with clock.part("epsilon_lower"):
        found = epsilon_lower(
            ranking,
            examples=EXAMPLES,
            delta=0.0 if row.event is None else DELTA,
            uses_other_bits=row.uses_other_bits,
        ).epsilon
    # A row's confidence limits are there already when it is tested; their values do not matter.
    limits = np.array([0.1, 0.02, 0.01])
    with clock.part("violation test"):
        if row.event is not None:
            violates(row.event, limits, found)


def violates(event: DpEvent, limits: Floats, found: float) -> bool:
    """Tells whether epsilon, or the limits of advantage and TPRs, lie above what is allowed."""
    epsilon, advantage, tprs = allowed(event)
    return found > epsilon or bool((limits > np.append(advantage, tprs)).any())


def more(members: Bools, claims: dict[int, DpEvent]) -> None:
    """Prints what statistics by example add, and what a whole row takes with its intervals."""
    clock, everyone = Clock(), np.arange(MODELS)
    sample = [(cell, attack) for cell in range(0, CELLS, 10) for attack in range(ATTACKS)]
    for cell, attack in sample:
        row = scored(cell, attack, members, claims.get(cell))
        rng = rng_for(0, "audits", "replicates")
        ranking = rank(row.scores, members)
        decisions = decide(row.scores, everyone, fold_curves(ranking, EXAMPLES))
        with clock.part("tpr_at_example_fpr"):
            if not row.uses_other_bits:
                rank_margins(margins(row.scores, members), members)
        with clock.part("advantage_top"):
            top_advantage(decisions, members, models=everyone, rng=rng)
        with clock.part("example_advantage()"):
            example_advantage(row.scores, members)
        with clock.part("evaluate(), all of it"):
            evaluate(row.scores, members, rng=rng, uses_other_bits=row.uses_other_bits)
    print("by example, and a whole row with its intervals:")
    for name, seconds in clock.parts.items():
        print(f"  {name:<22} {'':9} {1000 * seconds / len(sample):6.1f} ms a row")


def peak() -> float:
    """Returns the most memory this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
