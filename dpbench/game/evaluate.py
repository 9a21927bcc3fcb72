"""Turning scores and bits into the numbers of one row."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from dpbench.attacks import NotApplicable
from dpbench.game.attack import AttackJob
from dpbench.game.attack_scores import AttackScores, evaluation, selection_strengths
from dpbench.game.cost import SECONDS_PER_EVALUATION
from dpbench.game.membership_game import MembershipGame
from dpbench.jobs.inputs import Inputs
from dpbench.jobs.job import Job, Output

_NOT_APART = "too few models in each half: thresholds were chosen with the targets' own bits"


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluateJob(Job):
    """Evaluates one attack's scores; thresholds come from `source`, on other models.

    Attributes:
        scores: The attack.
        selection: The same attack within folds: each model has the shadows of its own fold.
        source: The attack within folds on the models that the adversary knows.
        delta: Delta of the cell's claim.
    """

    kind: ClassVar[str] = "evaluate"
    version: ClassVar[int] = 3
    rank: ClassVar[int] = 5

    scores: AttackJob
    selection: AttackJob
    source: AttackJob
    delta: float

    @property
    def game(self) -> MembershipGame:
        """The data and the bits behind the models."""
        return self.scores.game

    @property
    def shape(self) -> tuple[int, int]:
        """Models and challenge points of the whole cell, whatever part the attack ran on."""
        return self.scores.target.models.n_models, self.game.challenges

    @property
    def uses_other_bits(self) -> bool:
        """Whether a score uses other bits: those of the shadows, or of other points."""
        return self.scores.attack.needs_shadows or self.scores.attack.knows_other_bits

    @property
    def label(self) -> str:
        """What it does."""
        return f"evaluate {self.scores.label}"

    @cached_property
    def seconds(self) -> float:
        """In proportion to the scores of the whole cell."""
        models, points = self.shape
        return SECONDS_PER_EVALUATION * models * points

    def run(self, inputs: Inputs) -> Output:
        """Returns a row's numbers, and how strong the attack is on the models that select."""
        evidence = self.attack_scores(inputs)
        if np.ptp(evidence.scores) == 0 and np.ptp(evidence.source) == 0:
            raise NotApplicable("every score is equal: the attack decided nothing")
        row = evaluation(self.game, evidence, delta=self.delta)
        strengths = selection_strengths(self.game, evidence, delta=self.delta)
        return Output(row | {"strengths": strengths})

    def attack_scores(self, inputs: Inputs) -> AttackScores:
        """Returns the attack's scores."""
        jobs = {job.key: job for job in (self.scores, self.selection, self.source)}
        found = {key: inputs.array(job, "scores") for key, job in jobs.items()}
        whole, selection, source = (
            found[job.key] for job in (self.scores, self.selection, self.source)
        )
        # Folds of few models have no scores of their own: then all models calibrate.
        apart = all(scores.size for scores in found.values())
        return AttackScores(
            whole,
            selection if selection.size else whole,
            source if source.size else whole,
            self.uses_other_bits,
            () if apart else (_NOT_APART,),
        )
