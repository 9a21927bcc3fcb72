"""BASE: the Bayes-optimal score, its normaliser estimated on shadow models."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from dpbench.arrays import Bools, Floats, Ints
from dpbench.attacks.base import Access, Attack, View
from dpbench.attacks.toolbox.confidence import cross_entropy, of_targets_and_shadows
from dpbench.attacks.toolbox.cross_fitting import tuned
from dpbench.attacks.toolbox.shadow_means import balanced_means, out_means
from dpbench.component import register

SCALES = tuple(step / 10 for step in range(11))


@register
@dataclass(frozen=True, kw_only=True)
class Base(Attack):
    """The target's log-confidence against the log of the shadows' mean confidence.

    Lassila et al. 2025: where models follow the Gibbs posterior of Sablayrolles et al. 2019, the
    optimal score is the soft minimum of the point's losses less the target's loss. With shadows for
    the soft minimum it is `log p - log mean p`, p the confidence in the true class. Online the mean
    is half the IN mean plus half the OUT mean, and p over it is RMIA's ratio: the two order a
    target's points alike, and RMIA alone calibrates across targets. Offline the score is
    `log p - scale log mean_OUT p`. It assumes that all points spread alike in log p.

    Attributes:
        mode: `online` uses shadows trained with and without the point, `offline` only without.
        temperature: Of the softmax, applied to released scores as a power `1 / temperature`.
        scale: How much of the OUT mean to take off, from 0 (a global threshold) to 1 (the soft
            minimum of MAST); without effect online. None tunes it for each half of the models by
            attacking shadows of the other half with one another.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Lassila, Ostman, Ngo and Graell i Amat, Practical Bayes-Optimal Membership Inference "
        "Attacks, NeurIPS 2025"
    )

    mode: Literal["online", "offline"] = "online"
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    scale: Annotated[float, Field(ge=0, le=1)] | None = None

    def score(self, view: View) -> Floats:
        """Returns the log-confidence, less the log of the shadows' mean.

        Raises:
            NotApplicable: There are no shadows, or too few to tune `scale`.
        """
        losses, shadow_losses = of_targets_and_shadows(view, self._loss)
        confidence = np.exp(-shadow_losses)
        if self.mode == "online":
            return -losses - np.log(balanced_means(confidence, view.members))
        scale = self._tuned(shadow_losses, view.members) if self.scale is None else self.scale
        return -losses - scale * np.log(out_means(confidence, view.members))

    def _loss(self, outputs: Floats, labels: Ints) -> Floats:
        # The loss depends on ratios of scores only, so the powers need not be normalised.
        return cross_entropy(outputs ** (1 / self.temperature), labels)

    def _tuned(self, losses: Floats, members: Bools) -> Floats:
        # The soft minimum does not depend on the scale: it is computed once for all candidates.
        def among(shadows: Ints) -> Callable[[float], Floats]:
            own = losses[shadows]
            threshold = np.log(out_means(np.exp(-own), members[shadows]))
            return lambda scale: -own - scale * threshold

        return tuned(SCALES, members, among)
