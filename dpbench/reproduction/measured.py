"""Numbers of a run with replicates, so that two of one run can be compared in pairs."""

import math

import numpy as np

from dpbench.errors import UserError
from dpbench.game.attack_scores import AttackScores
from dpbench.metrics import Interval
from dpbench.metrics.paired import Draws, Resampling, combine, interval
from dpbench.reproduction.expectation import Measure
from dpbench.seeds import rng_for
from dpbench.study.run import Run

REPLICATES = 200
_CELL_METRICS = ("test_accuracy", "train_accuracy")


class RunNumbers:
    """The numbers of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def of(self, measure: Measure) -> Interval:
        """Returns a number with its 95 % interval."""
        draws, (models, examples) = self._draws(measure)
        lowest = -1.0 if measure.metric == "advantage" else 0.0
        return interval(draws, models=models, examples=examples, lowest=lowest)

    def difference(self, more: Measure, than: Measure, factor: float) -> Interval:
        """Returns `more - factor * than`, paired: on the same draws of models and examples.

        Attacks on a part of the models or points are compared with others on that part.
        """
        parts = self._extent(more), self._extent(than)
        extent = (min(one[0] for one in parts), min(one[1] for one in parts))
        first, size = self._draws(more, extent)
        second, _ = self._draws(than, extent)
        both = combine(lambda a, b: a - factor * b, first, second)
        limits = {"lowest": -math.inf, "highest": math.inf}
        return interval(both, models=size[0], examples=size[1], **limits)

    def _extent(self, measure: Measure) -> tuple[int, int]:
        if measure.metric in _CELL_METRICS:
            members = self._run.context.on(measure.track).challenge_members
            return len(members), members.shape[1]
        models, examples = self._evidence(measure).scores.shape
        return models, examples

    def _draws(
        self, measure: Measure, extent: tuple[int, int] | None = None
    ) -> tuple[Draws, tuple[int, int]]:
        models, examples = extent or self._extent(measure)
        context = self._run.context.on(measure.track)
        resampling = Resampling(
            models=models,
            examples=examples,
            tests=len(context.population.test_y),
            rng=rng_for(context.grid.seed, "reproduce"),
            replicates=REPLICATES,
        )
        if measure.metric in _CELL_METRICS:
            return self._accuracy(measure, models, resampling), (models, examples)
        evidence = self._evidence(measure)
        scores = evidence.scores[:models, :examples]
        members = context.challenge_members[:models, :examples]
        rows = np.arange(models)
        match measure.metric:
            case "advantage" | "balanced_accuracy":
                source = evidence.source[:models, :examples]
                draws = resampling.advantage(scores, members, rows, source)
                if measure.metric == "balanced_accuracy":
                    draws = combine(lambda a: (1 + a) / 2, draws)
            case "auc":
                (draws,) = resampling.curve(scores, members, rows, [])
            case "precision_of_top_0.01":
                draws = resampling.top_precision(scores, members, 0.01)
            case metric:
                fpr = float(metric.removeprefix("tpr_at_fpr_"))
                _, draws = resampling.curve(scores, members, rows, [fpr])
        return draws, (models, examples)

    def _accuracy(self, measure: Measure, models: int, resampling: Resampling) -> Draws:
        cell = self._run.cell(measure.cell, measure.track)
        context = self._run.context.on(measure.track)
        if not context.store.has(cell.observe.key):
            raise UserError(
                f"{measure.cell} has no result: it failed or is not finished",
                next_step="see `dpbench status`",
            )
        if measure.metric == "train_accuracy":
            value = np.full(
                1 + REPLICATES, context.store.record(cell.observe.key)["train_accuracy"]
            )
            return Draws(value, value)
        return resampling.accuracy(context.correct(cell.observe.key)[:models])

    def _evidence(self, measure: Measure) -> AttackScores:
        if measure.attack is None:
            raise UserError(f"{measure.metric} of {measure.cell}: which attack?")
        return self._run.attack_scores(
            measure.cell, measure.attack, measure.knowledge, track=measure.track
        )
