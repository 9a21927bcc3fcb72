"""The strongest attack of a cell, by each metric."""

import operator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dpbench.grid.attack_scores import REPORT, SELECT, AttackScores, evaluation
from dpbench.grid.ensemble_job import EnsembleJob
from dpbench.grid.evaluate_job import EvaluateJob
from dpbench.grid.job import Context, Job, Output
from dpbench.metrics.paired import PAIRED, Resampling, combine, resolvable, standard_error
from dpbench.metrics.strength import FPRS, chosen_by, fold, strongest
from dpbench.seeds import rng_for

_REPLICATES = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class BestJob(Job):
    """The strongest attack of a cell: chosen on one half of the models, reported on the other.

    Each metric has a winner of its own. Attacks on the whole cell, and the ensemble of them, are
    compared on all models that select; an attack on part of the cell is then compared with the
    winner where both ran, and takes its place if it is stronger by more than one standard error.
    """

    name: ClassVar[str] = "best"

    candidates: tuple[EvaluateJob | EnsembleJob, ...]
    delta: float

    @property
    def kind(self) -> str:
        """The job's kind."""
        return "evaluate"

    def run(self, context: Context) -> Output:
        """Returns the winners' numbers on the reporting half, and which candidates won."""
        winners = self._winners(context)
        rows = {number: self._reported(context, number) for number in set(winners.values())}
        first = rows[winners["advantage"]]
        row = {
            name: rows[winners[metric]][name]
            for name in first
            if (metric := chosen_by(name)) is not None
        }
        notes = dict.fromkeys(
            note
            for metric, number in winners.items()
            for note in rows[number]["notes"]
            if _concerns(note, metric)
        )
        return Output(row | {"notes": list(notes), "winners": winners})

    def _winners(self, context: Context) -> dict[str, int]:
        """Returns the number of the strongest candidate by metric."""
        store, size = context.store, list(context.challenge_members.shape)
        records = {
            number: store.record(job.key)
            for number, job in enumerate(self.candidates)
            if store.has(job.key)
        }
        whole = [number for number, record in records.items() if record["extent"] == size]
        found = {number: records[number]["strengths"] for number in whole or records}
        winners = strongest(found)
        # Scores are read two at a time: those of a thousand models are hundreds of megabytes.
        for number in sorted(set(records) - set(found)):
            part = self.candidates[number].attack_scores(context)
            for metric in PAIRED:
                other = self.candidates[winners[metric]].attack_scores(context)
                if self._beats(context, metric, part, other):
                    winners[metric] = number
        return winners

    def _beats(
        self, context: Context, metric: str, part: AttackScores, other: AttackScores
    ) -> bool:
        """Tells whether an attack on part of a cell is stronger there than another attack."""
        models, points = np.minimum(part.scores.shape, other.scores.shape)
        members = context.challenge_members[SELECT:models:2, :points]
        if len(members) < 2 or not resolvable(metric, members):
            return False
        resampling = Resampling(
            models=len(members),
            examples=int(points),
            tests=1,
            rng=rng_for(context.grid.seed, "part of a cell"),
            replicates=_REPLICATES,
        )
        values = [
            resampling.metric(metric, one.selection[SELECT:models:2, :points], members)
            for one in (part, other)
        ]
        gain = combine(operator.sub, *values)
        return gain.value > standard_error(gain, models=len(members), examples=int(points))

    def _reported(self, context: Context, number: int) -> dict[str, Any]:
        """Returns a candidate's numbers on the models that report."""
        evidence = self.candidates[number].attack_scores(context)
        row = evaluation(context, evidence, delta=self.delta, models=fold(evidence.scores, REPORT))
        models, points = evidence.scores.shape
        if (models, points) != context.challenge_members.shape:
            name = self.candidates[number].label.removeprefix("evaluate ")
            row["notes"].append(f"{name}: won on {models} models and {points} points of the cell")
        return row


def _concerns(note: str, metric: str) -> bool:
    """Tells whether a winner's note is about the metric that it won."""
    rates = [fpr for fpr in FPRS if f"FPR {fpr:g} " in note]
    return not rates or metric in (f"tpr_at_fpr_{fpr:g}" for fpr in rates)
