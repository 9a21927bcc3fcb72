"""Morgan: Merlin's ratio, for losses in the range where members are."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from dpbench.arrays import Bools, Floats
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.merlin import merlin_ratio
from dpbench.attacks.toolbox.confidence import cross_entropy, of_targets_and_shadows
from dpbench.attacks.toolbox.cross_fitting import halves
from dpbench.component import register

QUANTILES = np.linspace(0, 1, 21)
"""Of the shadows' losses: where the range may begin and end."""


@register
@dataclass(frozen=True, kw_only=True)
class Morgan(Attack):
    """Merlin's ratio where the loss lies in a range learned on shadows, and less everywhere else.

    Jayaraman et al. 2021: a point is called a member when its loss lies in `[phi_1, phi_2]` and its
    Merlin ratio is at least `phi_3`. The range is learned on shadow models, of the half that the
    target is not in: the pair of loss quantiles with the largest TPR minus FPR (the paper picks the
    three thresholds by precision at one FPR). The score leaves `phi_3` free: the ratio within the
    range, the ratio minus 2 outside. It assumes that members' losses share one range.

    Attributes:
        copies: Noisy copies of each point, the same for all models; the paper takes 100.
        scale: Standard deviation of the Gaussian noise on every feature, binary ones included, as a
            share of a raw unit.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Jayaraman, Wang, Knipmeyer, Gu and Evans, Revisiting Membership Inference Under Realistic "
        "Assumptions, PETS 2021"
    )

    copies: Annotated[int, Field(ge=1)] = 32
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01

    @property
    def budget(self) -> int:
        """The point and its copies."""
        return self.copies + 1

    def score(self, view: View) -> Floats:
        """Returns the Merlin ratio, minus 2 where the loss is out of range.

        Raises:
            NotApplicable: There is only one model, hence no shadow.
        """
        if len(view.members) < 2:
            raise NotApplicable("there is only one model, hence no shadow")
        losses, shadow_losses = of_targets_and_shadows(view, cross_entropy)
        within = np.empty(losses.shape, bool)
        for scored, taught_by in halves(len(losses)):
            low, high = _best_range(shadow_losses[taught_by], view.members[taught_by])
            within[scored] = (losses[scored] >= low) & (losses[scored] <= high)
        ratio = merlin_ratio(view, losses, copies=self.copies, scale=self.scale)
        # Ratios lie in [0, 1]: minus 2, all points out of range rank below all others.
        return np.where(within, ratio, ratio - 2)


def _best_range(losses: Floats, members: Bools) -> tuple[float, float]:
    """Returns the two quantiles of the losses between which TPR minus FPR is largest."""
    edges = np.quantile(losses, QUANTILES)
    # The outermost ranges are open: a target's loss may lie beyond those of all shadows.
    edges[[0, -1]] = -np.inf, np.inf
    inside, outside = np.sort(losses[members]), np.sort(losses[~members])
    if not (inside.size and outside.size):
        return -np.inf, np.inf
    # Share of IN minus share of OUT, before each lower edge and up to each upper edge.
    before = _share(inside, edges, "left") - _share(outside, edges, "left")
    up_to = _share(inside, edges, "right") - _share(outside, edges, "right")
    advantage = up_to[None, :] - before[:, None]
    # A range cannot end before it begins.
    advantage[np.tril_indices(len(edges), -1)] = -np.inf
    low, high = np.unravel_index(int(np.argmax(advantage)), advantage.shape)
    return float(edges[low]), float(edges[high])


def _share(ranked: Floats, edges: Floats, side: Literal["left", "right"]) -> Floats:
    share: Floats = np.searchsorted(ranked, edges, side) / ranked.size
    return share
