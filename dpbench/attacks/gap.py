"""The gap attack: whatever is classified correctly was a member."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, View
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class Gap(Attack):
    """Calls a correctly classified point a member: the floor of every label-only attack.

    Yeom et al. 2018, Adversary 1 with the 0-1 loss: its advantage is exactly train accuracy minus
    test accuracy on the same points (their Theorem 2). No defense that keeps the predicted label
    changes it.
    """

    access: ClassVar[Access] = Access.LABEL
    reference: ClassVar[str] = (
        "Yeom, Giacomelli, Fredrikson and Jha, Privacy Risk in Machine Learning: Analyzing the "
        "Connection to Overfitting, CSF 2018"
    )

    def score(self, view: View) -> Floats:
        """Returns 1 where the predicted label is the true one, else 0."""
        correct = view.target.predictions() == view.labels
        return np.asarray(correct, dtype=np.float64)
