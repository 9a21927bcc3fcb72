"""Turning scores and bits into the numbers of one row."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dpbench.attacks import NotApplicable
from dpbench.grid.job import Context, Job, Output
from dpbench.metrics import evaluate, transferred_advantage
from dpbench.seeds import rng_for

# Which models select the strongest attack and which report it (metrics fold m % 2).
SELECT, REPORT = 0, 1


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
        row = self.evaluated(context, scores, source)
        advantage = transferred_advantage(
            scores,
            context.bits_of(scores),
            source=source,
            models=fold(scores, SELECT),
        )
        return Output(row | {"selection_advantage": advantage})

    def evaluated(
        self,
        context: Context,
        scores: NDArray[np.floating],
        source: NDArray[np.floating],
        models: NDArray[np.int64] | None = None,
    ) -> dict[str, object]:
        """Returns the numbers of some models, or of all."""
        return evaluation(
            context,
            scores,
            source,
            delta=self.delta,
            uses_other_bits=self.uses_other_bits,
            models=models,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class BestJob(Job):
    """The strongest attack of a cell: chosen on one half of the models, reported on the other."""

    name: ClassVar[str] = "best"

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
        row = job.evaluated(context, scores, source, fold(scores, REPORT))
        return Output(row | {"winner": winner})


def fold(scores: NDArray[Any], number: int) -> NDArray[np.int64]:
    """Returns the models of one fold of scores or bits `(M, n)`."""
    return np.arange(number, len(scores), 2)


def evaluation(
    context: Context,
    scores: NDArray[np.floating],
    source: NDArray[np.floating],
    *,
    delta: float,
    uses_other_bits: bool,
    models: NDArray[np.int64] | None = None,
) -> dict[str, object]:
    """Returns a row's numbers, with thresholds from `source`; see `metrics.evaluate`."""
    members = context.bits_of(scores)
    result = evaluate(
        scores,
        members,
        source_scores=source,
        source_members=members,
        delta=delta,
        uses_other_bits=uses_other_bits,
        rng=rng_for(context.grid.seed, "bootstrap"),
        models=models,
    )
    return {
        **result.row(),
        "evidence": result.evidence.to_json(),
        "notes": list(result.notes),
    }
