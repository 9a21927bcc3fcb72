"""How often `violates_bound` blames a mechanism that keeps its claim, and one that does not.

    python -m bench.violations     # prints two tables; about six minutes on one core

Members score N(mu, 1) and others N(0, 1), so that the best decision rule is exactly at the limit of
the claim, a Gaussian mechanism with that mu. An effect of each model has a share of the variance:
what the models' examples have in common. Rows are as many attacks at the limit, whose scores
correlate by a half. `limits` is the rule that was used before: a row is blamed if the lower 95 %
limit of its advantage, TPRs or epsilon is above what the claim allows.
"""

import math
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from dpbench.metrics import evaluate
from dpbench.metrics.evaluate import FPRS
from dpbench.metrics.lower_bound import epsilon_lower
from dpbench.metrics.roc import Bools, Floats, rank
from dpbench.metrics.thresholds import fold_curves
from dpbench.metrics.violation import Allowed, RowEvidence, blamed, moments
from dpbench.privacy import advantage_gaussian, delta_gaussian, epsilon_gaussian, tpr_gaussian
from dpbench.seeds import rng_for

DELTA = 1e-5
RUNS = 200
SHARES = (0.0, 0.3, 0.5)
CORRELATION = 0.5


class World(NamedTuple):
    """One kind of experiment.

    Attributes:
        models: M.
        examples: n.
        rows: Attacks on the cell.
        share: Share of the variance that the models' own effects have.
        claimed: The mu that is claimed.
        true: The mu of the scores.
    """

    models: int
    examples: int
    rows: int
    share: float
    claimed: float = 1.0
    true: float = 1.0


Rule = Callable[[World, np.random.Generator], bool]


def main() -> None:
    """Prints how often right and broken mechanisms are blamed."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    print("Blamed although the claim holds; limits of rows, and the joint test\n")
    _header("models x examples | mu | rows | rule", SHARES)
    for models, examples in ((4, 1000), (8, 1000), (64, 1000), (64, 2000)):
        one = World(models, examples, 1, 0.0)
        if examples == 1000:
            _print(one, limits, runs)
        _print(one, joint, runs)
        if models > 8:
            _print(one._replace(claimed=2.0, true=2.0), joint, runs)
    _print(one._replace(examples=1000, rows=4), joint, runs)
    print("\nBroken mechanisms that the joint test finds: claimed mu, true mu\n")
    _header("models x examples | mu | rows | rule", SHARES)
    for claimed, true in ((0.25, 0.5), (0.5, 1.0), (1.0, 1.25), (1.0, 1.5), (1.0, 2.0), (2.0, 4.0)):
        _print(World(64, 1000, 4, 0.0, claimed, true), joint, runs // 8)


def _header(names: str, shares: tuple[float, ...]) -> None:
    print(f"| {names} | " + " | ".join(f"share {share:g}" for share in shares) + " |")
    print("|" + "---|" * (4 + len(shares)), flush=True)


def _print(world: World, rule: Rule, runs: int) -> None:
    rates = [rate(world._replace(share=share), rule, runs) for share in SHARES]
    mu = f"{world.true:g}" if world.true == world.claimed else f"{world.claimed:g}, {world.true:g}"
    cells = " | ".join(f"{one:.1%}" for one in rates)
    print(
        f"| {world.models} x {world.examples} | {mu} | {world.rows} | {rule.__name__} | {cells} |",
        flush=True,
    )


def rate(world: World, rule: Rule, runs: int) -> float:
    """Returns the share of experiments in which a rule blames some row."""
    return float(
        np.mean([rule(world, rng_for(run, "violations", *map(str, world))) for run in range(runs)])
    )


def attacks(world: World, rng: np.random.Generator) -> Iterator[tuple[Floats, Bools]]:
    """Yields the scores and the bits of a cell's rows."""
    shape = (world.models, world.examples)
    members = rng.random(shape) < 0.5

    def noise() -> Floats:
        common = rng.standard_normal((world.models, 1), dtype=np.float32)
        own = rng.standard_normal(shape, dtype=np.float32)
        return math.sqrt(world.share) * common + math.sqrt(1 - world.share) * own

    shared = noise()
    for row in range(world.rows):
        mixed = shared if row == 0 else math.sqrt(CORRELATION) * (shared + noise())
        yield (mixed + world.true * members).astype(np.float32), members


def joint(world: World, rng: np.random.Generator) -> bool:
    """Tells whether the joint test blames any row."""
    found, models = [], np.arange(world.models)
    for scores, members in attacks(world, rng):
        ranking = rank(scores, members)
        curves = fold_curves(ranking, world.examples)
        guesses = epsilon_lower(
            ranking, examples=world.examples, delta=DELTA, uses_other_bits=False
        )
        found.append(RowEvidence(moments(scores, members, models, curves, FPRS), guesses))
    return any(blamed(found, gaussian(world.claimed)))


def limits(world: World, rng: np.random.Generator) -> bool:
    """Tells whether a row's lower confidence limit is above what is allowed."""
    claimed = world.claimed
    for scores, members in attacks(world, rng):
        row = evaluate(
            scores, members, delta=DELTA, rng=rng, replicates=200, uses_other_bits=False
        ).row()
        lows = [row[f"{name}_low"] for name in ("advantage", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001")]
        most = [advantage_gaussian(claimed), *tpr_gaussian(FPRS, claimed)]
        if np.any(np.array(lows) > most) or row["epsilon_lower"] > epsilon_gaussian(DELTA, claimed):
            return True
    return False


def gaussian(mu: float) -> Allowed:
    """Returns what a Gaussian mechanism allows."""
    prices = (1.0, *np.exp(mu * ndtri(1 - np.array(FPRS)) - mu**2 / 2).tolist())
    gains = tuple(delta_gaussian(math.log(price), mu) for price in prices)
    return Allowed(prices, gains, epsilon_gaussian(DELTA, mu), DELTA)


if __name__ == "__main__":
    main()
