"""Ridge regression of many responses on the same features, with one decomposition for all."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from dpbench.arrays import Floats

PENALTIES = np.logspace(-9, 1, 21)
"""Penalties that are tried, in units of the largest eigenvalue of the features' Gram matrix."""


class Fit(NamedTuple):
    """The regressions of q responses.

    Attributes:
        shrinkage: `(k,)` the factor by which each principal direction is shrunk.
        intercepts: `(q,)`
        coefficients: `(p, q)`
        fitted: `(r, q)` the predicted responses.
        held_out: `(r, q)` each response predicted from the other r - 1.
    """

    shrinkage: Floats
    intercepts: Floats
    coefficients: Floats
    fitted: Floats
    held_out: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Ridge:
    """Features `(r, p)`, centred and decomposed: A = U sqrt(w) V^T.

    Attributes:
        center: `(p,)` mean features.
        directions: `(r, k)` U, the left singular vectors.
        loadings: `(p, k)` V / sqrt(w), which takes responses along U to coefficients.
        eigenvalues: `(k,)` w, those of A^T A that are not zero.
    """

    center: Floats
    directions: Floats
    loadings: Floats
    eigenvalues: Floats

    @classmethod
    def of(cls, features: Floats) -> Self:
        """Decomposes features `(r, p)`, in O(r p^2)."""
        center = features.mean(0)
        centred = features - center
        values, vectors = np.linalg.eigh(centred.T @ centred)
        # Smaller eigenvalues are mostly rounding errors of the Gram matrix, and loadings divide by
        # their roots.
        kept = values > 1e-10 * max(values[-1], np.finfo(np.float64).tiny)
        loadings = vectors[:, kept] / np.sqrt(values[kept])
        return cls(
            center=center,
            directions=centred @ loadings,
            loadings=loadings,
            eigenvalues=values[kept],
        )

    def fit(self, responses: Floats) -> Fit:
        """Fits responses `(r, q)` with the one penalty that generalised cross-validation prefers.

        The unpenalised intercept aside, a fit may use at most half as many degrees of freedom as
        there are rows: beyond that, cross-validation rewards interpolation.
        """
        rows = len(responses)
        intercepts = responses.mean(0)
        centred = responses - intercepts
        along = self.directions.T @ centred
        shrinkage = self._preferred(along, (centred * centred).sum(0), rows)
        fitted = self.directions @ (shrinkage[:, None] * along) + intercepts
        leverage = (self.directions * self.directions) @ shrinkage + 1 / rows
        # A linear smoother's leave-one-out residuals follow from its leverages, without refitting.
        return Fit(
            shrinkage=shrinkage,
            intercepts=intercepts,
            coefficients=self.loadings @ (shrinkage[:, None] * along),
            fitted=fitted,
            held_out=responses - (responses - fitted) / (1 - leverage)[:, None],
        )

    def predict(self, fit: Fit, features: Floats) -> Floats:
        """Returns predicted responses `(n, q)` at features `(n, p)`."""
        predicted: Floats = (features - self.center) @ fit.coefficients + fit.intercepts
        return predicted

    def _preferred(self, along: Floats, total: Floats, rows: int) -> Floats:
        """Returns the shrinkage with the smallest cross-validated error, summed over responses."""
        best, preferred = np.inf, np.zeros(len(along))
        scale = np.maximum(total, np.finfo(np.float64).tiny)
        for penalty in PENALTIES * self.eigenvalues.max(initial=0.0):
            shrinkage = self.eigenvalues / (self.eigenvalues + penalty)
            # Generalised cross-validation (Golub, Heath and Wahba 1979). The intercept takes one
            # degree of freedom.
            freedom = shrinkage.sum() + 1
            if freedom > rows / 2 + 1:
                continue
            explained = (1 - (1 - shrinkage) ** 2) @ (along * along)
            error = float(((total - explained) / scale).sum() / (1 - freedom / rows) ** 2)
            if error < best:
                best, preferred = error, shrinkage
        return preferred
