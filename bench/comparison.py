"""Do the intervals of `dpbench compare` cover, and how much does pairing gain?

    python -m bench.comparison [EXPERIMENTS]     # 200 by default: some ten minutes of one core

Every experiment draws a grid of defenses from models of known accuracy and leak: crossed effects of
models and examples that all defenses share, and noise of each. A new defense, whose true leak at
its accuracy is above, at or below that of the baseline's frontier, is compared with the frontier as
`dpbench compare` does it. Printed: the share of intervals that hold the true difference, how wide
they are paired and unpaired, and how often the verdict was right and wrong.
"""

import functools
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from bench.generated import replace_section
from dpbench.comparison.measure import Leak, Measured
from dpbench.comparison.rivals import frontier_rival
from dpbench.metrics.frontier import Frontier
from dpbench.metrics.paired import Draws, Resampling, combine, interval

MODELS, EXAMPLES, TESTS, REPLICATES = 64, 400, 400, 200
ACCURACIES = (0.60, 0.68, 0.74, 0.78)
SHIFTS = (0.15, 0.4, 0.7, 1.0)
"""Of a frontier's strengths: accuracy, and how far a member's scores lie above the others'."""


class World(NamedTuple):
    """What all defenses of one experiment share."""

    members: NDArray[np.bool_]
    memorable: NDArray[np.float64]
    scores: NDArray[np.float64]
    skill: NDArray[np.float64]
    ease: NDArray[np.float64]


def world(rng: np.random.Generator, models: int, examples: int, tests: int) -> World:
    """Draws models, examples and test examples."""
    return World(
        members=rng.random((models, examples)) < 0.5,
        memorable=rng.lognormal(sigma=0.5, size=examples),
        scores=rng.normal(size=(models, examples)),
        skill=0.1 * rng.normal(size=models),
        ease=0.8 * rng.normal(size=tests),
    )


def cell(
    world: World, rng: np.random.Generator, accuracy: float, shift: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Returns which test answers are right, and the scores of an attack.

    Half of the variance of either is the cell's own, and half is shared with the other cells.
    """
    models, tests = len(world.skill), len(world.ease)
    margin = world.skill[:, None] + world.ease + 0.6 * rng.normal(size=(models, tests))
    # The margin is normal with deviation sqrt(.1^2 + .8^2 + .6^2).
    cut = -np.sqrt(0.01 + 0.64 + 0.36) * ndtri(accuracy)
    own = np.sqrt(0.5) * (world.scores + rng.normal(size=world.scores.shape))
    return margin > cut, own + shift * world.memorable * world.members


@functools.cache
def truth(shift: float) -> tuple[float, float]:
    """Returns the true advantage and TPR at 1 % FPR of an attack, over all models and examples."""
    memorable = np.exp(0.5 * ndtri((np.arange(4000) + 0.5) / 4000))
    cuts = np.linspace(-3, 6, 3000)
    found = 1 - ndtr(cuts[:, None] - shift * memorable).mean(1)
    advantage = float((found - (1 - ndtr(cuts))).max())
    return advantage, float((1 - ndtr(ndtri(0.99) - shift * memorable)).mean())


def measured(resampling: Resampling, world: World, right: NDArray, scores: NDArray) -> Measured:
    """Returns a cell as `dpbench compare` measures it, with its one attack."""
    folds = [np.arange(fold, len(scores), 2) for fold in (0, 1)]
    advantage = [resampling.advantage(scores, world.members, fold) for fold in folds]
    tpr = [resampling.curve(scores, world.members, fold, [0.01])[1] for fold in folds]
    names = ("attack", "attack")
    leaks = {
        "advantage": Leak((advantage[0], advantage[1]), names),
        "tpr_at_fpr_0.01": Leak((tpr[0], tpr[1]), names),
    }
    return Measured("cell", resampling.accuracy(right), (0.0, 0.0), leaks)


class Outcome(NamedTuple):
    """Of one experiment and metric: did the interval hold the truth, its width, width unpaired."""

    covered: bool
    above: bool
    below: bool
    paired: float
    unpaired: float


def experiment(rng: np.random.Generator, shift: float, accuracy: float) -> dict[str, Outcome]:
    """Compares one new defense with the frontier."""
    models = world(rng, MODELS, EXAMPLES, TESTS)
    size = {"models": MODELS, "examples": EXAMPLES}

    def draws() -> Resampling:
        return Resampling(**size, tests=TESTS, rng=rng, replicates=REPLICATES)

    shared = draws()
    strengths = zip(ACCURACIES, SHIFTS, strict=True)
    family = [measured(shared, models, *cell(models, rng, *one)) for one in strengths]
    right, scores = cell(models, rng, accuracy, shift)
    new, apart = (measured(one, models, right, scores) for one in (shared, draws()))
    outcomes = {}
    for index, metric in enumerate(new.leaks):
        line = Frontier(np.array(ACCURACIES), np.array([truth(one)[index] for one in SHIFTS]))
        true = truth(shift)[index] - line.at(accuracy).value
        rival = frontier_rival(new, family, metric).leak
        found = interval(_minus(new.leaks[metric].mean, rival), **size)
        loose = interval(_minus(apart.leaks[metric].mean, rival), **size)
        outcomes[metric] = Outcome(
            found.low <= true <= found.high,
            found.low > 0,
            found.high < 0,
            found.high - found.low,
            loose.high - loose.low,
        )
    return outcomes


def _minus(first: Draws, second: Draws) -> Draws:
    return combine(lambda a, b: a - b, first, second)


def main() -> None:
    """Prints a line for every planted difference and metric, and writes them into the page."""
    experiments = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    lines = [
        f"{experiments} experiments of {MODELS} models and {EXAMPLES} examples for each row.",
        "",
        "| planted | metric | held the truth | above 0 | below 0 | width | unpaired / paired |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, shift in (("leaks more", 0.9), ("ties", 0.55), ("leaks less", 0.25)):
        rng = np.random.default_rng(7)
        runs = [experiment(rng, shift, 0.71) for _ in range(experiments)]
        for metric in runs[0]:
            means = np.mean(np.array([run[metric] for run in runs], dtype=float), axis=0)
            lines.append(
                f"| {name} | {metric} | {means[0]:.1%} | {means[1]:.1%} | {means[2]:.1%} "
                f"| {means[3]:.4f} | {means[4] / means[3]:.2f} |"
            )
            print(lines[-1], flush=True)
    replace_section(Path("docs/comparing.md"), "\n".join(lines))


if __name__ == "__main__":
    main()
