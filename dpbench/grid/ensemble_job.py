"""The combination of all attacks on a cell, taught on one half of the models."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.attacks import NotApplicable
from dpbench.attacks.ensemble import combination, normal_scores
from dpbench.grid.evaluate_job import REPORT, SELECT, EvaluateJob, evaluation, fold
from dpbench.grid.job import Context, Job, Output

Floats = NDArray[np.floating]


class _Evidence(NamedTuple):
    """Normal scores `(k, M, n)` of k attacks on the target, and on what the adversary knows."""

    targets: Floats
    source: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class EnsembleJob(Job):
    """Combines the attacks that ran on the whole cell; the result is `scores (M, n)` float32.

    The weights are learned on even models (of the undefended cell, if the attack is static), and
    the numbers are those of odd models. As with thresholds, what even models teach was computed
    with odd models among their shadows: one weight for each attack is all that passes.

    Attributes:
        candidates: The rows whose scores are combined.
        delta: Delta of the cell's claim.
    """

    name: ClassVar[str] = "ensemble"

    candidates: tuple[EvaluateJob, ...]
    delta: float

    @property
    def kind(self) -> str:
        """The job's kind."""
        return "evaluate"

    def run(self, context: Context) -> Output:
        """Returns the combination's numbers on the reporting half, and which rows it combines."""
        members = context.challenge_members
        rows = [
            number
            for number, job in enumerate(self.candidates)
            if context.store.has(job.key)
            and context.store.array(job.scores, "scores").shape == members.shape
        ]
        if len(rows) < 2:
            raise NotApplicable("fewer than two attacks ran on the whole cell")
        evidence = self._evidence(context, [self.candidates[row] for row in rows])
        taught_by = fold(members, SELECT)
        weights = combination(evidence.source[:, taught_by], members[taught_by])
        scores, source = (
            (weights[0] + np.tensordot(weights[1:], values, 1)).astype(np.float32)
            for values in evidence
        )
        uses_other_bits = any(job.uses_other_bits for job in self.candidates)
        row = evaluation(
            context,
            scores,
            source,
            delta=self.delta,
            uses_other_bits=uses_other_bits,
            models=fold(members, REPORT),
        )
        return Output(
            row | {"combined": rows, "weights": [float(weight) for weight in weights]},
            {"scores": scores},
        )

    def _evidence(self, context: Context, jobs: list[EvaluateJob]) -> _Evidence:
        store, even = context.store, fold(context.challenge_members, SELECT)
        targets, known = [], []
        for job in jobs:
            source = store.array(job.source, "scores")
            among = source[even]
            known.append(normal_scores(source, among))
            if job.source == job.scores:
                targets.append(known[-1])
            else:
                targets.append(normal_scores(store.array(job.scores, "scores"), among))
        return _Evidence(np.stack(targets), np.stack(known))
