"""Distances to the decision boundary from labels alone, of many (model, point) pairs at once.

This is the search of HopSkipJump (Chen, Jordan and Wainwright 2020, untargeted, L2): a walker on
the far side of the boundary asks about inputs around itself, takes the weighted mean of those
beyond the boundary for its normal, steps along it, and searches the boundary again. Three things
differ, each for shorter distances with the same queries (docs/decisions/0008-boundary-search.md):

- Directions are orthonormal, and orthogonal to the way back to the point: each then adds
  information about where the boundary turns towards the point.
- A step is a search on the arc with the point and the walker at the ends of its diameter (Reza,
  Rahmati, Wu and Dai 2023): where the boundary is flat, it crosses the arc in the foot of the
  perpendicular. Distances never grow.
- There are several starts: the nearest other points that the model takes for other classes, known
  from its answers about the challenge points.

A misclassified point has a distance, too, with a minus: to where its label is found. Its start is
the nearest point to which the model gives that label.

All distances are in raw units, so that no standardisation distorts them. Binary features may take
any value in their range: the adversary asks about inputs, not about people.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple, Self

import numpy as np

from dpbench.arrays import Bools, Floats, Ints
from dpbench.attacks.base import Oracle, View

FIRST_DIRECTIONS = 100
"""Directions of the first round; round t asks about sqrt(t) times as many (Chen et al. 2020)."""
FEWEST_DIRECTIONS = 8
"""A last round of fewer, out of more features, would hardly pay for its arc."""
REACH = 0.02
"""How far from the walker to ask, as a share of its distance: longer than the arc's tolerance,
short enough for a flat boundary. Between 0.005 and 0.3 it hardly matters."""
ARC_STEPS = 10
"""Halvings of the arc's right angle: to 0.1 degrees."""
COARSE_STEPS, FINE_STEPS = 5, 8
"""Halvings of the segment to every start, and then of those that are left."""
MOST_STARTS, MOST_WALKERS = 8, 4
"""Starts to search coarsely, each of another class, and to walk from: more walkers than four find
nothing shorter on ten classes."""
OPENING = 0.2
"""Share of the queries for the first round of all walkers, of which only the nearest goes on."""
NOISE_TRIES = 100
"""Random inputs to try where a model answers the same about all points (Chen et al. 2020)."""
NUMBERS_AT_ONCE = 1 << 20
"""Numbers in the largest buffer: 4 MB, so that the queried inputs stay in a core's cache."""


class Box(NamedTuple):
    """Where inputs may lie, `(d,)` each, in input units.

    Attributes:
        low, high: Feature ranges.
        unit: The size of one raw unit.
    """

    low: Floats
    high: Floats
    unit: Floats

    @classmethod
    def of(cls, view: View) -> Self:
        """Returns the features' ranges, wider where a challenge point lies outside them."""
        rows = view.inputs.reshape(len(view.inputs), -1)
        return cls(
            np.minimum(view.low.ravel(), rows.min(0)).astype(np.float32),
            np.maximum(view.high.ravel(), rows.max(0)).astype(np.float32),
            view.unit.ravel().astype(np.float32),
        )

    def inside(self, inputs: Floats) -> Floats:
        """Clips inputs `(..., d)` in place, and returns them."""
        np.maximum(inputs, self.low, out=inputs)
        return np.minimum(inputs, self.high, out=inputs)

    def farthest(self, inputs: Floats) -> Floats:
        """Returns the distance `(k,)` to the farthest corner, in raw units."""
        reach = np.maximum(inputs - self.low, self.high - inputs) / self.unit
        lengths: Floats = np.linalg.norm(reach, axis=-1)
        return lengths


def boundary_distances(
    oracle: Oracle,
    inputs: Floats,
    *,
    labels: Ints,
    predicted: Ints,
    queries: int,
    box: Box,
    seed: int,
    signed: bool = False,
) -> Floats:
    """Returns the distance `(M, n)` from each input to the nearest other class that was found.

    It is in raw units; 0 for a misclassified input, and the farthest corner of the box for a model
    that answers the same about all inputs and all noise that was tried. A larger distance than the
    true one is the only error: the input at the distance does get another label.

    Signed, a misclassified input has minus the distance to where its label was found.

    The directions are the same for all pairs: one pair's distance depends on no other model.

    Args:
        oracle: The models to query; every pair is charged `queries` at most.
        inputs: `(n, *shape)` of the challenge points, or copies of them.
        labels: `(n,)` the true labels.
        predicted: `(M, n)` the models' labels of `inputs`, asked before.
        queries: The most queries about each pair.
        box: Where inputs may lie.
        seed: The directions follow from it, the same for all pairs.
        signed: Misclassified inputs are searched, too.
    """
    rows = inputs.reshape(len(inputs), -1).astype(np.float32)
    directions = cache(lambda turn: _orthonormal(rows.shape[1], turn, seed))
    distances = np.zeros(predicted.shape)
    block = max(1, NUMBERS_AT_ONCE // rows.shape[1])
    for model, answers in enumerate(predicted):
        for sign, some in _groups(answers, labels)[: 3 if signed else 1]:
            for points in np.split(some, range(block, len(some), block)):
                pairs = _Pairs(
                    oracle=oracle,
                    model=model,
                    points=points,
                    centers=rows[points],
                    labels=labels[points],
                    shape=inputs.shape,
                    box=box,
                    outside=sign < 0,
                )
                search = _Search(queries, directions, np.random.default_rng(seed))
                distances[model, points] = sign * search.run(pairs, rows, answers)
    return distances


def _groups(answers: Ints, labels: Ints) -> list[tuple[int, Ints]]:
    """Returns the points a model gets right, and those it gets wrong, with their signs.

    Of the latter, those whose label the model gives to no point are apart: they start from noise.
    """
    right, known = answers == labels, np.isin(labels, answers)
    return [
        (1, np.flatnonzero(right)),
        (-1, np.flatnonzero(~right & known)),
        (-1, np.flatnonzero(~known)),
    ]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pairs:
    """k points and the model that is asked about them; a point may occur more than once.

    Attributes:
        outside: The model gets these points wrong: beyond the boundary is where it gives their
            label. Otherwise that is where it gives any other label.
    """

    oracle: Oracle
    model: int
    points: Ints
    centers: Floats
    labels: Ints
    shape: tuple[int, ...]
    box: Box
    outside: bool

    def __getitem__(self, rows: slice | Ints | Bools) -> "_Pairs":
        centers, labels = self.centers[rows], self.labels[rows]
        return replace(self, points=self.points[rows], centers=centers, labels=labels)

    def differ(self, inputs: Floats) -> Bools:
        """Asks about inputs `(k, b, d)`; returns `(k, b)` whether they are beyond the boundary."""
        models = np.full(len(self.points), self.model)
        shaped = inputs.reshape(*inputs.shape[:2], *self.shape[1:])
        return self.beyond(self.oracle.predictions_at(models, self.points, shaped))

    def beyond(self, answers: Ints) -> Bools:
        """Returns whether answers `(k, b)` or `(b,)` are given beyond the points' boundary."""
        same: Bools = answers == self.labels[:, None]
        return same if self.outside else ~same

    def at(self, offsets: Floats) -> Floats:
        """Returns the inputs `(k, b, d)` at raw offsets from the points, moved into the box."""
        return self.box.inside(self.centers[:, None] + offsets * self.box.unit)


@dataclass(eq=False)
class _Search:
    """The search of one model's pairs: all of them spend the same queries.

    Attributes:
        left: Queries left for each pair.
        directions: Returns the orthonormal rows `(b, d)` of round 1, 2, ...
        rng: Draws noise.
    """

    left: int
    directions: Callable[[int], Floats]
    rng: np.random.Generator

    def run(self, pairs: _Pairs, rows: Floats, answers: Ints) -> Floats:
        """Returns the distances `(k,)`.

        Args:
            pairs: Points that the model gets right, or points that it gets wrong.
            rows: `(n, d)` all inputs, and
            answers: `(n,)` their labels.
        """
        distances = pairs.box.farthest(pairs.centers)
        if not len(pairs.points):
            return distances
        started: Bools = np.ones(len(distances), bool)
        # As many for each of these points: the label alone, or all classes but the label.
        classes = int(pairs.beyond(np.unique(answers))[0].sum())
        if classes:
            # The coarse search of all starts is limited to a twelfth of the queries.
            count = min(classes, MOST_STARTS, max(1, self.left // (12 * COARSE_STEPS)))
            starts = _nearest_of_classes(pairs, rows, answers, count)
        else:
            starts, started = self._noise(pairs)
        if len(starts):
            offsets = self._walk(pairs[started], starts)
            distances[started] = np.linalg.norm(offsets, axis=1)
        return distances

    def _noise(self, pairs: _Pairs) -> tuple[Floats, Bools]:
        """Returns starts `(s, 1, d)` among random inputs, and which `(k,)` pairs have one."""
        box, found = pairs.box, np.zeros(len(pairs.points), bool)
        starts = np.zeros_like(pairs.centers)
        # Three quarters of the queries are kept for the search itself.
        for _ in range(min(NOISE_TRIES, self.left // 4)):
            noise = box.low + (box.high - box.low) * self.rng.random(len(box.low), np.float32)
            asked = np.broadcast_to(noise, (len(found), 1, len(noise)))
            # Pairs that have a start are asked too: all pairs of a search spend the same queries.
            hit = self._differ(pairs, asked)[:, 0] & ~found
            starts[hit], found = noise, found | hit
            if found.all():
                break
        return starts[found, None], found

    def _walk(self, pairs: _Pairs, starts: Floats) -> Floats:
        """Returns raw offsets `(k, d)` from the points to the boundary.

        Args:
            pairs: k points.
            starts: `(k, s, d)` inputs beyond the points' boundary.
        """
        offsets: Floats = (starts - pairs.centers[:, None]) / pairs.box.unit
        offsets = self._towards(pairs, offsets, min(COARSE_STEPS, self.left // offsets.shape[1]))
        # Queries of one walker in the opening.
        first = FINE_STEPS + ARC_STEPS + len(self.directions(1))
        walkers = min(offsets.shape[1], MOST_WALKERS, max(1, int(OPENING * self.left / first)))
        offsets = self._opening(pairs, _nearest_first(offsets)[:, :walkers])
        # With several walkers, the opening has used the directions of round 1.
        turn = 2 if walkers > 1 else 1
        while self.left - ARC_STEPS >= min(FEWEST_DIRECTIONS, offsets.shape[1]):
            directions = self.directions(turn)[: self.left - ARC_STEPS]
            offsets = self._round(pairs, offsets, directions)
            turn += 1
        return offsets

    def _opening(self, pairs: _Pairs, offsets: Floats) -> Floats:
        """Returns the nearest `(k, d)` of walkers `(k, w, d)` after a round, if there are more."""
        points, walkers, features = offsets.shape
        offsets = self._towards(pairs, offsets, min(FINE_STEPS, self.left // walkers))
        if walkers == 1:
            return offsets[:, 0]
        every = pairs[np.repeat(np.arange(points), walkers)]
        # `_round` counts the queries of one walker, but each pair pays for all of its walkers.
        spent = self.left
        moved = self._round(every, offsets.reshape(-1, features), self.directions(1))
        self.left -= (walkers - 1) * (spent - self.left)
        return _nearest(moved.reshape(offsets.shape))

    def _towards(self, pairs: _Pairs, offsets: Floats, steps: int) -> Floats:
        """Returns offsets `(k, s, d)` shortened to just beyond the boundary, by halving."""
        beyond = np.ones((*offsets.shape[:2], 1), np.float32)
        within = np.zeros_like(beyond)
        for _ in range(steps):
            middle = (beyond + within) / 2
            differ = self._differ(pairs, pairs.at(middle * offsets))[..., None]
            beyond, within = np.where(differ, middle, beyond), np.where(differ, within, middle)
        shortened: Floats = beyond * offsets
        return shortened

    def _round(self, pairs: _Pairs, offsets: Floats, directions: Floats) -> Floats:
        """Returns offsets `(k, d)` after a step: never longer."""
        lengths = np.linalg.norm(offsets, axis=1, keepdims=True)
        back = offsets / np.maximum(lengths, 1e-20)
        aside = self._normals(pairs, offsets, back, directions)
        aside -= (aside * back).sum(1, keepdims=True) * back
        # If all answers agree there is no normal: `aside` stays 0, and the arc is the segment.
        aside /= np.maximum(np.linalg.norm(aside, axis=1, keepdims=True), 1e-20)

        def on_arc(angle: Floats) -> Floats:
            # By Thales, the arc over the segment from point to walker is length cos(angle) away.
            flat = np.cos(angle) * back + np.sin(angle) * aside
            return pairs.at((lengths * np.cos(angle) * flat)[:, None])

        beyond = np.zeros_like(lengths)
        within = np.full_like(lengths, math.pi / 2)
        for _ in range(ARC_STEPS):
            middle = (beyond + within) / 2
            differ = self._differ(pairs, on_arc(middle))
            beyond, within = np.where(differ, middle, beyond), np.where(differ, within, middle)
        # A walker for which no angle was beyond the boundary stays where it is, to the bit.
        moved = (on_arc(beyond)[:, 0] - pairs.centers) / pairs.box.unit
        return np.where(beyond > 0, moved, offsets)

    def _normals(self, pairs: _Pairs, offsets: Floats, back: Floats, directions: Floats) -> Floats:
        """Returns the boundary's normals `(k, d)`, towards the other class, of any length.

        Every walker w asks about w + r (u - (u back) back) for all rows u of `directions`.
        """
        unit, normals = pairs.box.unit, np.empty_like(offsets)
        walkers = pairs.centers + offsets * unit
        reach = REACH * np.linalg.norm(offsets, axis=1, keepdims=True)
        chunk = max(1, NUMBERS_AT_ONCE // directions.size)
        asked = np.empty((min(chunk, len(offsets)), *directions.shape), np.float32)
        steps, scaled = np.empty_like(asked), directions * unit
        for start in range(0, len(offsets), chunk):
            rows = slice(start, start + chunk)
            # r u - r (u back) back + w as one product and one sum, into buffers that stay in cache.
            along = -reach[rows] * (back[rows] @ directions.T)
            parts = np.stack([np.ones_like(along), along], axis=2)
            basis = np.stack([walkers[rows], back[rows] * unit], axis=1)
            near = np.matmul(parts, basis, out=asked[: len(parts)])
            near += np.multiply(scaled, reach[rows, :, None], out=steps[: len(parts)])
            beyond = pairs[rows].differ(pairs.box.inside(near)).astype(np.float32)
            # The mean answer is subtracted to lower the variance (Chen et al. 2020).
            beyond -= beyond.mean(1, keepdims=True)
            # Centred answers add up to 0 but for rounding, which the walker's position multiplies.
            total = (beyond[:, None] @ near)[:, 0]
            normals[rows] = (total - beyond.sum(1, keepdims=True) * walkers[rows]) / unit
        self.left -= len(directions)
        return normals

    def _differ(self, pairs: _Pairs, inputs: Floats) -> Bools:
        self.left -= inputs.shape[1]
        return pairs.differ(inputs)


def _nearest_of_classes(pairs: _Pairs, rows: Floats, answers: Ints, count: int) -> Floats:
    """Returns `(k, count, d)` the nearest inputs of the nearest other classes of each point."""
    classes, unit = np.unique(answers), pairs.box.unit
    scaled, centers = rows / unit, pairs.centers / unit
    squares = np.square(scaled).sum(1)
    nearest = np.empty((len(centers), len(classes)), np.int64)
    distance = np.empty(nearest.shape, np.float32)
    for column, label in enumerate(classes):
        members = np.flatnonzero(answers == label)
        # The square of the centre itself is left out: it is the same for all inputs.
        gaps = squares[members] - 2 * (centers @ scaled[members].T)
        best = gaps.argmin(1)
        nearest[:, column] = members[best]
        distance[:, column] = gaps[np.arange(len(gaps)), best]
    distance[~pairs.beyond(classes)] = np.inf
    order = np.argsort(distance, axis=1, kind="stable")[:, :count]
    starts: Floats = rows[np.take_along_axis(nearest, order, 1)]
    return starts


def _nearest_first(offsets: Floats) -> Floats:
    """Returns offsets `(k, s, d)` with each point's nearest first."""
    order = np.argsort(np.linalg.norm(offsets, axis=2), axis=1, kind="stable")
    return np.take_along_axis(offsets, order[..., None], 1)


def _nearest(offsets: Floats) -> Floats:
    return _nearest_first(offsets)[:, 0]


def _orthonormal(features: int, turn: int, seed: int) -> Floats:
    """Returns orthonormal rows `(b, d)`, at most d of them, for round 1, 2, ..."""
    count = min(features, int(FIRST_DIRECTIONS * math.sqrt(turn)))
    draw = np.random.default_rng([seed, turn]).standard_normal((features, count), np.float32)
    rows: Floats = np.ascontiguousarray(np.linalg.qr(draw)[0].T)
    return rows
