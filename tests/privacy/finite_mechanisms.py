"""Mechanisms with a handful of outputs, whose leak in every game is computed by brute force.

A mechanism is an array of shape (2, ..., 2, outputs): its output distribution for each set of
members. A world is a pair of distributions over what the attacker sees: if the challenged record is
a member, and if it is not.
"""

import itertools
import math

import numpy as np
from scipy.special import ndtri


def leaky_response(epsilon, delta):
    """The worst (epsilon, delta)-DP pair: the truth with probability delta, else a noisy bit."""
    truth = (1 - delta) / (1 + math.exp(-epsilon))
    member = np.array([delta, truth, 1 - delta - truth, 0.0])
    return member, member[::-1]


def count_mechanism(epsilon, records, signs=None):
    """Adds two-sided geometric noise to a sum of +-1, clamped: epsilon-DP under add/remove."""
    signs = signs or [1] * records
    low, high = -records - 3, records + 3
    shape = (2,) * records
    table = np.zeros((*shape, high - low + 1))
    for members in itertools.product((0, 1), repeat=records):
        total = np.dot(members, signs)
        ratio = math.exp(-epsilon)
        noise = ratio ** np.abs(np.arange(-200, 201)) * (1 - ratio) / (1 + ratio)
        noise[[0, -1]] /= 1 - ratio
        place = np.clip(total + np.arange(-200, 201), low, high) - low
        np.add.at(table[members], place, noise)
    return table


def all_attacks(member, other):
    """FPR and TPR of every deterministic attack: every subset of what may be seen."""
    guesses = np.array(list(itertools.product((0.0, 1.0), repeat=len(member))))
    return guesses @ other, guesses @ member


def best_attacks(member, other):
    """FPR and TPR of the likelihood-ratio tests, ascending, from (0, 0) to (1, 1)."""
    seen = (member > 0) | (other > 0)
    member, other = member[seen], other[seen]
    order = np.argsort(np.arctan2(other, member), kind="stable")
    fpr = np.concatenate([[0.0], np.cumsum(other[order])])
    tpr = np.concatenate([[0.0], np.cumsum(member[order])])
    return np.clip(fpr, 0, 1), np.clip(tpr, 0, 1)


def adjacent_pairs(mechanism, adjacency):
    """All pairs of output distributions on adjacent sets, in both orders."""
    pairs = []
    sets = list(itertools.product((0, 1), repeat=mechanism.ndim - 1))
    for one, other in itertools.permutations(sets, 2):
        change = np.subtract(one, other)
        if adjacency == "add_remove":
            adjacent = np.abs(change).sum() == 1
        else:
            adjacent = np.abs(change).sum() == 2 and change.sum() == 0
        if adjacent:
            pairs.append((mechanism[one], mechanism[other]))
    return pairs


def exact_delta(pairs, epsilon):
    gain = [np.maximum(member - math.exp(epsilon) * other, 0).sum() for member, other in pairs]
    return float(min(1.0, max(gain)))


def exact_epsilon(pairs):
    """The epsilon of pure DP; inf if some output proves something."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = [np.log(member / other) for member, other in pairs]
    return float(np.nanmax(ratios))


def exact_mu(pairs):
    """The smallest mu of mu-GDP: the largest over the corners of the trade-off curves."""
    fpr, tpr = np.concatenate([best_attacks(*pair) for pair in pairs], axis=1)
    inner = (tpr > 1e-12) & (fpr < 1 - 1e-12)
    fpr = np.where(fpr < 1e-12, 0, fpr)
    tpr = np.where(tpr > 1 - 1e-12, 1, tpr)
    return float(max(0.0, np.max(ndtri(tpr[inner]) - ndtri(fpr[inner]), initial=0.0)))


def exact_curve(pairs):
    """The trade-off curve: the concave hull of all attacks on all pairs."""
    corners = {(0.0, 0.0), (1.0, 1.0)}
    for pair in pairs:
        corners |= set(map(tuple, np.transpose(best_attacks(*pair)).tolist()))
    hull = []
    for fpr, tpr in sorted(corners):
        while hull and hull[-1][0] == fpr:
            hull.pop()
        while len(hull) > 1 and _below(hull[-2], hull[-1], (fpr, tpr)):
            hull.pop()
        hull.append((fpr, tpr))
    x, y = np.array(hull).T
    return lambda fpr: np.interp(fpr, x, y)


def _below(left, middle, right):
    rise = (right[1] - left[1]) * (middle[0] - left[0])
    return (middle[1] - left[1]) * (right[0] - left[0]) <= rise


def bernoulli_worlds(mechanism, prior, records=None, copies=1):
    """The attacker knows all bits but the challenged one. Copies are blocks of adjacent records.

    `records` are those whose bit is random, all if None; the others are always members.
    """
    units = (mechanism.ndim - 1) // copies
    records = range(units) if records is None else records
    for challenge in records:
        member, other = [], []
        for bits in itertools.product((0, 1), repeat=units):
            if bits[challenge] or not all(bits[i] for i in range(units) if i not in records):
                continue
            odds = [prior if bits[i] else 1 - prior for i in records if i != challenge]
            present = [*bits[:challenge], 1, *bits[challenge + 1 :]]
            weight = math.prod(odds)
            member.append(weight * mechanism[tuple(np.repeat(present, copies))])
            other.append(weight * mechanism[tuple(np.repeat(bits, copies))])
        yield np.concatenate(member), np.concatenate(other)


def fixed_size_worlds(mechanism, size, copies=1):
    """The attacker knows how many members there are, not who the others are."""
    units = (mechanism.ndim - 1) // copies
    sets = [bits for bits in itertools.product((0, 1), repeat=units) if sum(bits) == size]
    for challenge in range(units):
        with_it, without = (
            np.mean(
                [mechanism[tuple(np.repeat(b, copies))] for b in sets if b[challenge] == bit], 0
            )
            for bit in (1, 0)
        )
        yield with_it, without


def yeom_worlds(mechanism, draws):
    """Independent draws from the records; the attacker sees the challenge and the output.

    A set is a tuple of draws, and the mechanism sees which records occur in it.
    """
    records = mechanism.ndim - 1
    seen = {
        drawn: mechanism[tuple(int(i in drawn) for i in range(records))]
        for drawn in itertools.product(range(records), repeat=draws)
    }
    rest = list(itertools.product(range(records), repeat=draws - 1))
    member = [np.mean([seen[(*r, z)] for r in rest], 0) for z in range(records)]
    other = np.mean(list(seen.values()), 0)
    yield np.concatenate(member) / records, np.tile(other, records) / records


def yeom_pairs(mechanism, draws):
    """All pairs of output distributions on tuples that differ in one draw, in both orders."""
    records = mechanism.ndim - 1
    tuples = list(itertools.product(range(records), repeat=draws))
    present = {t: tuple(int(i in t) for i in range(records)) for t in tuples}
    return [
        (mechanism[present[one]], mechanism[present[other]])
        for one, other in itertools.permutations(tuples, 2)
        if sum(a != b for a, b in zip(one, other, strict=True)) == 1
    ]
