"""One logistic regression for each example and target, on few bits of few models, all at once.

The fit for target t and example i sees the bits that the *other* models have for i. Fits that leave
out equal rows are one and the same, so there are as many fits as distinct rows, not as models. What
a fit sees is laid out in an order of its own (distinct patterns, sorted, with their counts) and it
stops by its own criterion: its result does not depend, even in rounding, on the row it leaves out.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from dpbench.arrays import Bools, Floats, Ints

MOST_STEPS, MOST_DAMPED_STEPS = 20, 200
TOLERANCE = 1e-5
"""Of the last step: Newton's method squares the error, so about 1e-10 is left."""
SMALLEST = 1e-12
"""Penalty on the constant: a fit that runs away must not make the equations singular."""
MOST_BITS = 60
"""A pattern and a membership bit are one 64-bit integer."""
BLOCK = 1 << 21
"""Numbers in the largest buffer: 16 MB."""


def left_out_log_odds(observed: Bools, shadows: Bools, members: Bools) -> Floats:
    """Returns `(M, n)` each target's log odds of membership by a fit on the other models.

    The fit minimises `sum of log-losses + |w|^2 / 2` with a free constant: scikit-learn's
    `LogisticRegression(C=1)`. Where the other models' bits are all alike there is nothing to fit:
    the log odds are 0.

    Args:
        observed: `(M, n, q)` the bits of the targets.
        shadows: `(M, n, q)` the bits of the shadows.
        members: `(M, n)` the shadows' membership bits.
    """
    points, bits = shadows.shape[1:]
    places = 1 << np.arange(1, bits + 1)
    rows = shadows @ places + members  # the pattern, with the membership bit in the lowest place
    point = np.broadcast_to(np.arange(points), rows.shape)
    order = np.lexsort([rows.ravel(), point.ravel()])
    new = np.ones(rows.size, bool)
    sorted_rows, sorted_points = rows.ravel()[order], point.ravel()[order]
    new[1:] = (np.diff(sorted_rows) != 0) | (np.diff(sorted_points) != 0)
    fit = np.empty(rows.size, np.int64)
    fit[order] = np.cumsum(new) - 1
    left_out = _Rows(sorted_points[new], sorted_rows[new])
    weights = _fits(left_out, np.sort(rows, axis=0).T, bits)[fit.reshape(rows.shape)]
    log_odds: Floats = weights[..., 0] + (weights[..., 1:] * observed).sum(-1)
    return log_odds


class _Rows(NamedTuple):
    """The row that each fit leaves out, and its example."""

    point: Ints
    row: Ints


class _Table(NamedTuple):
    """The data of f fits, `(f, p)`: patterns, and how many models IN and OUT have each."""

    pattern: Ints
    inside: Floats
    outside: Floats


def _fits(left_out: _Rows, rows: Ints, bits: int) -> Floats:
    """Returns the weights `(f, q + 1)`, constant first.

    Args:
        left_out: One row for each fit.
        rows: `(n, M)` every example's rows, sorted.
        bits: q.
    """
    weights = np.zeros((len(left_out.row), bits + 1))
    # Tables are as wide as there are models, so those of all fits at once may not fit into memory.
    for start in range(0, len(weights), 1 << 14):
        part = slice(start, start + (1 << 14))
        table = _tables(_Rows(left_out.point[part], left_out.row[part]), rows)
        patterns = (table.inside + table.outside > 0).sum(1)
        both = (table.inside.sum(1) > 0) & (table.outside.sum(1) > 0)
        # As wide as the fit's own patterns need: other fits must not change its rounding.
        widths = 1 << np.ceil(np.log2(np.maximum(patterns, 1))).astype(np.int64)
        for width in np.unique(widths[both]):
            chunk = max(1, BLOCK // (int(width) * (bits + 1)))
            found = np.flatnonzero(both & (widths == width))
            for fits in np.split(found, range(chunk, len(found), chunk)):
                cut = _Table(
                    table.pattern[fits, :width],
                    table.inside[fits, :width],
                    table.outside[fits, :width],
                )
                weights[start + fits] = _newton(cut, bits)
    return weights


def _tables(left_out: _Rows, rows: Ints) -> _Table:
    """Returns the data of every fit without its left-out row; padding follows the patterns."""
    models = rows.shape[1]
    own = rows[left_out.point]
    # Rows are sorted, so leaving out the first equal row leaves the same table as any other.
    first = (own < left_out.row[:, None]).sum(1)
    kept = np.arange(models - 1) + (np.arange(models - 1) >= first[:, None])
    own = np.take_along_axis(own, kept, 1)
    new = np.ones(own.shape, np.int64)
    new[:, 1:] = (own[:, 1:] >> 1) != (own[:, :-1] >> 1)
    place = np.cumsum(new, 1) - 1
    width = 1 << (models - 1).bit_length()
    pattern = np.zeros((len(own), width), np.int64)
    np.put_along_axis(pattern, place, own >> 1, 1)
    cells = place + width * np.arange(len(own))[:, None]

    def count(side: Bools) -> Floats:
        counts = np.bincount(cells[side], minlength=pattern.size).reshape(pattern.shape)
        return counts.astype(np.float64)

    inside = (own & 1).astype(bool)
    return _Table(pattern, count(inside), count(~inside))


def _newton(table: _Table, bits: int) -> Floats:
    """Returns the minimisers `(f, q + 1)` by Newton's method from zero.

    Full steps nearly always converge; the fits for which they do not start again with steps that
    are halved until the loss falls.
    """
    shown = (table.pattern[..., None] >> np.arange(bits)) & 1
    design = np.concatenate([np.ones((*shown.shape[:2], 1)), shown], axis=2)
    weights, left = _steps(design, table, damped=False)
    if len(left):
        again = _Table(table.pattern[left], table.inside[left], table.outside[left])
        weights[left], _ = _steps(design[left], again, damped=True)
    return weights


def _steps(design: Floats, table: _Table, *, damped: bool) -> tuple[Floats, Ints]:
    """Returns weights, and which fits have not converged; each fit stops on its own."""
    weights = np.zeros((len(design), design.shape[2]))
    active = np.arange(len(design))
    ridge = np.diag(np.r_[SMALLEST, np.ones(design.shape[2] - 1)])
    for _ in range(MOST_DAMPED_STEPS if damped else MOST_STEPS):
        x, now = design[active], weights[active]
        inside, outside = table.inside[active], table.outside[active]
        chance, count = expit((x @ now[..., None])[..., 0]), inside + outside
        gradient = ((count * chance - inside)[:, None] @ x)[:, 0] + now @ ridge
        curvature = (count * chance * (1 - chance))[..., None] * x
        hessian = x.transpose(0, 2, 1) @ curvature + ridge
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        if damped:
            step *= _shortening(x, now, step, inside, outside)[:, None]
        weights[active] = now - step
        # Each fit stops at its own last step, so its result does not depend on the others.
        active = active[np.abs(step).max(1) > TOLERANCE]
        if not len(active):
            break
    return weights, active


def _shortening(
    x: Floats, weights: Floats, step: Floats, inside: Floats, outside: Floats
) -> Floats:
    """Returns `(f,)` the largest power of 1/2 whose step does not raise the loss, or 0."""

    def loss(at: Floats) -> Floats:
        logits = (x @ at[..., None])[..., 0]
        losses = inside * np.logaddexp(0, -logits) + outside * np.logaddexp(0, logits)
        penalised: Floats = losses.sum(1) + np.square(at[:, 1:]).sum(1) / 2
        return penalised

    before, share = loss(weights), np.ones(len(x))
    for _ in range(40):
        worse = loss(weights - share[:, None] * step) > before
        if not worse.any():
            return share
        share[worse] /= 2
    share[worse] = 0.0
    return share
