"""The attack on a network linearised around each point, with a learned displacement.

Around an input x the true class's logit is `chi . v + b` with the internal influence chi, the mean
of its gradient over places between zero and x or the gradient at x, and `b = g(x) - chi . x`. The
proxy of both is their mean over the shadows trained without the point. Subtracting it would leave
the difference of the two values whatever chi is; a learned map of (influence, proxy's influence) to
the attack's weight does not.
"""

import numpy as np

from dpbench.arrays import Bools, Floats, Ints
from dpbench.attacks.base import NotApplicable, Oracle, View
from dpbench.attacks.toolbox.cross_fitting import halves
from dpbench.attacks.toolbox.displacement import Displacement, learn_displacement
from dpbench.attacks.toolbox.leave_one_out import leave_one_out

_TAUGHT_ON = 1 << 18
"""Weights on which a displacement is learned: every step reads all of them."""
_AT_ONCE = 1 << 19
"""Weights that are displaced at once, to bound the memory."""


def learned_input_scores(view: View, targets: Floats, shadows: Floats, *, steps: int) -> Floats:
    """Returns `(M, n)` the log odds by the displacement that the other half's shadows taught.

    Args:
        view: The adversary's view.
        targets: `(M, n)` the targets' centred true logit.
        shadows: `(M, n)` the shadows'.
        steps: Places over which influences are averaged.

    Raises:
        NotApplicable: There are fewer than four models: a half has no proxies of its own.
    """
    models, points = view.members.shape
    if models < 4:
        raise NotApplicable("shadows that teach need shadows of their own: four models in all")
    inputs = view.inputs.reshape(points, -1).astype(np.float64)
    taught = _taught(view, shadows, inputs, steps)
    at_once = max(1, _AT_ONCE // (models * (inputs.shape[1] + 1)))
    scores, start = np.empty(view.members.shape), 0
    # Where targets and shadows are the same models, one pass of gradients serves both.
    of_targets = view.target.influences(at_once=at_once, steps=steps)
    shared = view.shadows is view.target
    of_shadows = of_targets if shared else view.shadows.influences(at_once=at_once, steps=steps)
    for block in of_targets:
        rows = slice(start, start + block.shape[1])
        own = _local(block, targets[:, rows], inputs[rows])
        others = own if shared else _local(next(of_shadows), shadows[:, rows], inputs[rows])
        proxies = _proxies(others, view.members[:, rows])
        for (scored, _), learned in zip(halves(models), taught, strict=True):
            attack = learned(own[scored], proxies[scored])
            scores[scored, rows] = _evidence(attack, inputs[rows]) + learned.offset
        start = rows.stop
    return scores


def _taught(view: View, values: Floats, inputs: Floats, steps: int) -> list[Displacement]:
    """Returns the displacement for each half of the models, learned on the other half.

    The shadows of a half are proxies of one another only: the mean of all of them would know the
    bits of the targets.
    """
    models, points = view.members.shape
    wanted = max(1, 2 * _TAUGHT_ON // (models * (inputs.shape[1] + 1)))
    chosen = np.sort(view.rng.permutation(points)[:wanted])
    found = _influences_at(view.shadows, chosen, points, steps)
    own = _local(found, values[:, chosen], inputs[chosen])
    learned = []
    for _, taught_by in halves(models):
        bits, known = view.members[np.ix_(taught_by, chosen)], own[taught_by]
        learned.append(
            learn_displacement(
                known,
                _proxies(known, bits),
                bits,
                evidence=lambda attack: _evidence(attack, inputs[chosen]),
                spread=lambda error: error[..., None] * _with_one(inputs[chosen]),
                rng=view.rng,
            )
        )
    return learned


def _influences_at(oracle: Oracle, chosen: Ints, points: int, steps: int) -> Floats:
    """Returns the influences `(M, k, d)` at some points, in order."""
    at_once, start, parts = min(points, 256), 0, []
    for block in oracle.influences(at_once=at_once, steps=steps):
        here = chosen[(chosen >= start) & (chosen < start + block.shape[1])] - start
        parts.append(block[:, here])
        start += block.shape[1]
    return np.concatenate(parts, axis=1)


def _local(influences: Floats, values: Floats, inputs: Floats) -> Floats:
    """Returns the local weights `(K, k, d + 1)`, bias last, which give the values at the inputs."""
    chi = influences.astype(np.float64)
    bias = values - (chi * inputs).sum(-1)
    return np.concatenate([chi, bias[..., None]], axis=2)


def _proxies(local: Floats, members: Bools) -> Floats:
    """Returns the mean of the other models trained without the point, or else of all others."""
    flat, width = local.reshape(len(local), -1), local.shape[2]
    without = np.repeat(~members, width, axis=1)
    outside = leave_one_out(flat, without)
    everyone = leave_one_out(flat, np.ones_like(without)).mean
    return np.where(outside.models > 0, outside.mean, everyone).reshape(local.shape)


def _evidence(attack: Floats, inputs: Floats) -> Floats:
    evidence: Floats = (attack * _with_one(inputs)).sum(-1)
    return evidence


def _with_one(inputs: Floats) -> Floats:
    return np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
