"""How far `epsilon_lower` moves when nothing that matters changes, and whether it still holds.

    python -m bench.steadiness [DIR]     # a run's attacks too; about two minutes on one core

`halves` chooses the guesses on the even examples and guesses the odd ones, which is what is done
where delta > 0 (here it is 1e-12). `all` is what is done without delta: every choice guesses all
examples. Each is repeated 20 times: on new draws of the same kind, in other orders of the examples,
and with noise added, a tenth of the scores' quartile range / 1.35, which moves AUC by about 0.001.
"""

import sys

import numpy as np
from scipy.special import expit

import dpbench
from dpbench.metrics.lower_bound import epsilon_lower
from dpbench.metrics.roc import Bools, Floats, rank
from dpbench.seeds import rng_for

REPEATS, EXPERIMENTS = 20, 400
HALVES = 1e-12
ROWS = tuple(
    (cell, attack)
    for cell in ("none", "l2(weight_decay=0.01)", "early_stopping(epochs=10)")
    for attack in ("malt", "mast", "lira")
)


def main() -> None:
    """Prints means and spreads, and how often bounds exceed the truth."""
    print("| scores | change | halves: mean | deviation | range | all: mean | deviation | range |")
    print("|---|---|---|---|---|---|---|---|")
    for models, examples in ((64, 1000), (16, 1000)):
        draws = [planted(models, examples, seed) for seed in range(REPEATS)]
        _print(f"planted {models} x {examples}", "new draws", draws, False)
        _print(f"planted {models} x {examples}", "order", _orders(*draws[0]), False)
    for folder in sys.argv[1:2]:
        run = dpbench.load(folder)
        for cell, attack in ROWS:
            scores, members = run.scores(cell, attack)
            shadows = attack != "malt"
            _print(f"{cell}, {attack}", "order", _orders(scores, members), shadows)
            _print(f"{cell}, {attack}", "noise", _noisy(scores, members), shadows)
    print("\n| randomised response, 24 x 100 | halves above | all above | medians |")
    print("|---|---|---|---|")
    for epsilon in (0.0, 1.2, 3.0):
        found = np.array([known(epsilon, seed) for seed in range(EXPERIMENTS)])
        above = " | ".join(f"{share:.1%}" for share in np.mean(found > epsilon, axis=0))
        print(f"| epsilon {epsilon:g} | {above} | {np.round(np.median(found, axis=0), 2)} |")


def _print(name: str, change: str, tables: list[tuple[Floats, Bools]], shadows: bool) -> None:
    found = np.array([both(scores, members, shadows) for scores, members in tables])
    columns = zip(found.mean(0), found.std(0, ddof=1), np.ptp(found, axis=0), strict=True)
    cells = " | ".join(
        f"{mean:.2f} | {spread:.3f} | {reach:.2f}" for mean, spread, reach in columns
    )
    print(f"| {name} | {change} | {cells} |", flush=True)


def both(scores: Floats, members: Bools, shadows: bool) -> tuple[float, float]:
    """Returns the bound from halves and from all examples."""
    ranking = rank(scores, members)
    halves, all_ = (
        epsilon_lower(ranking, examples=scores.shape[1], delta=delta, uses_other_bits=shadows)
        for delta in (HALVES, 0.0)
    )
    return halves.epsilon, all_.epsilon


def planted(models: int, examples: int, seed: int) -> tuple[Floats, Bools]:
    """Returns scores of examples that are exposed very differently."""
    rng = rng_for(seed, "steadiness")
    members = rng.random((models, examples)) < 0.5
    exposed = 0.7 * np.exp(rng.standard_normal(examples))
    return rng.standard_normal(members.shape) + members * exposed, members


def known(epsilon: float, seed: int) -> tuple[float, float]:
    """Returns both bounds of randomised response."""
    rng = rng_for(seed, "steadiness", "response", str(epsilon))
    members = rng.random((24, 100)) < 0.5
    honest = rng.random(members.shape) < expit(epsilon)
    return both(np.where(honest, members, ~members).astype(float), members, False)


def _orders(scores: Floats, members: Bools) -> list[tuple[Floats, Bools]]:
    rng = rng_for(0, "steadiness", "order")
    orders = [rng.permutation(scores.shape[1]) for _ in range(REPEATS)]
    return [(scores[:, order], members[:, order]) for order in orders]


def _noisy(scores: Floats, members: Bools) -> list[tuple[Floats, Bools]]:
    rng = rng_for(0, "steadiness", "noise")
    scale = 0.1 * np.subtract(*np.quantile(scores, (0.75, 0.25))) / 1.35
    return [(scores + scale * rng.standard_normal(scores.shape), members) for _ in range(REPEATS)]


if __name__ == "__main__":
    main()
