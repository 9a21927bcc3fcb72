"""The result tables: one row per cell, one row per attack on a cell."""

import json
import math
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dpbench import privacy
from dpbench.attacks import Attack
from dpbench.game.attack import AttackJob
from dpbench.jobs.job import Job
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.replace import replace_file
from dpbench.metrics import accuracy_interval
from dpbench.metrics.evaluate import FPRS
from dpbench.metrics.shadow_rates import shadow_columns
from dpbench.metrics.violation import Allowed, RowEvidence, blamed
from dpbench.study.cell import AttackRow, Cell, Plan
from dpbench.study.context import Context
from dpbench.study.spec import expand_attacks

CELL_COLUMNS = (
    "cell", "dataset", "model", "defense", "params", "n_models", "n_pool", "train_accuracy",
    "test_accuracy", "test_accuracy_low", "test_accuracy_high", "epsilon", "delta",
    "noise_multiplier", "sampling_rate", "steps", "max_grad_norm", "bound_accuracy_half_exp",
    "bound_advantage_yeom", "bound_advantage_epsilon", "bound_advantage_mechanism",
    "train_seconds", "status", "reason", "key",
    "adaptive",
    "canary_kind", "canary_test_accuracy", "canary_test_accuracy_low", "canary_test_accuracy_high",
    "canary_epsilon", "canary_bound_advantage_mechanism", "canary_status", "canary_reason",
)  # fmt: skip
_METRICS = ("advantage", "auc", "balanced_accuracy", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001")
_EXPOSED = ("advantage_top_0.01", "tpr_at_example_fpr_0.01")
_CANARY_METRICS = ("advantage", "auc", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001")
ATTACK_COLUMNS = (
    "cell", "attack", "attack_params", "access", "knowledge", "shadows", "queries",
    *(f"{metric}{end}" for metric in _METRICS for end in ("", "_low", "_high")),
    "precision_at_fpr_0.01", "epsilon_lower", "violates_bound", "seconds", "status", "reason",
    *(f"{metric}{end}" for metric in _EXPOSED for end in ("", "_low", "_high")),
    "realised_example_fpr_0.01",
    "canary_attack",
    *(f"canary_{metric}{end}" for metric in _CANARY_METRICS for end in ("", "_low", "_high")),
    "canary_epsilon_lower", "canary_violates_bound", "canary_status", "canary_reason",
    *(column for fpr in FPRS for column in shadow_columns(fpr)),
    "winners", "canary_winners",
)  # fmt: skip
_ATTACK_COLUMNS = frozenset(ATTACK_COLUMNS)


class TableBuilder:
    """Builds the tables of a plan from what the store holds; missing work shows as its status."""

    def __init__(self, context: Context, plan: Plan) -> None:
        self._context, self._plan = context, plan
        self._states = JobStates(plan.jobs, context.store)
        # What several tables and rows want of a record: a hundred thousand are read once each.
        self._measured: dict[str, Any] = {}
        self._asked: dict[str, int] = {}

    def cells(self) -> pd.DataFrame:
        """One row per cell."""
        seen: set[str] = set()
        rows = [self._cell(cell, seen) for cell in self._plan.cells]
        return pd.DataFrame(rows, columns=list(CELL_COLUMNS))

    def attacks(self) -> pd.DataFrame:
        """One row per cell, attack and knowledge, and the best attack of each cell."""
        rows = []
        for cell in self._plan.cells:
            twins = cell.canary.rows if cell.canary else [None] * len(cell.rows)
            guilty = self._guilty(cell)
            twin_guilty = self._guilty(cell.canary) if cell.canary else {}
            for row, twin in zip(cell.rows, twins, strict=True):
                rows.append(self._row(cell, row, guilty))
                if cell.canary and twin:
                    canary = self._row(cell.canary, twin, twin_guilty)
                    canary["attack"] = canary.get("label")
                    rows[-1] |= _prefixed(canary)
        return pd.DataFrame(rows, columns=list(ATTACK_COLUMNS))

    def timings(self) -> pd.DataFrame:
        """Measured seconds and memory of every finished job; differs from run to run."""
        jobs = [job for job in self._plan.jobs.values() if job.key in self._states.finished]
        for job in jobs:
            if job.key not in self._measured:
                self._record(job.key)
        names = {
            "key": [job.key for job in jobs],
            "kind": [job.kind for job in jobs],
            "label": [job.label for job in jobs],
        }
        measured = pd.DataFrame([self._measured[job.key] for job in jobs])
        return pd.concat([pd.DataFrame(names), measured], axis=1)

    def _cell(self, cell: Cell, seen: set[str]) -> dict[str, Any]:
        grid, population = self._context.grid, self._context.population
        status, reason = self._status(cell.observe)
        return {
            "cell": cell.defense.label,
            "dataset": grid.population.dataset,
            "model": grid.model.label(),
            "defense": cell.defense.name,
            "params": _params(cell),
            "n_models": grid.models,
            "n_pool": len(population.pool_x),
            **(self._accuracy(cell) if status == "done" else {}),
            **claim_columns(cell),
            "train_seconds": _train_seconds(cell, seen),
            "status": status,
            "reason": reason or _dropped(cell),
            "key": cell.observe.key,
            "adaptive": ", ".join(_adaptive(cell)),
            **(self._canary(cell.canary) if cell.canary else {}),
        }

    def _canary(self, cell: Cell) -> dict[str, Any]:
        """Returns a cell's columns on the canary track."""
        canaries = self._context.grid.canaries
        assert canaries is not None
        status, reason = self._status(cell.observe)
        accuracy = self._accuracy(cell) if status == "done" else {}
        columns = {**accuracy, **claim_columns(cell), "status": status, "reason": reason}
        return {"canary_kind": canaries.kind, **_prefixed(columns)}

    def _accuracy(self, cell: Cell) -> dict[str, float]:
        key = cell.observe.key
        interval = accuracy_interval(self._context.on(cell.track).correct(key))
        return {
            "train_accuracy": self._record(key)["train_accuracy"],
            "test_accuracy": interval.value,
            "test_accuracy_low": interval.low,
            "test_accuracy_high": interval.high,
        }

    def _guilty(self, cell: Cell) -> dict[str, bool]:
        """Returns which finished rows prove that a claim is broken, by the keys of their jobs."""
        if not cell.claims:
            return {}
        # The best row repeats numbers of its winners: it is no evidence of its own.
        rows = {row.evaluate.key for row in cell.rows if row.name != "best"}
        keys = sorted(rows & self._states.finished)
        evidence = [RowEvidence.from_json(self._record(key)["evidence"]) for key in keys]
        return dict(zip(keys, blamed(evidence, _allowed(cell)), strict=True)) if keys else {}

    def _row(self, cell: Cell, row: AttackRow, guilty: dict[str, bool]) -> dict[str, Any]:
        status, reason = self._status(row.evaluate)
        result: dict[str, Any] = {"cell": cell.defense.label, "knowledge": row.knowledge}
        shown = row
        if status == "done":
            record = self._record(row.evaluate.key)
            result |= {name: value for name, value in record.items() if name in _ATTACK_COLUMNS}
            result["violates_bound"] = guilty.get(row.evaluate.key, False)
            if row.name == "best":
                won = {of: cell.candidate(row, number) for of, number in record["winners"].items()}
                shown = won["advantage"]
                winners = {of: one.label for of, one in won.items()}
                result["winners"] = json.dumps(winners, sort_keys=True)
                blamed_winners = [guilty.get(one.evaluate.key, False) for one in won.values()]
                result["violates_bound"] = any(blamed_winners)
            reason = "; ".join(record["notes"])
        result |= self._of_attacks(cell, row.name, shown)
        return result | {"attack": row.name, "status": status, "reason": reason}

    def _of_attacks(self, cell: Cell, name: str, shown: AttackRow) -> dict[str, Any]:
        """Returns the columns about the attacks that a row stands for, where they are known."""
        combined = [shown]
        if shown.name == "ensemble":
            known = shown.evaluate.key in self._states.finished
            numbers = self._record(shown.evaluate.key)["combined"] if known else []
            combined = [cell.candidate(shown, number) for number in numbers]
        pairs = [(one.attack, one.scores) for one in combined if one.attack and one.scores]
        if not pairs:
            return {}
        attacks, jobs = zip(*pairs, strict=True)
        return {
            **_described(name, shown.name, attacks, self._context.grid.models),
            "queries": sum([self._queries(job) for job in jobs]),
            "seconds": sum([job.seconds for job in jobs]),
        }

    def _queries(self, scores: AttackJob) -> int:
        """Returns the queries that were made per model and example; until then, the budget."""
        if scores.key not in self._states.finished:
            return scores.attack.budget
        if scores.key not in self._asked:
            self._asked[scores.key] = int(self._record(scores.key)["queries"])
        return self._asked[scores.key]

    def _record(self, key: str) -> dict[str, Any]:
        record = self._context.store.record(key)
        self._measured[key] = record["measured"]
        return record

    def _status(self, job: Job) -> tuple[str, str]:
        """Returns a job's status and, if it has no result, the first failure it depends on."""
        if job.key in self._states.finished:
            return "done", ""
        failure = self._context.store.failure(job.key)
        if failure is not None:
            return failure.kind, failure.reason
        for parent in job.parents:
            status, reason = self._status(self._plan.jobs[parent])
            if status in ("failed", "not_applicable"):
                return status, reason
        return "missing", "not finished"


@lru_cache(maxsize=1000)
def _described(row: str, shown: str, attacks: tuple[Attack, ...], models: int) -> dict[str, Any]:
    """Returns what a row says of its attacks, whatever the cell: thousands have the same ones."""
    label, fields = attacks[0].label(), attacks[0].to_json()
    if shown == "ensemble":
        label, fields = shown, {"attacks": [attack.label() for attack in attacks]}
    if row == "best":
        fields = {"attack": shown, **fields}
    shadows = [attack.extent.of(models, 1)[0] - 1 for attack in attacks if attack.needs_shadows]
    return {
        "attack_params": json.dumps(fields, sort_keys=True),
        "label": label,
        "access": max(attack.access for attack in attacks).name.lower(),
        "shadows": max(shadows, default=0),
    }


def _prefixed(columns: dict[str, Any]) -> dict[str, Any]:
    """Returns columns of the canary track under their names in the tables."""
    return {f"canary_{name}": value for name, value in columns.items()}


def claim_columns(cell: Cell) -> dict[str, Any]:
    """Returns what a cell's mechanism claims and the bounds that follow from it."""
    mechanism, sampling = cell.mechanism, cell.sampling
    columns: dict[str, Any] = {"steps": sampling.steps, "epsilon": math.inf, "delta": 0.0}
    if mechanism is not None:
        columns |= {
            "delta": mechanism.delta,
        }
    if mechanism is not None and mechanism.clips:
        columns |= {
            "noise_multiplier": mechanism.noise_multiplier,
            "sampling_rate": sampling.rate,
            "max_grad_norm": mechanism.max_grad_norm,
        }
    advantage = 1.0
    if mechanism is not None and mechanism.claim is not None:
        columns["epsilon"] = privacy.epsilon(mechanism.claim, mechanism.delta)
        advantage = privacy.advantage(mechanism.claim)
    bounds = _bounds(columns["epsilon"], columns["delta"])
    return columns | bounds | {"bound_advantage_mechanism": advantage}


@lru_cache(maxsize=1000)
def _bounds(epsilon: float, delta: float) -> dict[str, float]:
    """Returns the bounds that follow from epsilon and delta alone."""
    return {
        "bound_accuracy_half_exp": float(privacy.accuracy_half_exp(epsilon)),
        "bound_advantage_yeom": float(privacy.advantage_yeom(epsilon)),
        "bound_advantage_epsilon": float(privacy.advantage_epsilon(epsilon, delta)),
    }


def _allowed(cell: Cell) -> Allowed:
    """Returns what a cell's claim allows at the prices of `violation`."""
    assert cell.mechanism is not None
    claim, delta = cell.mechanism.claim, cell.mechanism.delta
    # The slope of the curve at an FPR is the price at which that FPR is the best one; the gain at
    # a price is the delta of its logarithm, and holds at any price.
    ends = np.outer(FPRS, (0.99, 1.01))
    rise = np.diff(privacy.trade_off(claim, ends, "remove"), axis=1) / np.diff(ends, axis=1)
    prices = (1.0, *np.maximum(rise[:, 0], 1.0).tolist())
    gains = tuple(privacy.delta(claim, math.log(price)) for price in prices)
    return Allowed(prices, gains, privacy.epsilon(claim, delta), delta)


def _dropped(cell: Cell) -> str:
    """Says why a mechanism claims nothing, if another defense of the cell is the reason."""
    others = cell.defense.claim_dropped_by
    if cell.mechanism is None or cell.mechanism.claim is not None or not others:
        return ""
    return f"no claim: {' and '.join(others)} uses the members in a way no accounting covers"


def _adaptive(cell: Cell) -> list[str]:
    """Returns what the adversary did that knows the defense; nothing where all rows are static."""
    rows = [row for row in cell.rows if row.knowledge == "adaptive" and row.attack]
    done = ["shadows"] if any(row.attack and row.attack.needs_shadows for row in rows) else []
    if any(row.scores and row.scores.target.informed for row in rows):
        repeats = cell.defense.repeats
        done.append(f"undo after {repeats} queries" if repeats > 1 else "undo")
    fitting = expand_attacks(cell.defense.adaptive_attacks, where=cell.defense.label)
    return done + sorted({attack.name for attack in fitting})


def _params(cell: Cell) -> str:
    parts = [part.to_json() for part in cell.defense.parts]
    return json.dumps(parts[0] if len(parts) == 1 else parts, sort_keys=True)


def _train_seconds(cell: Cell, seen: set[str]) -> float:
    """Nominal cost of the trainings that no cell above needed; a mask alone costs nothing."""
    new = [train for train in cell.trains if train.key not in seen]
    seen.update(train.key for train in new)
    return sum(train.seconds for train in new)


def write_tables(tables: TableBuilder, out: Path) -> dict[str, pd.DataFrame]:
    """Writes cells and attacks as parquet and CSV, and the timings as CSV; returns the frames."""
    frames = {"cells": tables.cells(), "attacks": tables.attacks()}
    for name, frame in frames.items():
        replace_file(out / f"{name}.parquet", partial(_write_parquet, frame))
        replace_file(out / f"{name}.csv", partial(_write_csv, frame))
    timings = tables.timings()
    replace_file(out / "timings.csv", partial(_write_csv, timings))
    return frames


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(path, index=False)


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    # The same text, and in less time than columns of floats take.
    frame.astype(object).to_csv(path, index=False)
