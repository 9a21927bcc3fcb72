"""Which examples enter each step, for K models at once."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from dpbench.errors import UserError

# Picks drawn at once: enough to hide the cost of a call, little enough to stay in cache.
_PICKS_PER_DRAW = 1 << 16


class Batch(NamedTuple):
    """One step's examples.

    Attributes:
        index: `(K, B)` int64 pool rows; padding slots point at row 0.
        mask: `(K, B)` float32, 1 for a real slot and 0 for padding; None when every slot is real.
    """

    index: Tensor  # type: ignore[assignment]  # shadows tuple.index, which no one calls
    mask: Tensor | None


def shuffled_batches(
    members: Tensor, batch: int, steps: int, generator: Generator
) -> Iterator[Batch]:
    """Yields batches of exactly `batch` members: each model runs through its own again and again.

    A model's stream is an endless concatenation of fresh permutations of its members, so a batch
    may end one pass and begin the next.

    Args:
        members: `(K, n)` bool, the rows each model may see.
        batch: Examples per model and step.
        steps: Number of batches.
        generator: Source of all randomness, on the device of `members`.

    Raises:
        UserError: A model has no members.
    """
    own = [row.nonzero().squeeze(1) for row in members]
    if not all(len(rows) for rows in own):
        raise UserError("a model has no members to train on", next_step="enlarge population.pool")
    # About one pass of the largest model is permuted at a time: a call per step would cost more
    # than a small network's products.
    span = max(1, max(len(rows) for rows in own) // batch)
    streams = [_passes(rows, span * batch, generator) for rows in own]
    for start in range(0, steps, span):
        block = torch.stack([next(stream).view(span, batch) for stream in streams], 1)
        for index in block[: steps - start]:
            yield Batch(index, None)


def poisson_batches(
    members: Tensor, rate: float, steps: int, generator: Generator
) -> Iterator[Batch]:
    """Yields Poisson samples: each member enters each step independently with probability `rate`.

    The batch size is random and may be zero; neither it nor anything else is adjusted to the number
    of members. At rate 1 the same `Batch` object is yielded at every step.

    Args:
        members: `(K, n)` bool, the rows each model may see.
        rate: Probability q in (0, 1].
        steps: Number of batches.
        generator: Source of all randomness, on the device of `members`.
    """
    rows = members.nonzero()[:, 1]
    sizes = members.sum(1)
    if rate == 1:
        every_trial = torch.arange(len(rows) + 1, device=rows.device)
        (everyone,) = _padded(every_trial, rows, sizes, steps=1)
        for _ in range(steps):
            yield everyone
        return
    span = max(1, int(_PICKS_PER_DRAW / max(len(members), rate * len(rows))))
    for start in range(0, steps, span):
        n_steps = min(span, steps - start)
        # One line of trials: the members of all models, once for each step.
        picks = _successes(rate, n_steps * len(rows), generator)
        yield from _padded(picks, rows, sizes, steps=n_steps)


def _passes(rows: Tensor, size: int, generator: Generator) -> Iterator[Tensor]:
    """Yields blocks of `size` from an endless concatenation of permutations of `rows`."""
    waiting = rows[:0]
    while True:
        parts, length = [waiting], len(waiting)
        while length < size:
            order = torch.randperm(len(rows), generator=generator, device=rows.device)
            parts.append(rows.index_select(0, order))
            length += len(rows)
        stream = torch.cat(parts)
        # What is left of the last permutation begins the next block: no pass skips a member.
        waiting = stream[size:]
        yield stream[:size]


def _successes(rate: float, trials: int, generator: Generator) -> Tensor:
    """Returns the ascending positions of the successes among independent Bernoulli(`rate`) trials.

    The gaps between successes are geometric, so only about `rate * trials` numbers are drawn; they
    are drawn by inversion in double precision, which makes the rate exact to about 1e-15.
    """
    expected = rate * trials
    # Four deviations above the expectation: a second draw is then rare, and never wrong.
    draws = int(expected + 4 * (expected * (1 - rate)) ** 0.5) + 4
    parts, last = [], -1.0
    while last < trials:
        positions = torch.rand(
            draws, dtype=torch.float64, generator=generator, device=generator.device
        )
        # Inversion: floor(log(1 - u) / log(1 - q)) is geometric. log1p keeps the digits of small q.
        positions.neg_().log1p_().div_(math.log1p(-rate)).floor_().add_(1)
        positions = positions.cumsum_(0).add_(last)
        parts.append(positions)
        last = float(positions[-1])
    return torch.cat(parts).long()


def _padded(picks: Tensor, rows: Tensor, sizes: Tensor, *, steps: int) -> Iterator[Batch]:
    """Yields one batch per step from ascending positions on the line of trials.

    Args:
        picks: Positions; the last lies beyond the line, and so may others: they are ignored.
        rows: The members' pool rows, model after model: the trials of one step.
        sizes: `(K,)` number of members of each model.
        steps: Number of steps on the line.
    """
    device = rows.device
    lines = torch.arange(steps, device=device)[:, None] * len(rows)
    found = torch.searchsorted(picks, lines + torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]))
    counts = found.diff()
    least, widths = counts.amin(1).tolist(), counts.amax(1).clamp_(min=1).tolist()
    slots = torch.arange(max(widths), device=device)
    # Rows of all models are padded to the widest: one gather for K models beats K gathers.
    places = (found[:, :-1, None] + slots).clamp_(max=len(picks) - 1)
    trials = picks.index_select(0, places.flatten()).view_as(places).sub_(lines[..., None])
    unused = slots >= counts[..., None]
    trials.masked_fill_(unused, len(rows))
    rows = torch.cat([rows, rows.new_zeros(1)])  # the pool row of padding slots comes last
    for step, width in enumerate(widths):
        index = rows.index_select(0, trials[step, :, :width].flatten()).view(-1, width)
        full = least[step] == width
        yield Batch(index, None if full else 1 - unused[step, :, :width].float())
