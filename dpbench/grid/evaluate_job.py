"""Turning scores and bits into the numbers of one row."""

from dataclasses import dataclass

import numpy as np

from dpbench.attacks import NotApplicable
from dpbench.grid.attack_scores import AttackScores, evaluation, selection_strengths
from dpbench.grid.job import Context, Job, Output

_NOT_APART = "too few models in each half: thresholds were chosen with the targets' own bits"


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluateJob(Job):
    """Evaluates one attack's scores; thresholds come from `source`, on other models.

    Attributes:
        scores: Key of the attack job.
        selection: Key of the same attack within folds: each model has the shadows of its own fold.
        source: Key of the attack within folds on the models that the adversary knows.
        delta: Delta of the cell's claim.
        uses_other_bits: A score uses other bits: those of the shadows, or of other points.
    """

    scores: str
    selection: str
    source: str
    delta: float
    uses_other_bits: bool

    @property
    def kind(self) -> str:
        """The job's kind."""
        return "evaluate"

    def run(self, context: Context) -> Output:
        """Returns a row's numbers, and how strong the attack is on the models that select."""
        evidence = self.attack_scores(context)
        if np.ptp(evidence.scores) == 0 and np.ptp(evidence.source) == 0:
            raise NotApplicable("every score is equal: the attack decided nothing")
        row = evaluation(context, evidence, delta=self.delta)
        return Output(row | {"strengths": selection_strengths(context, evidence, delta=self.delta)})

    def attack_scores(self, context: Context) -> AttackScores:
        """Returns the attack's scores."""
        found = {
            key: context.store.array(key, "scores")
            for key in {self.scores, self.selection, self.source}
        }
        whole = found[self.scores]
        # Folds of few models have no scores of their own: then all models calibrate.
        apart = all(scores.size for scores in found.values())
        return AttackScores(
            whole,
            found[self.selection] if found[self.selection].size else whole,
            found[self.source] if found[self.source].size else whole,
            self.uses_other_bits,
            () if apart else (_NOT_APART,),
        )
