"""Inverse Hessian: the shift of the weights by one example, given that all others are known."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from scipy.linalg import cho_factor, cho_solve, helmert
from scipy.special import log_softmax

from dpbench.arrays import Bools, Floats, Ints
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class InverseHessian(Attack):
    """The likelihood ratio of weights that SGD left near a minimum (Suri, Zhang and Evans 2024).

    With H the Hessian of the mean loss, g the gradient of the loss on z, L0 the mean loss over all
    other members, n the members counted with z, mu the momentum and lambda the learning rate:

        loss / (1 + mu) - (|H^-1 g|^2 / n + 2 (H^-1 grad L0) . (H^-1 g)) / lambda

    The adversary is an auditor who knows every training example but z. At a minimum the gradients
    of all members cancel, so grad L0 is -g / n if z is one of them and the second bracket changes
    its sign. It assumes a quadratic loss around the released weights, and training that has
    settled there. Here gradients and Hessian are those of the last affine layer, the layers below
    being held fixed: all there is in softmax regression, less in other networks. H is that of the
    whole pool, members or not, so that it says nothing about any bit; the sum over other members
    leaves z out before it is formed, so that a score is exactly independent of its own bit. The
    authors' terms for weight decay are left out. Matrices are in single precision: no eigenvalue is
    below the damping.

    Attributes:
        damping: Added to every eigenvalue of H; the authors' default.
        learning_rate: Step length lambda of the target's training.
        momentum: Its momentum mu.
        most_parameters: Networks whose last layer has more parameters, after those that no example
            moves are left out, are refused: time grows with their square, memory too.
    """

    version: ClassVar[int] = 2
    access: ClassVar[Access] = Access.WHITE_BOX
    knows_other_bits: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Suri, Zhang and Evans, Do Parameters Reveal More than Loss for Membership Inference?, "
        "TMLR 2024"
    )

    damping: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.2
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.05
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    most_parameters: Annotated[int, Field(ge=1)] = 4000

    @property
    def budget(self) -> int:
        """Features and logits."""
        return 2

    def score(self, view: View) -> Floats:
        """Returns the log-likelihood ratio, up to a factor and a constant.

        Raises:
            NotApplicable: There are no weights to see, the network does not end in an affine layer,
                or that layer is too large.
        """
        features, logits = view.target.features(), view.target.logits()
        points, width = features.shape[1:]
        parameters = (view.n_classes - 1) * min(points, width + 1)
        if parameters > self.most_parameters:
            raise NotApplicable(
                f"the last layer has {parameters} parameters, the limit is {self.most_parameters}"
            )
        scores, inputs = np.empty(view.members.shape), _inputs(features[0])
        for model, bits in enumerate(view.members):
            # Softmax regressions share their inputs; strides say so where arrays are views.
            if model > 0 and features.strides[0] > 0:
                inputs = _inputs(features[model])
            scores[model] = self._scores(inputs, logits[model], bits, view.labels)
        return scores

    def _scores(self, inputs: Floats, logits: Floats, members: Bools, labels: Ints) -> Floats:
        """Returns the scores `(n,)` on one model."""
        log_p = log_softmax(logits.astype(np.float64), axis=1)
        contrasts = helmert(logits.shape[1]).astype(np.float32)
        errors = np.exp(log_p).astype(np.float32)
        curvature = _hessian(inputs, errors, contrasts)
        curvature[np.diag_indices_from(curvature)] += np.float32(self.damping)
        # The Hessian needed the probabilities; from here on the array holds p - e_y.
        errors[np.arange(len(labels)), labels] -= 1
        gradients = (errors @ contrasts.T)[:, :, None] * inputs[:, None]
        # The matrix is symmetric; its transpose is in the order that LAPACK reads without a copy.
        factor = cho_factor(curvature.T, overwrite_a=True, check_finite=False)
        moves = cho_solve(factor, gradients.reshape(len(labels), -1).T, check_finite=False).T
        # n counts z as a member whatever its bit: a divisor that depended on it would reveal it.
        others = members.sum() - members
        along = (_sum_of_others(moves, members) * moves).sum(1) / np.maximum(others, 1)
        shift = np.square(moves).sum(1) / (others + 1) + 2 * along
        losses = -log_p[np.arange(len(labels)), labels]
        scores: Floats = losses / (1 + self.momentum) - shift / self.learning_rate
        return scores


def _inputs(features: Floats) -> Floats:
    """Returns inputs `(n, min(n, h + 1))` of a layer without bias, with the same inner products.

    With fewer examples than inputs these are coordinates in the space that the examples span: no
    example moves the weights out of it.
    """
    joined = np.concatenate([features, np.ones((len(features), 1))], axis=1, dtype=np.float64)
    if joined.shape[0] < joined.shape[1]:
        joined = np.linalg.qr(joined.T)[1].T
    return joined.astype(np.float32)


def _hessian(inputs: Floats, chances: Floats, contrasts: Floats) -> Floats:
    """Returns the Hessian `(p, p)` of the mean cross-entropy, p = (C - 1) q, class by class.

    Args:
        inputs: `(n, q)`.
        chances: `(n, C)` the probabilities.
        contrasts: `(C - 1, C)` orthonormal and of sum zero: a shift of all logits changes no loss,
            so that no gradient has another part.
    """
    classes, width = len(contrasts), inputs.shape[1]
    pairs = (contrasts[:, None] * contrasts).reshape(classes**2, -1)
    means = chances @ contrasts.T
    # diag(p) - p p^T of each example, in the coordinates of the contrasts.
    weights = (chances @ pairs.T).reshape(-1, classes, classes) - means[:, :, None] * means[:, None]
    hessian = np.empty((classes, width, classes, width), dtype=inputs.dtype)
    # Symmetric: blocks up to the diagonal are computed, the others copied.
    for one in range(classes):
        weighted = weights[:, one, : one + 1, None] * inputs[:, None]
        block = inputs.T @ weighted.reshape(len(inputs), -1) / len(inputs)
        hessian[one, :, : one + 1] = block.reshape(width, one + 1, width)
        hessian[: one + 1, :, one] = hessian[one, :, : one + 1].transpose(1, 2, 0)
    return hessian.reshape(classes * width, classes * width)


def _sum_of_others(values: Floats, members: Bools) -> Floats:
    """Returns `(n, p)` for each example the sum over all *other* members.

    It is the members before it plus those after it. To subtract an example from the sum of all
    would leave its rounding error, and with it a trace of its bit.
    """
    counted = values * members[:, None]
    total = np.zeros_like(values)
    np.cumsum(counted[:-1], axis=0, out=total[1:])
    total[:-1] += np.cumsum(counted[:0:-1], axis=0)[::-1]
    return total
