"""How accurate a cell is and how much it leaks, on replicates that all cells share."""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.errors import UserError
from dpbench.game.attack_scores import AttackScores
from dpbench.game.strongest import StrongestJob
from dpbench.metrics.paired import Draws, Resampling, combine, resolvable
from dpbench.metrics.strength import strengths, strongest
from dpbench.seeds import rng_for
from dpbench.study.cell import AttackRow
from dpbench.study.context import Context
from dpbench.study.run import Run

ADVANTAGE = "advantage"
METRICS = ("tpr_at_fpr_0.001", "tpr_at_fpr_0.01", ADVANTAGE)
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
            self._leaks(label, list(self._evidence(cell.rows))),
        )

    def _evidence(self, rows: tuple[AttackRow, ...]) -> Iterator[tuple[str, AttackScores]]:
        """Yields label and scores of what competes for the cell's headline, of the whole cell."""
        best = next(row for row in rows if row.name == "best" and row.knowledge == "adaptive")
        assert isinstance(best.evaluate, StrongestJob)
        labels = {row.evaluate.key: row.label for row in rows}
        for job in best.evaluate.candidates:
            if self._context.store.has(job.key):
                evidence = job.attack_scores(self._context.results(job))
                if evidence.scores.shape == self._members.shape:
                    yield labels[job.key], evidence

    def _leaks(self, label: str, found: list[tuple[str, AttackScores]]) -> dict[str, Leak]:
        if not found:
            raise UserError(
                f"{label}: no attack has a result on the whole {self._track} track",
                next_step=f"see `dpbench status {self._run.folder}`",
            )
        folds = [np.arange(number, self.models, 2) for number in (0, 1)]
        known = [
            {
                number: strengths(evidence.selection[fold], self._members[fold], metrics=METRICS)
                for number, (_, evidence) in enumerate(found)
            }
            for fold in folds
        ]
        # The attack that is best on odd models meets the even ones, and the other way round.
        winners = [strongest(known[1 - number]) for number in (0, 1)]
        return {
            metric: Leak(
                tuple(  # type: ignore[arg-type]
                    self._draws(metric, found[by[metric]][1], fold)
                    for by, fold in zip(winners, folds, strict=True)
                ),
                (found[winners[0][metric]][0], found[winners[1][metric]][0]),
            )
            for metric in METRICS
            if all(resolvable(metric, self._members[fold]) for fold in folds)
        }

    def _draws(self, metric: str, evidence: AttackScores, fold: NDArray[np.int64]) -> Draws:
        return self._resampling.metric(
            metric, evidence.scores, self._members, fold, evidence.source
        )
