"""The combination of all attacks on a cell, taught on one half of the models."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.arrays import Floats
from dpbench.attacks import NotApplicable
from dpbench.attacks.ensemble import at_quantiles, combination, quantiles_of
from dpbench.game.attack_scores import AttackScores, evaluation, selection_strengths
from dpbench.game.evaluate import EvaluateJob
from dpbench.game.membership_game import MembershipGame
from dpbench.jobs.inputs import Inputs
from dpbench.jobs.job import Job, Output

_ARRAYS = ("scores", "selection", "source")


class _Taught(NamedTuple):
    """What one fold of models teaches.

    Attributes:
        quantiles: Of each attack's scores there.
        weights: Of the attacks, constant first.
        combined: `(m, n)` the combination of the scores that taught.
    """

    quantiles: list[Floats]
    weights: Floats
    combined: Floats

    def combine(self, scores: list[Floats]) -> Floats:
        """Returns the combination `(m, n)` of the attacks' scores `(m, n)` of some models."""
        return _weighted(self.weights, map(at_quantiles, scores, self.quantiles))


@dataclass(frozen=True, kw_only=True, eq=False)
class EnsembleJob(Job):
    """Combines the attacks that ran on the whole cell; the results are `(M, n)` float32.

    Every model's score is combined with weights that the other fold taught (of the undefended cell,
    if the attack is static). Selection scores and those on which thresholds are chosen are combined
    with the weights of their own fold, so that they depend on no bit of the other: a dozen weights
    learned from thousands of scores flatter these hardly.

    Attributes:
        candidates: The rows whose scores are combined.
        delta: Delta of the cell's claim.
    """

    name: ClassVar[str] = "ensemble"
    kind: ClassVar[str] = "ensemble"
    version: ClassVar[int] = 3
    rank: ClassVar[int] = 6
    tolerant: ClassVar[bool] = True

    candidates: tuple[EvaluateJob, ...]
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
        observed = self.candidates[0].scores.target.observe
        return f"ensemble of {len(self.candidates)} attacks on {observed.label}"

    @cached_property
    def seconds(self) -> float:
        """As long as all its rows take."""
        return len(self.candidates) * self.candidates[0].seconds

    def run(self, inputs: Inputs) -> Output:
        """Returns the combination's numbers, and which rows it combines."""
        found = {
            row: job.attack_scores(inputs)
            for row, job in enumerate(self.candidates)
            if inputs.has(job)
        }
        rows = [row for row, one in found.items() if one.scores.shape == self.shape]
        if len(rows) < 2:
            raise NotApplicable("fewer than two attacks ran on the whole cell")
        several = [found[row] for row in rows]
        members = self.game.challenge_members(self.shape[0])
        taught = [
            _teach([one.source[half::2] for one in several], members[half::2]) for half in (0, 1)
        ]
        arrays = _combined(several, taught)
        evidence = self._of_arrays(arrays, several)
        row = evaluation(self.game, evidence, delta=self.delta)
        return Output(
            row
            | {
                "combined": rows,
                "weights": [half.weights.tolist() for half in taught],
                "strengths": selection_strengths(self.game, evidence, delta=self.delta),
            },
            arrays,
        )

    def attack_scores(self, inputs: Inputs) -> AttackScores:
        """Returns the combination's scores."""
        arrays = {name: inputs.array(self, name) for name in _ARRAYS}
        return self._of_arrays(arrays, [])

    def _of_arrays(self, arrays: dict[str, Floats], several: list[AttackScores]) -> AttackScores:
        notes = dict.fromkeys(note for one in several for note in one.notes)
        uses_other_bits = any(job.uses_other_bits for job in self.candidates)
        return AttackScores(
            arrays["scores"], arrays["selection"], arrays["source"], uses_other_bits, tuple(notes)
        )


def _teach(scores: list[Floats], members: NDArray[np.bool_]) -> _Taught:
    quantiles = [quantiles_of(own) for own in scores]
    normal = np.stack([*map(at_quantiles, scores, quantiles)])
    weights = combination(normal, members)
    return _Taught(quantiles, weights, _weighted(weights, normal))


def _weighted(weights: Floats, normal: Iterable[Floats]) -> Floats:
    """Returns the weighted sum `(m, n)` of normal scores `(m, n)`; the first weight is added."""
    total: Floats = np.asarray(weights[0])
    for weight, values in zip(weights[1:], normal, strict=True):
        total = total + weight * values
    return total.astype(np.float32)


def _combined(several: list[AttackScores], taught: list[_Taught]) -> dict[str, Floats]:
    """Returns the combinations of targets', selecting and known models' scores."""
    same = all(one.selection is one.source for one in several)
    scores, source = np.empty((2, *several[0].scores.shape), np.float32)
    selection = source if same else np.empty_like(source)
    for half in (0, 1):
        own, other, some = taught[half], taught[1 - half], np.s_[half::2]
        scores[some] = other.combine([one.scores[some] for one in several])
        source[some] = own.combined
        if not same:
            selection[some] = own.combine([one.selection[some] for one in several])
    return dict(zip(_ARRAYS, (scores, selection, source), strict=True))
