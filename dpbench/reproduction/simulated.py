"""Games in which everything is known: simulated many times, and read like the run of a grid."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from dpbench.arrays import Floats
from dpbench.errors import UserError, suggest
from dpbench.metrics import Interval
from dpbench.metrics.intervals import crossed_interval, deviations
from dpbench.metrics.paired import Resampling
from dpbench.reproduction.expectation import Measure
from dpbench.seeds import rng_for

Scores = dict[str, dict[str, Floats]]
"""By cell and attack, `(repetitions, 2 n)`; the first n points of every repetition are members."""

REPLICATES = 400
_MEMBERS, _SHADOWS, _REPETITIONS = 100, 32, 60
_CLASSES, _FEATURES, _NB_MEMBERS, _NB_REPETITIONS = 10, 75, 400, 20


@dataclass(frozen=True)
class Simulated:
    """The numbers of a simulated game. Repetitions share nothing, so they alone are resampled."""

    name: str
    scores: Scores

    def of(self, measure: Measure) -> Interval:
        """Returns a number with its 95 % interval."""
        return self._interval(self._draws(measure), lowest=0.0, highest=1.0)

    def difference(self, more: Measure, than: Measure, factor: float) -> Interval:
        """Returns `more - factor * than`, paired: on the same draws of repetitions."""
        gap = self._draws(more) - factor * self._draws(than)
        return self._interval(gap, lowest=-math.inf, highest=math.inf)

    def has(self, measure: Measure) -> bool:
        """Tells whether there is such a number."""
        attacks = self.scores.get(measure.cell, {})
        return measure.metric == "balanced_accuracy" and measure.attack in attacks

    def _draws(self, measure: Measure) -> NDArray[np.float64]:
        if not self.has(measure):
            raise UserError(
                f"{self.name}: no {measure.metric} of {measure.attack} on {measure.cell}",
                allowed="balanced_accuracy of "
                + "; ".join(f"{', '.join(found)} on {cell}" for cell, found in self.scores.items()),
            )
        scores = self.scores[measure.cell][str(measure.attack)]
        repetitions, points = scores.shape
        resampling = Resampling(
            models=repetitions,
            examples=points,
            tests=1,
            rng=rng_for(0, "simulated", self.name),
            replicates=REPLICATES,
        )
        members = np.broadcast_to(np.arange(points) < points // 2, scores.shape)
        return (1 + resampling.advantage(scores, members, np.arange(repetitions)).models) / 2

    def _interval(self, draws: Floats, *, lowest: float, highest: float) -> Interval:
        units = len(next(iter(next(iter(self.scores.values())).values())))
        spread = deviations(draws, units)
        return crossed_interval(
            float(draws[0]), spread, np.zeros(1), lowest=lowest, highest=highest
        )


def simulate(name: str) -> Simulated:
    """Plays a game by name.

    Raises:
        UserError: There is no such game.
    """
    if name not in GAMES:
        raise UserError(
            f"{name}: no such simulation",
            allowed=", ".join(GAMES),
            next_step=suggest(name, GAMES),
        )
    return Simulated(name, GAMES[name]())


def mean_estimation() -> Scores:
    """Returns scores where the model is the members' mean and the loss `|theta - z|^2 / 2`.

    The population is a unit Gaussian in d dimensions. MATT expands around the mean of the shadows'
    parameters, MAST subtracts the shadows' mean loss.
    """
    return {f"d={d}": _stacked(_one_mean, _REPETITIONS, d) for d in (10, 100, 1000)}


def _one_mean(dimension: int, repetition: int) -> dict[str, Floats]:
    rng = rng_for(0, "mean estimation", dimension, repetition)
    z = rng.standard_normal((2 * _MEMBERS, dimension))
    theta = z[:_MEMBERS].mean(0)
    others = rng.standard_normal((_SHADOWS, dimension)) / math.sqrt(_MEMBERS)
    loss = np.square(theta - z).sum(1) / 2
    usual = np.mean([np.square(other - z).sum(1) / 2 for other in others], axis=0)
    centre = others.mean(0)
    return {"malt": -loss, "mast": usual - loss, "matt": (z - centre) @ (theta - centre)}


def naive_bayes() -> Scores:
    """Returns scores where target and proxy are Gaussian naive Bayes with shared variances.

    Ten classes whose means are uniform in [-1, 1] in 75 dimensions, 400 members, and a proxy
    fitted on 400 others (the synthetic data of Leino and Fredrikson 2020).
    """
    return {"naive Bayes": _stacked(_one_naive_bayes, _NB_REPETITIONS, _NB_MEMBERS)}


def _one_naive_bayes(members: int, repetition: int) -> dict[str, Floats]:
    rng = rng_for(0, "naive Bayes", repetition)
    centres = rng.uniform(-1, 1, (_CLASSES, _FEATURES))
    spread = np.sqrt(rng.uniform(0.5, 1.5, _FEATURES))
    labels = rng.integers(_CLASSES, size=3 * members)
    inputs = centres[labels] + spread * rng.standard_normal((len(labels), _FEATURES))
    target, proxy = (
        _fitted(inputs[part], labels[part]) for part in (slice(members), slice(2 * members, None))
    )
    audited, truth = inputs[: 2 * members], labels[: 2 * members]
    own = (np.arange(len(truth)), truth)
    logits, others = (audited @ weights + bias for weights, bias in (target, proxy))
    return {
        "bayes_wb": logits[own] - others[own],
        "malt": logits[own] - logsumexp(logits, axis=1),
        "gap": (logits.argmax(1) == truth).astype(np.float64),
    }


def _fitted(inputs: Floats, labels: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Returns the weights `(d, C)` and biases `(C,)` of naive Bayes with equal priors."""
    means = np.stack([inputs[labels == label].mean(0) for label in range(_CLASSES)])
    variances = np.square(inputs - means[labels]).sum(0) / (len(inputs) - _CLASSES)
    return (means / variances).T, -(np.square(means) / variances).sum(1) / 2


def _stacked(
    play: Callable[[int, int], dict[str, Floats]], repetitions: int, setting: int
) -> dict[str, Floats]:
    played = [play(setting, repetition) for repetition in range(repetitions)]
    return {attack: np.stack([one[attack] for one in played]) for attack in played[0]}


GAMES: dict[str, Callable[[], Scores]] = {
    "mean-estimation": mean_estimation,
    "naive-bayes": naive_bayes,
}
