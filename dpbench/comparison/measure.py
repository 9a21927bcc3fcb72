"""How accurate a cell is and how much it leaks, on replicates that all cells share."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.errors import UserError
from dpbench.grid.cell import Row
from dpbench.grid.job import Context
from dpbench.grid.run import Run
from dpbench.metrics.paired import Draws, Resampling, combine
from dpbench.metrics.roc import rank, roc_of_ranking, tpr_at
from dpbench.metrics.thresholds import decide
from dpbench.seeds import rng_for

ADVANTAGE = "advantage"
FPRS = {"tpr_at_fpr_0.001": 0.001, "tpr_at_fpr_0.01": 0.01}
METRICS = (*FPRS, ADVANTAGE)
REPLICATES = 200


class Leak(NamedTuple):
    """What the strongest attack finds, chosen on one fold of models and measured on the other.

    Attributes:
        folds: The leak of even and of odd models, each by the attack that is best on the others.
        attacks: Which attack that was.
    """

    folds: tuple[Draws, Draws]
    attacks: tuple[str, str]

    @property
    def mean(self) -> Draws:
        """The mean of both folds, which uses every model once."""
        return mean(*self.folds)


class Measured(NamedTuple):
    """One cell.

    Attributes:
        label: Its id.
        accuracy: Test accuracy.
        fold_accuracy: That of even and of odd models, without replicates.
        leaks: By metric; a metric that its number of non-members cannot resolve is missing.
    """

    label: str
    accuracy: Draws
    fold_accuracy: tuple[float, float]
    leaks: dict[str, Leak]


def mean(first: Draws, second: Draws) -> Draws:
    """Returns the mean of two statistics, replicate by replicate."""
    return combine(lambda a, b: (a + b) / 2, first, second)


class Measurements:
    """The cells of a run on one of its tracks, measured when they are asked for.

    Attacks that ran on part of a cell's models or points are left out: nothing pairs with them.

    Args:
        run: A finished run.
        track: `average` or `canary`.
    """

    def __init__(self, run: Run, track: str) -> None:
        self._run, self._track = run, track
        self._context: Context = run.context.on(track)
        self._known: dict[str, Measured] = {}

    @property
    def models(self) -> int:
        """M."""
        return len(self._members)

    @property
    def examples(self) -> int:
        """How many points are audited."""
        return int(self._members.shape[1])

    @cached_property
    def _members(self) -> NDArray[np.bool_]:
        return self._context.challenge_members

    @cached_property
    def _resampling(self) -> Resampling:
        return Resampling(
            models=self.models,
            examples=self.examples,
            tests=len(self._context.population.test_y),
            rng=rng_for(self._context.grid.seed, "comparison"),
            replicates=REPLICATES,
        )

    def of(self, label: str) -> Measured:
        """Returns a cell's measurements.

        Raises:
            UserError: The cell is unknown, or its models or attacks are not finished.
        """
        if label not in self._known:
            self._known[label] = self._measure(label)
        return self._known[label]

    def _measure(self, label: str) -> Measured:
        cell = self._run.cell(label, self._track)
        store = self._context.store
        if not store.has(cell.observe.key):
            failure = store.failure(cell.observe.key)
            raise UserError(
                f"{label}: no result: {failure.reason if failure else 'it is not finished'}",
                next_step=f"see `dpbench status {self._run.folder}`",
            )
        correct = self._context.correct(cell.observe.key)
        return Measured(
            label,
            self._resampling.accuracy(correct),
            (float(correct[0::2].mean()), float(correct[1::2].mean())),
            self._leaks(label, list(self._scored(cell.rows))),
        )

    def _scored(self, rows: tuple[Row, ...]) -> Iterator[tuple[str, NDArray[np.floating]]]:
        """Yields label and scores of every adaptive attack that ran on the whole cell."""
        store = self._context.store
        for row in rows:
            if row.attack is None or row.scores is None or row.knowledge != "adaptive":
                continue
            if store.has(row.evaluate.key):
                scores = store.array(row.scores.key, "scores")
                if scores.shape == self._members.shape:
                    yield row.attack.label(), scores

    def _leaks(self, label: str, scored: list[tuple[str, NDArray[np.floating]]]) -> dict[str, Leak]:
        if not scored:
            raise UserError(
                f"{label}: no attack has a result on the whole {self._track} track",
                next_step=f"see `dpbench status {self._run.folder}`",
            )
        folds = [np.arange(number, self.models, 2) for number in (0, 1)]
        points = [self._points(scores, folds) for _, scores in scored]
        leaks = {}
        for metric in METRICS:
            strength = np.array([[fold[metric] for fold in attack] for attack in points])
            if np.isnan(strength).any():
                continue
            # The attack that is best on odd models meets the even ones, and the other way round.
            winners = [int(strength[:, 1 - number].argmax()) for number in (0, 1)]
            leaks[metric] = Leak(
                tuple(  # type: ignore[arg-type]
                    self._draws(metric, scored[winner][1], fold)
                    for winner, fold in zip(winners, folds, strict=True)
                ),
                (scored[winners[0]][0], scored[winners[1]][0]),
            )
        return leaks

    def _points(
        self, scores: NDArray[np.floating], folds: Sequence[NDArray[np.int64]]
    ) -> list[dict[str, float]]:
        """Returns an attack's leak on even and on odd models, by metric; NaN if not resolvable."""
        members = self._members
        even, odd = (roc_of_ranking(rank(scores[fold], members[fold])) for fold in folds)
        found = []
        for fold, curve in zip(folds, (even, odd), strict=True):
            decisions, bits = decide(scores[fold], fold, (even, odd)), members[fold]
            advantage = float(decisions[bits].mean() - decisions[~bits].mean())
            tprs = {metric: tpr_at(curve, fpr) for metric, fpr in FPRS.items()}
            found.append(tprs | {ADVANTAGE: advantage})
        return found

    def _draws(self, metric: str, scores: NDArray[np.floating], fold: NDArray[np.int64]) -> Draws:
        if metric == ADVANTAGE:
            return self._resampling.advantage(scores, self._members, fold)
        return self._resampling.curve(scores, self._members, fold, [FPRS[metric]])[1]
