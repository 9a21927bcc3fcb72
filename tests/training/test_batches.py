"""Shuffled and Poisson batches: exact sizes and rates, fresh and independent at every step."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dpbench.errors import UserError
from dpbench.training import batches
from dpbench.training.batches import Batch, poisson_batches, shuffled_batches

# Chance that a correct sampler fails one of the chi-square tests, were the seed not fixed.
LEVEL = 1e-4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows_with(sizes: list[int], n: int = 40, seed: int = 9) -> torch.Tensor:
    """Members of the given numbers at random rows, never row 0 (which is the padding row)."""
    members = torch.zeros(len(sizes), n, dtype=torch.bool)
    for model, size in enumerate(sizes):
        members[model, 1 + torch.randperm(n - 1, generator=generator(seed + model))[:size]] = True
    return members


def included(sampled: list[Batch], members: torch.Tensor) -> torch.Tensor:
    """Which member entered which step, `(T, K, n)` bool; fails on strangers and repetitions."""
    steps = torch.zeros(len(sampled), *members.shape, dtype=torch.int64)
    for step, (index, mask) in zip(steps, sampled, strict=True):
        real = torch.ones_like(index) if mask is None else mask.long()
        step.scatter_add_(1, index, real)
    assert steps.max() <= 1
    assert not steps[:, ~members].any()
    return steps.bool()


def patterns_fit(observed: torch.Tensor, rate: float) -> None:
    """Chi-square of `(trials, bits)` bool against independent Bernoulli bits."""
    patterns = list(itertools.product([False, True], repeat=observed.shape[1]))
    expected = [
        len(observed) * math.prod(rate if bit else 1 - rate for bit in pattern)
        for pattern in patterns
    ]
    seen = [int((observed == torch.tensor(pattern)).all(1).sum()) for pattern in patterns]
    # The chi-square law needs about five expected hits: the rarest patterns are judged together.
    rarest = sorted(range(len(patterns)), key=expected.__getitem__)
    together = sum(expected[place] < 5 for place in rarest) + 1
    pooled = [sum(values[place] for place in rarest[:together]) for values in (seen, expected)]
    alone = rarest[together:]
    fit = stats.chisquare(
        [pooled[0], *(seen[place] for place in alone)],
        [pooled[1], *(expected[place] for place in alone)],
    )
    assert fit.pvalue > LEVEL


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(1, 35))
def test_shuffled_passes_see_each_member_once(sizes, batch):
    members = rows_with(sizes)
    steps = 3 * max(sizes) // batch + 2
    drawn = list(shuffled_batches(members, batch, steps, generator()))
    assert len(drawn) == steps
    assert all(index.shape == (len(sizes), batch) and mask is None for index, mask in drawn)
    streams = torch.cat([index for index, _ in drawn], 1)
    for stream, own in zip(streams, members, strict=True):
        expected = own.nonzero().squeeze(1)
        for passed in torch.split(stream, len(expected)):
            assert len(passed.unique()) == len(passed)
            assert own[passed].all()
            if len(passed) == len(expected):
                assert torch.equal(passed.sort().values, expected)


def test_shuffled_passes_are_uniform_permutations_independent_of_each_other():
    members = rows_with([3])
    names = {row: place for place, row in enumerate(members[0].nonzero().squeeze(1).tolist())}
    drawn = [index[0].tolist() for index, _ in shuffled_batches(members, 3, 18_000, generator())]
    orders = list(itertools.permutations(range(3)))
    seen = [orders.index(tuple(names[row] for row in order)) for order in drawn]
    pairs = torch.bincount(torch.tensor(seen[::2]) * 6 + torch.tensor(seen[1::2]), minlength=36)
    assert stats.chisquare(pairs.numpy()).pvalue > LEVEL


def test_shuffled_models_do_not_share_their_order():
    members = rows_with([30, 30])
    members[1] = members[0]
    index, _ = next(shuffled_batches(members, 30, 1, generator()))
    assert not torch.equal(index[0], index[1])


def test_shuffled_refuses_a_model_without_members():
    with pytest.raises(UserError, match="no members"):
        next(shuffled_batches(rows_with([3, 0]), 2, 1, generator()))


@pytest.mark.parametrize(
    "sample",
    [lambda seed: shuffled_batches(rows_with([9, 5]), 4, 50, generator(seed))]
    + [
        lambda seed, rate=rate: poisson_batches(rows_with([9, 5]), rate, 50, generator(seed))
        for rate in (0.01, 0.3, 0.9)
    ],
)
def test_a_seed_decides_everything(sample):
    first, again, other = list(sample(1)), list(sample(1)), list(sample(2))
    same = [torch.equal(one.index, two.index) for one, two in zip(first, again, strict=True)]
    assert all(same)
    assert any(
        one.index.shape != two.index.shape or not torch.equal(one.index, two.index)
        for one, two in zip(first, other, strict=True)
    )


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=4),
    st.floats(0.001, 1.0),
    st.integers(1, 60),
    st.integers(0, 5),
)
def test_poisson_layout(sizes, rate, steps, seed):
    members = rows_with(sizes)
    drawn = list(poisson_batches(members, rate, steps, generator(seed)))
    assert len(drawn) == steps
    counts = included(drawn, members).sum(2)
    for (index, mask), sampled in zip(drawn, counts, strict=True):
        assert index.dtype == torch.int64
        assert index.shape == (len(sizes), max(1, int(sampled.max())))
        assert (mask is None) == bool((sampled == index.shape[1]).all())
        if mask is not None:
            assert mask.dtype == torch.float32
            assert mask.shape == index.shape
            assert torch.equal(mask.sum(1).long(), sampled)
            assert not index[mask == 0].any()


@pytest.mark.parametrize("at_once", [50, 1 << 16])
@pytest.mark.parametrize("rate", [0.02, 0.3, 0.95])
def test_poisson_inclusions_are_independent_at_the_exact_rate(monkeypatch, rate, at_once):
    """Joint patterns over examples, models and neighbouring steps, at every way of chunking."""
    monkeypatch.setattr(batches, "_PICKS_PER_DRAW", at_once)
    members = rows_with([2, 1])
    steps = 12_000
    entered = included(list(poisson_batches(members, rate, steps, generator(3))), members)
    bits = entered[:, members]  # (T, 3)
    patterns_fit(bits, rate)
    neighbours = torch.cat([bits[:-1:2, :2], bits[1::2, :2]], 1)
    patterns_fit(neighbours, rate)


def test_poisson_batch_sizes_are_binomial():
    members, rate = rows_with([12, 7]), 0.25
    sizes = included(list(poisson_batches(members, rate, 20_000, generator(4))), members).sum(2)
    for model, n_members in enumerate((12, 7)):
        most = int(stats.binom.isf(1e-3, n_members, rate))
        probabilities = stats.binom.pmf(range(most), n_members, rate)
        expected = [*probabilities, 1 - probabilities.sum()]
        seen = torch.bincount(sizes[:, model].clamp(max=most), minlength=most + 1)
        fit = stats.chisquare(seen.numpy(), [20_000 * share for share in expected])
        assert fit.pvalue > LEVEL


def test_poisson_rate_is_right_for_many_members():
    members = torch.ones(4, 2000, dtype=torch.bool)
    rate, steps = 0.013, 400
    total = sum(
        batch.index.numel() if batch.mask is None else int(batch.mask.sum())
        for batch in poisson_batches(members, rate, steps, generator(5))
    )
    trials = members.numel() * steps
    assert stats.binomtest(total, trials, rate).pvalue > LEVEL


def test_poisson_every_row_enters_equally_often():
    members = rows_with([39])
    entered = included(list(poisson_batches(members, 0.1, 5000, generator(6))), members)
    often = entered[:, members].sum(0).double()
    # Each count is Binomial(5000, 0.1): the sum of squared standard scores is chi-square(39).
    spread = ((often - 500).square() / (5000 * 0.1 * 0.9)).sum()
    assert LEVEL < stats.chi2.sf(float(spread), 39) < 1 - LEVEL


def test_poisson_at_rate_one_yields_one_object():
    members = rows_with([4, 6])
    drawn = list(poisson_batches(members, 1.0, 5, generator()))
    assert all(batch is drawn[0] for batch in drawn)
    assert torch.equal(included(drawn, members)[0], members)


def test_poisson_without_members_yields_empty_batches():
    for rate in (0.1, 1.0):
        for index, mask in poisson_batches(rows_with([0, 0]), rate, 3, generator()):
            assert index.tolist() == [[0], [0]]
            assert mask is not None
            assert not mask.any()


def test_poisson_at_a_tiny_rate_draws_few_numbers():
    """A rate of 1e-6 over 1e6 trials a step must not cost one number for each trial."""
    members = torch.ones(1, 1000, dtype=torch.bool)
    drawn = list(poisson_batches(members, 1e-6, 20_000, generator(8)))
    total = sum(mask is None for _, mask in drawn)
    assert stats.binomtest(total, 20_000, 1e-3).pvalue > LEVEL
