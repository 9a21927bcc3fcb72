"""Yeom et al.'s second adversary: two zero-mean Gaussians explain the loss."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dpbench.arrays import Bools, Floats
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.toolbox.confidence import cross_entropy, of_targets_and_shadows
from dpbench.component import register

SMALLEST_DEVIATION = 1e-6
"""No deviation is taken to be smaller: on a label-only release all members may have loss 0."""


@register
@dataclass(frozen=True, kw_only=True)
class YeomGaussian(Attack):
    """Membership by `log N(loss; 0, sd_in) - log N(loss; 0, sd_out)`.

    Yeom et al. 2018, Adversary 2, which knows the standard errors of training and test loss and
    calls a point a member where the score is positive. Here each target's are the root mean squares
    of the losses of members and non-members of the other models. It assumes that losses are
    Gaussian around zero. Cross-entropy is positive and heavy-tailed instead, so a few badly wrong
    points set both deviations. For one target the score is a monotone function of the loss: it
    ranks as `malt` does, reversed if members have the larger losses.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Yeom, Giacomelli, Fredrikson and Jha, Privacy Risk in Machine Learning: Analyzing the "
        "Connection to Overfitting, CSF 2018"
    )

    def score(self, view: View) -> Floats:
        """Returns the log-likelihood ratio of the two Gaussians.

        Raises:
            NotApplicable: Some target has no shadow with, or without, any example.
        """
        losses, shadows = of_targets_and_shadows(view, cross_entropy)
        sd_in = root_mean_square_of_others(shadows, view.members)
        sd_out = root_mean_square_of_others(shadows, ~view.members)
        z_in, z_out = losses / sd_in, losses / sd_out
        return (z_out * z_out - z_in * z_in) / 2 + np.log(sd_out / sd_in)


def root_mean_square_of_others(losses: Floats, include: Bools) -> Floats:
    """Returns `(M, 1)` the root mean square of the included losses of all models but one.

    Args:
        losses: `(M, n)` losses.
        include: `(M, n)` whether a loss counts.

    Raises:
        NotApplicable: For some model nothing is left.
    """
    # A product with weight 0 for the target itself: exact, unlike a total minus its part.
    others = 1.0 - np.eye(len(losses))
    counts = others @ include.sum(1, dtype=np.float64)
    if counts.min() < 1:
        raise NotApplicable("two Gaussians need shadow models with, and without, some example")
    mean_squares = others @ np.where(include, losses * losses, 0.0).sum(1) / counts
    deviations: Floats = np.maximum(np.sqrt(mean_squares), SMALLEST_DEVIATION)
    return deviations[:, None]
