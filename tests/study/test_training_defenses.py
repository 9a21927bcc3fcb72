"""Claims 11, 17 and 18 on planted scores: verdicts follow what was planted."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bench.claims import augmented, decay
from bench.claims.evidence import FAILS, HOLDS, Table

MODELS, POINTS = 12, 250


def planted(effect, seed):
    """Scores that separate members by `effect` deviations."""
    rng = np.random.default_rng(seed)
    members = np.random.default_rng(0).random((MODELS, POINTS)) < 0.5
    return Table(rng.standard_normal(members.shape) + effect * members, members)


def answer(monkeypatch, module, effects):
    """Makes the module's tables those of planted effects, by cell, attack and queries."""

    def table(run, cell, attack, **fields):
        key = (cell, attack, fields["queries"]) if "queries" in fields else (cell, attack)
        return planted(effects[key], seed=1)

    monkeypatch.setattr(module, "table", table)


def lira(cell, *effects):
    return {
        (cell, "lira", queries): effect
        for queries, effect in zip(augmented.QUERIES, effects, strict=True)
    }


def test_more_queries_help_where_their_views_were_trained(monkeypatch):
    effects = (
        lira(augmented.COPIES, 0.5, 0.6, 1.0, 0.9, 0.6)
        | lira(augmented.WIDER, 0.5, 0.55, 0.8, 1.2, 0.9)
        | lira(augmented.PLAIN, 1.0, 0.9, 0.7, 0.6, 0.5)
    )
    answer(monkeypatch, augmented, effects)
    found = list(augmented.queries_help(None, "any"))
    assert [line.verdict for line in found] == [HOLDS] * 3
    assert [line.verdict for line in augmented.few_queries(None, "any")] == [FAILS, FAILS]
    answer(monkeypatch, augmented, {**effects, **lira(augmented.COPIES, 0.9, 0.8, 0.5, 0.4, 0.3)})
    assert next(augmented.queries_help(None, "any")).verdict == FAILS
    saturated = lira(augmented.COPIES, 0.5, 1.0, 1.1, 1, 1)
    answer(
        monkeypatch, augmented, effects | saturated | lira(augmented.WIDER, 0.5, 1, 1.1, 1.11, 1)
    )
    assert [line.verdict for line in augmented.few_queries(None, "any")] == [HOLDS, HOLDS]


@pytest.mark.parametrize("rises", [True, False])
def test_copies_lower_some_attacks_and_raise_the_one_that_asks_about_them(monkeypatch, rises):
    one, other = (0.4, 1.0) if rises else (1.0, 0.4)
    effects = {
        (augmented.PLAIN, "malt"): 0.8, (augmented.COPIES, "malt"): 0.4,
        (augmented.PLAIN, "boundary_distance"): 0.8, (augmented.COPIES, "boundary_distance"): 0.4,
        (augmented.PLAIN, "augmentation"): one, (augmented.COPIES, "augmentation"): other,
        (augmented.PLAIN, "gap"): 0.2, (augmented.COPIES, "gap"): 0.2,
        **lira(augmented.PLAIN, 1, 1, 1, 1, 1), **lira(augmented.COPIES, 1, 1, 1, 1, 1),
    }  # fmt: skip
    answer(monkeypatch, augmented, effects)
    verdicts = [line.verdict for line in augmented.translations(None, "any")]
    assert verdicts == [HOLDS, HOLDS, *([HOLDS if rises else FAILS] * 2)]


def test_tables_have_no_shifts():
    assert list(augmented.lines(None, "adult")) == []


@pytest.mark.parametrize(("after", "verdict"), [(0.8, HOLDS), (1.2, HOLDS), (0.4, FAILS)])
def test_weak_decay_may_lower_no_attack(monkeypatch, after, verdict):
    cell = "l2(weight_decay=0.001, convention=keras)"
    effects = {(name, attack): 0.8 for name in (decay.PLAIN, cell) for attack in decay.ATTACKS}
    effects[cell, "lira"] = after
    answer(monkeypatch, decay, effects)
    line = decay.weak(run_with(decay.PLAIN, cell), "any", 1e-3)
    assert line.verdict == verdict
    assert ("to lira" in line.numbers) == (after == 1.2)


@pytest.mark.parametrize(
    ("attack", "accuracy", "verdict"), [(0.3, 0.6, HOLDS), (1.0, 0.6, FAILS), (0.3, 0.9, FAILS)]
)
def test_strong_decay_must_lower_every_attack_and_cost_accuracy(
    monkeypatch, attack, accuracy, verdict
):
    cell = decay.STRONG["L2 of 0.1"]
    effects = {(decay.PLAIN, name): 0.8 for name in decay.ATTACKS}
    effects |= {(cell, name): 0.3 for name in decay.ATTACKS}
    effects[cell, "mast"] = attack
    answer(monkeypatch, decay, effects)
    run = run_with(decay.PLAIN, cell, accuracy=accuracy)
    assert decay.strong(run, "any", "L2 of 0.1", cell).verdict == verdict


def run_with(*cells, accuracy=0.8):
    """A run whose first cell is 0.8 accurate, and the others as given."""
    values = np.array([0.8] + [accuracy] * (len(cells) - 1))
    return SimpleNamespace(
        cells=pd.DataFrame(
            {
                "cell": cells,
                "test_accuracy": values,
                "test_accuracy_low": values - 0.01,
                "test_accuracy_high": values + 0.01,
            }
        )
    )
