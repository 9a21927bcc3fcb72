"""Attack D: the rank of the target's loss among those of its own students."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.toolbox.confidence import logit
from dpbench.component import register

SMALLEST_WIDTH = 1e-6
"""No deviation is taken to be smaller: students of a label-only release often agree exactly."""


@register
@dataclass(frozen=True, kw_only=True)
class AttackD(Attack):
    """How the target's loss stands among the losses of models distilled from the target itself.

    Ye et al. 2022, attack D: students learn from public points, labelled softly by the target. They
    agree with the target on points like the public ones, and saw no challenge point: their losses
    on a point are those of a model like *this* target that was not trained on it. No shadow and no
    membership bit is used. The point is called a member when the target's loss lies below the
    alpha-quantile of its students' losses. It assumes that students differ from the target by the
    point only: a student that copies the target's memory of a point through its neighbours hides
    membership, and students that learned less than the target make every point look like a member.

    Attributes:
        students: Students S of each target. They are by far the cost of the attack: S trainings for
            every target.
        smoothing: `gaussian`: the score is `(phi - mean) / deviation` of the students' logit-scaled
            confidences, whose deviations are pooled over points, so that few students do; `none`,
            the paper's empirical quantile: the share of students with a higher loss.
    """

    access: ClassVar[Access] = Access.SCORE
    reference: ClassVar[str] = (
        "Ye, Maddi, Murakonda, Bindschaedler and Shokri, Enhanced Membership Inference Attacks "
        "against Machine Learning Models, CCS 2022"
    )

    students: Annotated[int, Field(ge=2)] = 4
    smoothing: Literal["gaussian", "none"] = "gaussian"

    @property
    def budget(self) -> int:
        """The challenge points; the public points that students learn from are one more query."""
        return 2

    @property
    def n_students(self) -> int:
        """Students of each target."""
        return self.students

    def score(self, view: View) -> Floats:
        """Returns the z-score among the students, or the share of them that do worse.

        Raises:
            NotApplicable: There are no students: no public point to learn from.
        """
        if view.students is None:
            raise NotApplicable("these models have no students")
        observed = logit(view.target.scores(), view.labels)
        # Students of all targets stand side by side, as if they were models of one cell.
        outputs = view.students()
        students = logit(outputs.reshape(-1, *outputs.shape[2:]), view.labels)
        return standing(observed, students.reshape(outputs.shape[:3]), self.smoothing)


def standing(observed: Floats, students: Floats, smoothing: Literal["gaussian", "none"]) -> Floats:
    """Returns `(M, n)` where each target stands among its own students.

    Args:
        observed: `(M, n)` the targets' statistic.
        students: `(M, S, n)` that of their students.
        smoothing: As in `AttackD`.
    """
    if smoothing == "none":
        # Masked releases tie often; half a tie ranks the target in the middle of its equals.
        below = (observed[:, None] > students) + 0.5 * (observed[:, None] == students)
        share: Floats = below.mean(1)
        return share
    deviation = np.sqrt(students.var(1, ddof=1).mean(1, keepdims=True))
    score: Floats = (observed - students.mean(1)) / np.maximum(deviation, SMALLEST_WIDTH)
    return score
