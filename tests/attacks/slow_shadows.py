"""The shadows of one target and point, one by one: what fast statistics are tested against."""

import numpy as np


def losses(outputs, labels):
    """Returns the cross-entropy `(M, n)` of scores that are nowhere 0."""
    total = outputs.sum(-1)
    return -np.log(outputs[:, np.arange(len(labels)), labels] / total)


def sides(values, members, target, point):
    """Returns the values of the other models trained with the point, and of those without."""
    others = [s for s in range(len(values)) if s != target]
    inside = [float(values[s, point]) for s in others if members[s, point]]
    outside = [float(values[s, point]) for s in others if not members[s, point]]
    return inside, outside


def for_each(members, score):
    """Returns `(M, n)` of `score(target, point)`."""
    models, points = members.shape
    return np.array([[score(t, i) for i in range(points)] for t in range(models)])


def out_mean(values, members, target, point):
    """Returns the mean OUT value, or the average of the other points' means."""
    own = sides(values, members, target, point)[1]
    if own:
        return np.mean(own)
    outs = [sides(values, members, target, i)[1] for i in range(members.shape[1])]
    return np.mean([np.mean(out) for out in outs if out])
