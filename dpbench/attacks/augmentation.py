"""Data augmentation: members keep their label when shifted or turned."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, NotApplicable, Oracle, View
from dpbench.attacks.toolbox.image_copies import diamond, shifted, turned
from dpbench.attacks.toolbox.shadow_classifier import as_they_are, membership_log_odds
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class Augmentation(Attack):
    """A classifier for each class on which copies of an image keep their true label.

    The data-augmentation attack of Choquette-Choo et al. 2021. The bits of the copies go to a ridge
    logistic regression for each class, trained on the shadows of the half of the models that the
    target is not in; the paper trains a perceptron with two layers of ten units. It assumes that
    training makes models right around members too, as training with the same copies does.

    Attributes:
        transform: `translations` are the image and all shifts with |down| + |right| = d, where
            uncovered pixels repeat the edge; `rotations` are the image and two copies, turned by r
            degrees to either side. (The official code takes 2 r + 1 angles.)
        magnitude: d in pixels, or r in degrees.
    """

    access: ClassVar[Access] = Access.LABEL
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Choquette-Choo, Tramer, Carlini and Papernot, Label-Only Membership Inference Attacks, "
        "ICML 2021"
    )

    transform: Literal["rotations", "translations"] = "translations"
    magnitude: Annotated[int, Field(ge=1)] = 1

    @property
    def budget(self) -> int:
        """Three images, or 4 d + 1."""
        return 3 if self.transform == "rotations" else 4 * self.magnitude + 1

    def score(self, view: View) -> Floats:
        """Returns the log odds of membership.

        Raises:
            NotApplicable: The inputs are not images, or there is only one model, hence no shadow.
        """
        if not view.is_image:
            raise NotApplicable("only images can be shifted and turned")
        observed = self._right(view.target, view)
        shadows = observed if view.shadows is view.target else self._right(view.shadows, view)
        return membership_log_odds(
            observed, shadows, view.members, groups=view.labels, features=as_they_are
        )

    def _right(self, oracle: Oracle, view: View) -> Floats:
        """Returns `(M, n, copies)` 1 where a model is right about a copy, else 0."""
        bits = [oracle.predictions(copy) == view.labels for copy in self._copies(view.inputs)]
        return np.stack(bits, axis=-1).astype(np.float32)

    def _copies(self, images: Floats) -> Iterator[Floats | None]:
        """Yields the copies; None is the image itself."""
        yield None
        if self.transform == "rotations":
            for degrees in (self.magnitude, -self.magnitude):
                yield turned(images, degrees)
        else:
            for down, right in diamond(self.magnitude)[1:]:
                yield shifted(images, down, right)
