"""Which baselines a cell is compared with, and where they are read."""

import numpy as np
import pytest

from dpbench.comparison.measure import Leak, Measured
from dpbench.comparison.rivals import best_rival, frontier_rival, private_family
from dpbench.defenses import L2, Composition, DpSgd, Undefended
from dpbench.metrics.paired import Draws


def flat(value, replicates=3):
    return Draws(np.full(1 + replicates, value), np.full(1 + replicates, value))


def cell(label, accuracy, leak, fold_accuracy=None, folds=None):
    first, second = folds or (leak, leak)
    return Measured(
        label,
        flat(accuracy),
        fold_accuracy or (accuracy, accuracy),
        {"advantage": Leak((flat(first), flat(second)), ("malt", "lira"))},
    )


def composed(*parts):
    return Composition(parts)


def test_the_series_of_dp_sgd_runs_from_strict_to_loose():
    cells = [
        composed(Undefended()),
        composed(DpSgd(epsilon=float("inf"))),
        composed(DpSgd(epsilon=8)),
        composed(DpSgd(epsilon=0.5)),
        composed(DpSgd(epsilon=4, optimizer="adam")),
        composed(L2(weight_decay=0.1), DpSgd(epsilon=2)),
    ]
    found = [one.label for one in private_family(cells)]
    assert found == ["dp_sgd(epsilon=0.5)", "dp_sgd(epsilon=8)", "dp_sgd(epsilon=inf)"]
    assert private_family(cells[:1]) == []


def test_a_series_by_noise_is_ordered_by_less_of_it():
    cells = [composed(DpSgd(noise_multiplier=value)) for value in (0.5, 4.0, 1.0)]
    found = [one.parts[0].noise_multiplier for one in private_family(cells)]
    assert found == [4.0, 1.0, 0.5]


def test_dp_sgd_is_read_off_between_its_strengths():
    family = [cell("a", 0.7, 0.1), cell("b", 0.8, 0.3), cell("c", 0.82, 0.5)]
    rival = frontier_rival(cell("new", 0.75, 0.4), family, "advantage")
    assert rival.where == "a to b"
    assert rival.accuracy.value == pytest.approx(0.75)
    assert rival.leak.value == pytest.approx(0.2)
    assert rival.equal_leak_accuracy.value == pytest.approx(0.81)
    assert rival.equal_leak.value == pytest.approx(0.4)
    beyond = frontier_rival(cell("new", 0.9, 0.7), family, "advantage")
    assert (beyond.accuracy.value, beyond.equal_leak.value) == (0.82, 0.5)
    assert frontier_rival(cell("new", 0.8, 0.4), family, "advantage").where == "b"


def test_every_replicate_is_read_off_its_own_line():
    low, high = cell("a", 0.7, 0.1), cell("b", 0.8, 0.3)
    moved = low.accuracy.models.copy()
    moved[2] = 0.74
    low = low._replace(accuracy=Draws(moved, low.accuracy.examples))
    rival = frontier_rival(cell("new", 0.77, 0.4), [low, high], "advantage")
    assert rival.leak.models == pytest.approx([0.24, 0.24, 0.2, 0.24])


def test_the_best_other_is_chosen_on_one_fold_and_measured_on_the_other():
    lucky = cell("lucky", 0.8, None, folds=(0.05, 0.4))
    steady = cell("steady", 0.8, None, folds=(0.2, 0.2))
    rival = best_rival(cell("new", 0.8, 0.3), [lucky, steady], "advantage")
    # On even models lucky looks best, and is measured on odd ones; steady the other way round.
    assert rival.where == "lucky / steady"
    assert rival.leak.value == pytest.approx((0.4 + 0.2) / 2)


def test_a_less_accurate_defense_is_no_rival():
    others = [cell("weak", 0.7, 0.0)]
    assert best_rival(cell("new", 0.8, 0.3), others, "advantage") is None
    near = [cell("near", 0.796, 0.0)]
    assert best_rival(cell("new", 0.8, 0.3), near, "advantage").where == "near"


def test_each_strength_may_have_a_schedule_of_its_own():
    def cell(**fields):
        return Composition((DpSgd(**fields),))

    tuned = [cell(epsilon=8.0, lr=3.0, epochs=50.0), cell(epsilon=1.0, lr=0.5, max_grad_norm=0.3)]
    assert private_family(tuned) == tuned[::-1]
    # Two schedules for one strength are two series, and the longer one is taken.
    more = [cell(epsilon=value) for value in (1.0, 2.0, 4.0)]
    assert private_family([*more, tuned[0], tuned[1]]) == more
    assert private_family([tuned[0], cell(epsilon=2.0, optimizer="adam")]) == [tuned[0]]
