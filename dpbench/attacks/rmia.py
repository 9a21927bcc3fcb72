"""RMIA: the target's confidence in the point against its confidence in public points."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from dpbench.arrays import Bools, Floats, Ints
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.toolbox.confidence import cross_entropy, of_targets_and_shadows
from dpbench.attacks.toolbox.cross_fitting import tuned
from dpbench.attacks.toolbox.shadow_means import balanced_means, means_of_all, out_means
from dpbench.component import register

SCALES = tuple(step / 10 for step in range(11))
"""The grid on which the paper's code tunes `a`."""


@register
@dataclass(frozen=True, kw_only=True)
class Rmia(Attack):
    """The share of public points z that the point x beats in a pairwise likelihood ratio.

    Zarifzadeh et al. 2024: `score(x) = Pr_z[LR(x, z) > gamma]`, with
    `LR(x, z) = (p_theta(x) / p(x)) / (p_theta(z) / p(z))` and p the confidence in the true class.
    The normaliser p(x) is the mean over all models: online half the IN plus half the OUT mean,
    offline `((1 + a) mean_OUT + 1 - a) / 2`, which models the IN mean as `a mean_OUT + 1 - a`.
    Nothing was trained on z, so p(z) is the plain mean, mapped like p(x) when offline. It assumes
    public points drawn like the pool. Scores are multiples of 1/r for r public points: an FPR
    well above 1/r is all that can be aimed at, and points that beat every z tie at 1.

    Attributes:
        mode: `online` uses shadows trained with and without the point, `offline` only without.
        gamma: By how much x must beat z. Within one target it moves ties only; across targets it
            moves where the comparison is made.
        a: The offline scale; without effect online. None tunes it for each half of the models by
            attacking shadows of the other half with one another.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Zarifzadeh, Liu and Shokri, Low-Cost High-Power Membership Inference Attacks, ICML 2024"
    )

    mode: Literal["online", "offline"] = "online"
    gamma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    a: Annotated[float, Field(ge=0, le=1)] | None = None

    @property
    def budget(self) -> int:
        """The point, and the public points as one more."""
        return 2

    def score(self, view: View) -> Floats:
        """Returns the share of public points that each point beats.

        Raises:
            NotApplicable: There are no public points, no shadows, or too few to tune `a`.
        """
        if len(view.reference_labels) == 0:
            raise NotApplicable("RMIA compares with public points, and there are none")
        losses, shadow_losses = of_targets_and_shadows(view, cross_entropy)
        public = replace(view, labels=view.reference_labels)
        z_losses, z_shadow_losses = of_targets_and_shadows(
            public, cross_entropy, view.reference_inputs
        )
        online = self.mode == "online"
        normaliser = (balanced_means if online else out_means)(np.exp(-shadow_losses), view.members)
        z_normaliser = means_of_all(np.exp(-z_shadow_losses))
        a: Floats | float = 1.0
        if not online:
            a = self._tuned(shadow_losses, view.members) if self.a is None else self.a
        scales = np.broadcast_to(a, (len(losses), 1))
        shares = np.empty(losses.shape)
        # One target at a time, to bound memory. Ratios are in logarithms, since confidences go down
        # to 1e-45.
        for target, scale in enumerate(scales):
            own, z_own = normaliser[target], z_normaliser[target]
            if not online:
                own, z_own = _average(own, scale), _average(z_own, scale)
            ratios = -losses[target] - np.log(own) - np.log(self.gamma)
            shares[target] = _shares_beaten(ratios, -z_losses[target] - np.log(z_own))
        return shares

    def _tuned(self, losses: Floats, members: Bools) -> Floats:
        # Within one model the score rises with the ratio of x: public points change no AUC.
        def among(shadows: Ints) -> Callable[[float], Floats]:
            own = losses[shadows]
            mean = out_means(np.exp(-own), members[shadows])
            return lambda a: -own - np.log(_average(mean, a))

        return tuned(SCALES, members, among)


def _average(out_mean: Floats, a: Floats | float) -> Floats:
    """Returns the mean over both sides, with the IN mean modelled as `a out_mean + 1 - a`."""
    average: Floats = ((1 + a) * out_mean + (1 - a)) / 2
    return average


def _shares_beaten(ratios: Floats, z_ratios: Floats) -> Floats:
    """Returns `(n,)` the share of a target's `z_ratios (r,)` strictly below each ratio."""
    shares: Floats = np.searchsorted(np.sort(z_ratios), ratios, "left") / len(z_ratios)
    return shares
