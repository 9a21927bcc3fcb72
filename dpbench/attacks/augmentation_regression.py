"""Augmentation regression: a classifier for each point on which of its views are recognised."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.correctness import right_targets_and_shadows
from dpbench.attacks.noise_robustness import perturbed
from dpbench.attacks.toolbox.augmented import augmented
from dpbench.attacks.toolbox.pattern_regression import MOST_BITS, left_out_log_odds
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class AugmentationRegression(Attack):
    """The log odds of membership from the views of a point that a model is right about.

    The adaptive attack of Aerni, Zhang and Tramer 2024 on defenses that hide all but the label
    (HAMP): for every point, a logistic regression (C = 1) on the correctness of `queries` views
    fitted on all models but the target. Views of images are mirrored and shifted copies
    (`augmented`); of other inputs, the point itself and noisy copies as in `noise_robustness`. It
    assumes shadows trained like the target, and enough of them for as many weights as views.

    Attributes:
        queries: Views of each point.
        scale: Standard deviation of the noise on continuous features, as a share of a raw unit.
        flip_probability: Chance that a binary feature flips; None flips 3 of a point on average.
    """

    access: ClassVar[Access] = Access.LABEL
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Aerni, Zhang and Tramer, Evaluations of Machine Learning Privacy Defenses are "
        "Misleading, ACM CCS 2024"
    )

    queries: Annotated[int, Field(ge=1, le=MOST_BITS)] = 10
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    flip_probability: Annotated[float, Field(gt=0, lt=1)] | None = None

    @property
    def budget(self) -> int:
        """One query for each view."""
        return self.queries

    def score(self, view: View) -> Floats:
        """Returns the log odds of membership.

        Raises:
            NotApplicable: There is only one model, hence no shadow.
        """
        if len(view.members) < 2:
            raise NotApplicable("there is only one model, hence no shadow")
        # Targets and shadows are asked about the same copies, so that their patterns compare.
        asked = [right_targets_and_shadows(view, inputs) for inputs in self._views(view)]
        observed, shadows = (np.stack(bits, -1) for bits in zip(*asked, strict=True))
        return left_out_log_odds(observed, shadows, view.members)

    def _views(self, view: View) -> Iterator[Floats | None]:
        """Yields the views; None is the points themselves."""
        if view.is_image:
            yield from augmented(view.inputs, self.queries)
            return
        yield None
        for _ in range(self.queries - 1):
            yield perturbed(view, scale=self.scale, flip_probability=self.flip_probability)
