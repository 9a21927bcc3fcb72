"""The pieces of the claims study: intervals of differences, verdicts, grids, blocks of models."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bench.claims import canaries, linear
from bench.claims.evidence import (
    ACCURACY,
    AUC,
    FAILS,
    HOLDS,
    OPEN,
    TOP,
    TPR01,
    TPR1,
    Table,
    all_of,
    apart,
    at_least,
    difference,
    total,
    within,
)
from bench.claims.few_models import answered, in_blocks
from bench.claims.runs import OWN_GRID, variant_document
from dpbench.attacks import Lira, Malt, Rmia
from dpbench.metrics import Interval
from dpbench.study.document import write_document
from dpbench.study.shipped import list_grids
from dpbench.study.spec import read_grid
from dpbench.testing.planted import planted_view


def gaussian(effect, *, models=20, points=300, seed=0):
    """Scores that separate members by `effect` deviations."""
    rng = np.random.default_rng(seed)
    members = rng.random((models, points)) < 0.5
    return Table(rng.standard_normal(members.shape) + effect * members, members)


def test_metrics_are_those_of_the_score_table():
    scored = gaussian(2.0, models=60)
    assert scored[ACCURACY].value == pytest.approx(0.841, abs=0.01)
    assert scored[AUC].value == pytest.approx(0.921, abs=0.01)
    assert scored[TPR1].value == pytest.approx(0.372, abs=0.03)
    assert scored[TPR01].value == pytest.approx(0.138, abs=0.04)
    assert scored[TOP].value > 0.97
    for metric in (ACCURACY, AUC, TPR1):
        value, low, high = scored[metric].interval
        assert low <= value <= high
        assert 0 < high - low < 0.2


def test_precision_of_the_top_does_not_depend_on_the_share_of_members():
    rng = np.random.default_rng(0)
    members = rng.random((20, 400)) < 0.2
    noise = Table(rng.standard_normal(members.shape), members)
    assert noise[TOP].interval.low < 0.5 < noise[TOP].interval.high


def test_differences_are_paired_draw_by_draw():
    scored = gaussian(1.0)
    other = Table(scored.scores + 1e-3 * gaussian(0.0, seed=1).scores, scored.members)
    gap = difference(scored[AUC], other[AUC]).interval
    alone = scored[AUC].interval
    assert gap.high - gap.low < (alone.high - alone.low) / 20
    same = difference(scored[AUC], scored[AUC]).interval
    assert same == Interval(0.0, 0.0, 0.0)


def test_total_is_linear():
    one, two = gaussian(1.0)[AUC], gaussian(2.0)[AUC]
    both = total((2, one), (-3, two))
    assert both.value == pytest.approx(2 * one.value - 3 * two.value)
    assert_allclose(both.models, 2 * one.models - 3 * two.models)
    assert_allclose(both.examples, 2 * one.examples - 3 * two.examples)


def test_a_difference_of_independent_numbers_adds_their_widths():
    first, second = gaussian(2.0, seed=1)[AUC], gaussian(1.0, seed=2)[AUC]
    gap = apart(first.interval, second.interval)
    below = first.value - first.interval.low, second.interval.high - second.value
    assert gap.value - gap.low == pytest.approx(np.hypot(*below))
    assert gap.low > 0


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [((0.2, 0.1, 0.3), HOLDS), ((-0.2, -0.3, -0.1), FAILS), ((0.05, -0.1, 0.2), OPEN)],
)
def test_verdicts_follow_from_intervals(interval, verdict):
    assert at_least(Interval(*interval)) == verdict
    assert at_least(Interval(*(end + 1 for end in interval)), 1.0) == verdict


def test_equality_up_to_a_margin():
    assert within(Interval(0.0, -0.01, 0.01), 0.02) == HOLDS
    assert within(Interval(0.05, 0.03, 0.07), 0.02) == FAILS
    assert within(Interval(-0.05, -0.07, -0.03), 0.02) == FAILS
    assert within(Interval(0.02, 0.01, 0.03), 0.02) == OPEN


def test_one_failure_fails_a_claim_of_several_parts():
    assert all_of(HOLDS, HOLDS) == HOLDS
    assert all_of(HOLDS, OPEN) == OPEN
    assert all_of(OPEN, FAILS, HOLDS) == FAILS


@pytest.mark.parametrize("data", OWN_GRID)
def test_every_grid_can_be_repeated_on_every_data_set(data, tmp_path):
    names = [name.removeprefix("claims-") for name in list_grids() if name.startswith("claims-")]
    variants = set(names) - {own.removeprefix("claims-") for own in OWN_GRID.values()}
    assert {"masks", "labels", "logistic", "shadows", "canaries", "augmentation", "l2"} <= variants
    for name in variants:
        write_document(variant_document(name, data), tmp_path / f"{name}.yaml")
        grid = read_grid(tmp_path / f"{name}.yaml")
        assert grid.population.dataset == data


def test_changes_of_the_population_win():
    document = variant_document("canaries", "adult", canaries=None, pool=77)
    assert document["population"]["pool"] == 77
    assert "canaries" not in document["population"]


def test_one_block_of_all_models_is_the_plain_attack():
    view, _ = planted_view(models=8, points=50, effect=2.0, seed=0)
    seen = answered(view, view.target.scores(), view.target.scores(view.reference_inputs))
    for attack in (Lira(), Malt(), Rmia(mode="offline", a=0.3)):
        whole = in_blocks(attack, seen, 8)
        assert_allclose(whole.scores, attack.score(seen))
        halves = in_blocks(attack, seen, 4)
        assert halves.scores.shape == (8, 50)
        thirds = in_blocks(attack, seen, 3)
        assert thirds.scores.shape == (6, 50)
        assert np.array_equal(thirds.members, view.members[:6])
    assert_allclose(in_blocks(Malt(), seen, 4).scores, Malt().score(seen))


def test_mean_estimation_reaches_what_theory_allows():
    lines = list(linear.mean_estimation())
    assert [line.verdict for line in lines] == [HOLDS] * 3


def test_naive_bayes_weights_show_their_members():
    (line,) = linear.naive_bayes()
    assert line.verdict == HOLDS, line.numbers


def test_separation_counts_deviations_between_both_sides():
    rng = np.random.default_rng(0)
    members = rng.random((4000, 2)) < 0.5
    phi = rng.standard_normal(members.shape) * [1.0, 2.0] + members * [3.0, 0.0]
    assert_allclose(canaries.distance(phi, members), [1.5, 0.0], atol=0.05)
