"""What the report reads: a finished run's tables, cleaned and put into one fixed order."""

import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from dpbench.arrays import Bools as Bools
from dpbench.arrays import Floats as Floats
from dpbench.metrics.shadow_rates import shadow_columns
from dpbench.metrics.strength import FPRS
from dpbench.report.winners import ENSEMBLE, AttackVariant, ids_by_metric, labels_of_ids

Row = Mapping[str, Any]
"""One row of a table: column name to value."""

CELL_TEXT = (
    "cell", "dataset", "model", "defense", "params", "status", "reason", "key", "adaptive",
    "canary_kind",
)  # fmt: skip
CELL_NUMBERS = (
    "test_accuracy",
    "test_accuracy_low",
    "test_accuracy_high",
    "train_accuracy",
    "n_models",
    "n_pool",
    "epsilon",
    "delta",
    "bound_accuracy_half_exp",
    "bound_advantage_yeom",
    "bound_advantage_epsilon",
    "bound_advantage_mechanism",
    "canary_test_accuracy",
    "canary_test_accuracy_low",
    "canary_test_accuracy_high",
    "canary_epsilon",
    "canary_bound_advantage_mechanism",
)
ATTACK_TEXT = (
    "cell", "attack", "attack_params", "access", "knowledge", "status", "reason", "canary_attack",
    "canary_status", "winners", "canary_winners",
)  # fmt: skip
MEASURES = ("advantage", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001")
RATES = (*MEASURES, *(f"canary_{name}" for name in MEASURES))
ATTACK_NUMBERS = tuple(rate + end for rate in RATES for end in ("", "_low", "_high"))
SHADOW_NUMBERS = tuple(column for fpr in FPRS for column in shadow_columns(fpr))
"""Columns of attackers whose threshold never saw the target."""
WINNERS = tuple(f"{rate}_attack" for rate in RATES)
"""Columns of the attack behind each number of a `best` row: every metric has its own winner."""


class Results(Protocol):
    """A finished run, as the report needs it.

    Attributes:
        cells: One row per cell.
        attacks: One row per (cell, attack, attack_params, knowledge), and the rows whose attack is
            `best`; their `attack_params` are the chosen attack's, with its name under "attack".
        name: The grid's name.
        command: The command that makes the run again.
        key: Hexadecimal key of the run.
        document: The grid as it was run, with every default and seed, as YAML.
    """

    @property
    def cells(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def attacks(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def command(self) -> str: ...  # noqa: D102
    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def document(self) -> str: ...  # noqa: D102

    def scores(
        self,
        cell: str,
        attack: str,
        knowledge: str = "adaptive",
        params: str | None = None,
        *,
        track: str = "average",
    ) -> tuple[Floats, Bools]:
        """Returns membership scores and bits, each `(M, n)`; `params` is the row's JSON text."""

    def trade_off(self, cell: str, fpr: Floats, *, track: str = "average") -> Floats | None:
        """Returns the largest TPR the mechanism allows at each FPR, or None without a claim.

        Each track has a limit of its own: it trains on another number of members.
        """


@dataclass(frozen=True)
class Tables:
    """The tables of a run with every contract column present, numbers numeric, rows in order.

    Attributes:
        cells: One row per cell by family, weakest strength last for mechanisms. Adds `strength`,
            the value that the family sweeps, as text.
        attacks: The rows of single attacks. Adds `label`, unique per (attack, attack_params), and
            `compared`, which is not set where the attacker holds the weights behind a mask.
        best: The `best` rows that are done, at most one per cell and knowledge. Adds, for every
            rate, the label of the attack whose rate it is (`WINNERS`), where it is known.
    """

    cells: pd.DataFrame
    attacks: pd.DataFrame
    best: pd.DataFrame

    @property
    def points(self) -> pd.DataFrame:
        """Done cells beside their best adaptive attack; numbers are NaN where there is none.

        Adds `violates_bound`, which is set when any attack on the cell violates its bound.
        """
        adaptive = self.best[self.best["knowledge"] == "adaptive"]
        rows = pd.concat([self.attacks, self.best])
        violating = rows.loc[rows["violates_bound"].astype(bool), "cell"]
        done = self.cells[self.cells["status"] == "done"]
        points = done.merge(adaptive[["cell", *WINNERS, *ATTACK_NUMBERS]], on="cell", how="left")
        return points.assign(violates_bound=points["cell"].isin(violating))

    @property
    def canaries(self) -> str:
        """The kind of canary of the run's canary track, empty where it has none."""
        kinds = self.cells.loc[self.cells["canary_kind"] != "", "canary_kind"]
        return "" if kinds.empty else str(kinds.iloc[0])

    @property
    def families(self) -> list[str]:
        """Defense families: undefended first, then `dp_sgd`, then the others by name."""
        return sorted(self.cells["defense"].unique(), key=_family_order)


def tables(results: Results) -> Tables:
    """Reads a run's tables; a missing column becomes empty, a missing row stays missing."""
    cells = _typed(results.cells, text=CELL_TEXT, numbers=CELL_NUMBERS)
    cells["epsilon"] = cells["epsilon"].fillna(math.inf)
    cells = _in_order(cells.drop_duplicates("cell", keep="last"))
    attacks = _typed(results.attacks, text=ATTACK_TEXT, numbers=(*ATTACK_NUMBERS, *SHADOW_NUMBERS))
    attacks["violates_bound"] = _flags(results.attacks)
    attacks = attacks[attacks["cell"].isin(cells["cell"])]
    is_best = attacks["attack"] == "best"
    best = attacks[is_best & (attacks["status"] == "done")]
    best = best.drop_duplicates(["cell", "knowledge"], keep="last")
    single = _labelled(attacks[~is_best])
    single["compared"] = np.array(_compared(single), dtype=bool)
    return Tables(cells, single, _with_winners(best, single))


def records(frame: pd.DataFrame) -> list[Row]:
    """Returns the rows of a table, in order."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def strongest(
    run: Tables, cell: str, *, knowledge: str = "adaptive", track: str = "average"
) -> Row | None:
    """Returns the row of the attack with the best advantage: the chosen one, else the largest.

    The largest of many advantages is biased upward: use it to choose a curve, not as a number.
    """
    advantage = prefix(track) + "advantage"
    rows = run.attacks[
        (run.attacks["cell"] == cell)
        & (run.attacks["knowledge"] == knowledge)
        & ((run.attacks["status"] == "done") | (track == "canary"))
        & run.attacks[advantage].notna()
        & run.attacks["compared"]
    ]
    best = run.best[(run.best["cell"] == cell) & (run.best["knowledge"] == knowledge)]
    named = rows[rows["label"].isin(best[f"{advantage}_attack"])]
    chosen = records(rows if named.empty else named)
    return max(chosen, key=lambda row: float(row[advantage]), default=None)


def prefix(track: str) -> str:
    """Returns what the names of a track's columns begin with."""
    return "canary_" if track == "canary" else ""


def upper_limits(run: Tables, rate: str) -> "pd.Series[float]":
    """Returns the highest upper limit of any attack on each cell that is compared there.

    The best attack's own limit is not enough to call a cell private: one that found less may be
    known less well.
    """
    rows = pd.concat([run.attacks[run.attacks["compared"]], run.best])
    limits = rows[f"{rate}_high"].fillna(rows[rate]).groupby(rows["cell"]).max()
    return limits.reindex(run.cells["cell"])


def _typed(frame: pd.DataFrame, *, text: tuple[str, ...], numbers: tuple[str, ...]) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name in text:
        given = frame[name] if name in frame else pd.Series("", index=frame.index)
        columns[name] = [str(value) if isinstance(value, str) else "" for value in given]
    for name in numbers:
        given = frame[name] if name in frame else pd.Series(math.nan, index=frame.index)
        columns[name] = pd.to_numeric(given, errors="coerce").to_numpy(
            dtype=float, na_value=math.nan
        )
    return pd.DataFrame(columns).astype(dict.fromkeys(text, object))


def _flags(frame: pd.DataFrame) -> list[bool]:
    """A nullable flag is set only when it says so, on either track."""
    flags = [False] * len(frame)
    for name in ("violates_bound", "canary_violates_bound"):
        given = frame.get(name, pd.Series(False, index=frame.index))
        said = [isinstance(value, bool | np.bool_) and bool(value) for value in given]
        flags = [one or other for one, other in zip(flags, said, strict=True)]
    return flags


def _in_order(cells: pd.DataFrame) -> pd.DataFrame:
    parts = [_swept(rows) for _, rows in cells.groupby("defense", sort=False)]
    if not parts:
        return cells.assign(strength=pd.Series(dtype=object))
    parts.sort(key=lambda rows: _family_order(rows["defense"].iloc[0]))
    return pd.concat(parts, ignore_index=True)


def _swept(rows: pd.DataFrame) -> pd.DataFrame:
    """Sorts a family by what it sweeps and names each member's strength."""
    if np.isfinite(rows["epsilon"]).any():
        rows = rows.sort_values("epsilon", kind="stable")
        return rows.assign(strength=[f"ε={epsilon_text(value)}" for value in rows["epsilon"]])
    params = [_flat(_loads(text)) for text in rows["params"]]
    varying = _varying(params)
    if len(varying) == 1:
        values = [one.get(varying[0]) for one in params]
        if all(isinstance(value, int | float) for value in values):
            order = np.argsort(np.asarray(values, dtype=float), kind="stable")
            strength = [f"{value:g}" for value in values if value is not None]
            return rows.assign(strength=strength).iloc[order]
    strengths = [
        ", ".join(_shown(name, one[name]) for name in varying if one.get(name) is not None)
        for one in params
    ]
    return rows.assign(strength=strengths)


def _labelled(attacks: pd.DataFrame) -> pd.DataFrame:
    """Adds labels: the attack's name, with the parameters that tell its variants apart."""
    labels: dict[tuple[Hashable, str], str] = {}
    for name, rows in attacks.groupby("attack", sort=False):
        variants = list(dict.fromkeys(rows["attack_params"]))
        params = [_flat(_loads(text)) for text in variants]
        varying = _varying(params)
        for text, one in zip(variants, params, strict=True):
            shown = ", ".join(_shown(key, one.get(key)) for key in varying)
            # What an ensemble combines is a result, other on every cell, and no variant of it.
            variant = shown and name != ENSEMBLE
            labels[name, text] = f"{name} ({shown})" if variant else str(name)
    pairs = zip(attacks["attack"], attacks["attack_params"], strict=True)
    return attacks.assign(label=[labels[pair] for pair in pairs])


def _compared(single: pd.DataFrame) -> list[bool]:
    """Tells which rows say something of their cell's defense.

    No mask is meant against an attacker who holds the weights. The tables do not say what a cell
    masks, but the ensemble of an unmasked cell holds the weights wherever another attack does.
    """
    ensembles = single[(single["attack"] == ENSEMBLE) & (single["status"] == "done")]
    open_cells = set(ensembles.loc[ensembles["access"] == "white_box", "cell"])
    masked = set(ensembles["cell"]) - open_cells
    pairs = zip(single["access"], single["cell"], strict=True)
    return [access != "white_box" or cell not in masked for access, cell in pairs]


def _with_winners(best: pd.DataFrame, single: pd.DataFrame) -> pd.DataFrame:
    """Adds the labels of the attacks behind the numbers of `best` rows."""
    pairs = zip(single["attack"], single["attack_params"], single["label"], strict=True)
    variants = [
        AttackVariant(name, fields if isinstance(fields := _loads(params), dict) else {}, label)
        for name, params, label in dict.fromkeys(pairs)
    ]
    chosen = [_ids(row) for row in records(best)]
    combined = [
        one
        for params in dict.fromkeys(single.loc[single["attack"] == ENSEMBLE, "attack_params"])
        for one in _loads(params).get("attacks", [])
    ]
    labels = labels_of_ids([*combined, *(one for ids in chosen for one in ids.values())], variants)
    exact = {(one.name, _canonical(one.fields)): one.label for one in variants}
    columns: dict[str, list[str]] = {name: [] for name in WINNERS}
    for row, ids in zip(records(best), chosen, strict=True):
        named = _named(row, exact)
        for rate, column in zip(RATES, WINNERS, strict=True):
            # Tables of earlier versions name one attack for all metrics of a track.
            old = "" if rate.startswith("canary_") else named
            columns[column].append(labels[ids[rate]] if rate in ids else old)
    return best.assign(**columns)


def _ids(best: Row) -> dict[str, str]:
    """Returns the ids that a `best` row names, by rate."""
    canary = {name: best["canary_attack"] for name in MEASURES if best["canary_attack"]}
    canary |= ids_by_metric(best["canary_winners"])
    found = ids_by_metric(best["winners"]) | {f"canary_{name}": one for name, one in canary.items()}
    return {rate: found[rate] for rate in RATES if rate in found}


def _named(best: Row, labels: Mapping[tuple[str, str], str]) -> str:
    """Returns the label of the attack in a `best` row's parameters, or at least its name."""
    chosen = _loads(best["attack_params"])
    if not isinstance(chosen, dict) or "attack" not in chosen:
        return ""
    name = str(chosen.pop("attack"))
    return labels.get((name, _canonical(chosen)), name)


def _canonical(params: Any) -> str:
    return json.dumps(params, sort_keys=True)


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}


def _flat(params: Any, prefix: str = "") -> dict[str, Any]:
    """Flattens nested parameters: `[{"a": 1}, {"b": 2}]` becomes `{"0.a": 1, "1.b": 2}`."""
    if isinstance(params, list):
        params = {str(index): value for index, value in enumerate(params)}
    if not isinstance(params, dict):
        return {prefix: params}
    flat: dict[str, Any] = {}
    for key, value in params.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _varying(params: list[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for one in params for name in one)
    return [name for name in names if len({repr(one.get(name)) for one in params}) > 1]


def _shown(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    number = (
        f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else value
    )
    return f"{name.rsplit('.', 1)[-1]}={number}"


def _family_order(family: str) -> tuple[int, str]:
    first = {"none": 0, "dp_sgd": 1}
    return first.get(family, 1 if family.startswith("dp_sgd+") else 2), family


def epsilon_text(epsilon: float) -> str:
    """Returns epsilon as it is written on figures and in tables."""
    if math.isinf(epsilon):
        return "∞"
    return f"{epsilon:.0f}" if epsilon >= 1000 else f"{epsilon:.3g}"
