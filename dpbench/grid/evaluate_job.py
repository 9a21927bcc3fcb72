"""Turning scores and bits into the numbers of one row."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpbench.attacks import NotApplicable
from dpbench.grid.job import Context, Job, Output
from dpbench.metrics import evaluate, transferred_advantage
from dpbench.seeds import rng_for

# Which models select the strongest attack and which report it (metrics fold m % 2).
_SELECT, _REPORT = 0, 1


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluateJob(Job):
    """Evaluates one attack's scores; thresholds come from `source`, on other models.

    Attributes:
        scores: Key of the attack job.
        source: Key of the attack job whose scores the adversary calibrates its threshold on.
        delta: Delta of the cell's claim.
        uses_other_bits: A score uses other bits: those of the shadows, or of other points.
    """

    scores: str
    source: str
    delta: float
    uses_other_bits: bool

    @property
    def kind(self) -> str:
        """The job's kind."""
        return "evaluate"

    def run(self, context: Context) -> Output:
        """Returns a row's numbers, and the advantage on the models that select the best attack."""
        scores = context.store.array(self.scores, "scores")
        source = (
            scores if self.source == self.scores else context.store.array(self.source, "scores")
        )
        if np.ptp(scores) == 0 and np.ptp(source) == 0:
            raise NotApplicable("every score is equal: the attack decided nothing")
        row = _evaluate(context, scores, source, self)
        advantage = transferred_advantage(
            scores,
            context.bits_of(scores),
            source=source,
            models=_fold(scores, _SELECT),
        )
        return Output(row | {"selection_advantage": advantage})


@dataclass(frozen=True, kw_only=True, eq=False)
class BestJob(Job):
    """The strongest attack of a cell: chosen on one half of the models, reported on the other."""

    candidates: tuple[EvaluateJob, ...]

    @property
    def kind(self) -> str:
        """The job's kind."""
        return "evaluate"

    def run(self, context: Context) -> Output:
        """Returns the winner's numbers on the reporting half, and which candidate won."""
        store = context.store
        finished = [number for number, job in enumerate(self.candidates) if store.has(job.key)]
        advantages = {
            number: float(store.record(self.candidates[number].key)["selection_advantage"])
            for number in finished
        }
        winner = max(finished, key=lambda number: (advantages[number], -number))
        job = self.candidates[winner]
        scores, source = store.array(job.scores, "scores"), store.array(job.source, "scores")
        row = _evaluate(context, scores, source, job, _fold(scores, _REPORT))
        return Output(row | {"winner": winner})


def _fold(scores: NDArray[np.floating], fold: int) -> NDArray[np.int64]:
    return np.arange(fold, len(scores), 2)


def _evaluate(
    context: Context,
    scores: NDArray[np.floating],
    source: NDArray[np.floating],
    job: EvaluateJob,
    models: NDArray[np.int64] | None = None,
) -> dict[str, object]:
    members = context.bits_of(scores)
    result = evaluate(
        scores,
        members,
        source_scores=source,
        source_members=members,
        delta=job.delta,
        uses_other_bits=job.uses_other_bits,
        rng=rng_for(context.grid.seed, "bootstrap"),
        models=models,
    )
    return {**result.row(), "notes": list(result.notes)}
