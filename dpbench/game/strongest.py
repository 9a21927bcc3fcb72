"""The strongest attack of a cell, by each metric."""

import operator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from dpbench.game.attack_scores import REPORT, SELECT, AttackScores, evaluation
from dpbench.game.ensemble import EnsembleJob
from dpbench.game.evaluate import EvaluateJob
from dpbench.game.membership_game import MembershipGame
from dpbench.jobs.inputs import Inputs
from dpbench.jobs.job import Job, Output
from dpbench.metrics.paired import PAIRED, Resampling, combine, resolvable, standard_error
from dpbench.metrics.strength import FPRS, chosen_by, fold, strongest
from dpbench.seeds import rng_for

_REPLICATES = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class StrongestJob(Job):
    """The strongest attack of a cell: chosen on one half of the models, reported on the other.

    Each metric has a winner of its own. Attacks on the whole cell, and the ensemble of them, are
    compared on all models that select; an attack on part of the cell is then compared with the
    winner where both ran, and takes its place if it is stronger by more than one standard error.
    """

    name: ClassVar[str] = "best"
    kind: ClassVar[str] = "strongest"
    version: ClassVar[int] = 3
    rank: ClassVar[int] = 7
    tolerant: ClassVar[bool] = True

    candidates: tuple[EvaluateJob | EnsembleJob, ...]
    delta: float

    @property
    def game(self) -> MembershipGame:
        """The data and the bits behind the models."""
        return self.candidates[0].game

    @property
    def shape(self) -> tuple[int, int]:
        """Models and challenge points of the cell."""
        return self.candidates[0].shape

    @property
    def label(self) -> str:
        """What it does."""
        ensemble = self.candidates[-1].label.removeprefix("ensemble of ")
        return f"strongest of {ensemble}"

    @cached_property
    def seconds(self) -> float:
        """About as long as one row takes."""
        return self.candidates[0].seconds

    def run(self, inputs: Inputs) -> Output:
        """Returns the winners' numbers on the reporting half, and which candidates won."""
        winners = self._winners(inputs)
        rows = {number: self._reported(inputs, number) for number in set(winners.values())}
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

    def _winners(self, inputs: Inputs) -> dict[str, int]:
        """Returns the number of the strongest candidate by metric."""
        size = list(self.shape)
        records = {
            number: inputs.record(job)
            for number, job in enumerate(self.candidates)
            if inputs.has(job)
        }
        whole = [number for number, record in records.items() if record["extent"] == size]
        found = {number: records[number]["strengths"] for number in whole or records}
        winners = strongest(found)
        # Scores are read two at a time: those of a thousand models are hundreds of megabytes.
        for number in sorted(set(records) - set(found)):
            part = self.candidates[number].attack_scores(inputs)
            for metric in PAIRED:
                other = self.candidates[winners[metric]].attack_scores(inputs)
                if self._beats(metric, part, other):
                    winners[metric] = number
        return winners

    def _beats(self, metric: str, part: AttackScores, other: AttackScores) -> bool:
        """Tells whether an attack on part of a cell is stronger there than another attack."""
        models, points = np.minimum(part.scores.shape, other.scores.shape)
        members = self.game.challenge_members(self.shape[0])[SELECT:models:2, :points]
        if len(members) < 2 or not resolvable(metric, members):
            return False
        resampling = Resampling(
            models=len(members),
            examples=int(points),
            tests=1,
            rng=rng_for(self.game.seed, "part of a cell"),
            replicates=_REPLICATES,
        )
        values = [
            resampling.metric(metric, one.selection[SELECT:models:2, :points], members)
            for one in (part, other)
        ]
        gain = combine(operator.sub, *values)
        return gain.value > standard_error(gain, models=len(members), examples=int(points))

    def _reported(self, inputs: Inputs, number: int) -> dict[str, Any]:
        """Returns a candidate's numbers on the models that report."""
        evidence = self.candidates[number].attack_scores(inputs)
        report = fold(evidence.scores, REPORT)
        row = evaluation(self.game, evidence, delta=self.delta, models=report)
        models, points = evidence.scores.shape
        if (models, points) != self.shape:
            name = self.candidates[number].label.removeprefix("evaluate ")
            row["notes"].append(f"{name}: won on {models} models and {points} points of the cell")
        return row


def _concerns(note: str, metric: str) -> bool:
    """Tells whether a winner's note is about the metric that it won."""
    rates = [fpr for fpr in FPRS if f"FPR {fpr:g} " in note]
    return not rates or metric in (f"tpr_at_fpr_{fpr:g}" for fpr in rates)
