"""A run with a known truth: every attack on every cell is a Gaussian shift of known size."""

import dataclasses
import json
import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.stats import norm

EPSILON_OF_MU = {0.5: 0.15, 1.0: 0.28, 2.0: 0.5, 4.0: 0.92, 8.0: 1.65, 16.0: 2.9, 32.0: 4.9}
ATTACKS = (
    ("gap", {}, "label", 0.35),
    ("malt", {}, "score", 0.6),
    ("mast", {"variance": "pooled"}, "score", 0.8),
    ("lira", {"mode": "online", "variance": "per_example"}, "score", 1.0),
    ("lira", {"mode": "online", "variance": "pooled"}, "score", 0.97),
    ("lira", {"mode": "offline", "variance": "pooled"}, "score", 0.85),
    ("rmia", {"gamma": 2.0}, "score", 0.95),
    ("noise_robustness", {"queries": 100}, "label", 0.5),
)


@dataclass
class SimulatedRun:
    """Implements `Results`; scores are drawn when they are asked for."""

    cells: pd.DataFrame
    attacks: pd.DataFrame
    shift: dict[tuple[str, str, str, str], float] = field(default_factory=dict)
    mechanism: dict[str, float] = field(default_factory=dict)
    models: int = 16
    pool: int = 2000
    name: str = "default"
    command: str = "dpbench run grids/default.yaml --out results/default -j 2"
    key: str = "9f3c1a7be0d24c55a1b2c3d4e5f60718"

    document: str = "name: default\nseed: 0\n"

    def scores(self, cell, attack, knowledge="adaptive", params=None, *, track="average"):
        rng = np.random.default_rng(abs(hash_of(cell, attack, knowledge, params)))
        members = rng.random((self.models, self.pool)) < 0.5
        shift = self.shift[cell, attack, params, knowledge]
        return rng.normal(size=members.shape) + shift * members, members

    def trade_off(self, cell, fpr, *, track="average"):
        if cell not in self.mechanism:
            return None
        return norm.cdf(norm.ppf(fpr) + self.mechanism[cell])


def hash_of(*parts):
    return sum((i + 1) * ord(c) for i, c in enumerate("|".join(map(str, parts))))


def cell_row(cell, defense, params, accuracy, *, epsilon=math.inf, status="done", reason=""):
    """Returns a row with the contract's columns; `accuracy` is NaN for a cell that failed."""
    mu = EPSILON_OF_MU.get(epsilon)
    bounded = math.isfinite(epsilon)
    exp = math.exp(epsilon) if bounded else math.inf
    return {
        "cell": cell,
        "dataset": "fashion_mnist",
        "model": "mlp",
        "defense": defense,
        "params": json.dumps(params),
        "n_models": 16,
        "n_pool": 2000,
        "train_accuracy": min(1.0, accuracy + 0.1),
        "test_accuracy": accuracy,
        "test_accuracy_low": accuracy - 0.004,
        "test_accuracy_high": accuracy + 0.004,
        "epsilon": epsilon,
        "delta": 1e-5 if defense.startswith("dp_sgd") else math.nan,
        "bound_accuracy_half_exp": min(1.0, exp / 2),
        "bound_advantage_yeom": min(1.0, exp - 1),
        "bound_advantage_epsilon": min(1.0, (exp - 1 + 2e-5) / (exp + 1)) if bounded else 1.0,
        "bound_advantage_mechanism": 2 * norm.cdf(mu / 2) - 1 if bounded else 1.0,
        "status": status,
        "reason": reason,
        "key": f"{hash_of(cell):032x}",
    }


def simulated_cells():
    """Returns (cell rows, true shift of the strongest adaptive attack by cell)."""
    rows = [cell_row("none", "none", {}, 0.823)]
    shift = {"none": 0.95}
    accuracies = (0.601, 0.672, 0.722, 0.757, 0.779, 0.792, 0.801, 0.811)
    for (epsilon, mu), accuracy in zip(
        (EPSILON_OF_MU | {math.inf: 1.6}).items(), accuracies, strict=True
    ):
        cell = f"dp_sgd(epsilon={epsilon:g})"
        params = {"epsilon": epsilon, "delta": 1e-5, "max_grad_norm": 1.0}
        rows.append(cell_row(cell, "dp_sgd", params, accuracy, epsilon=epsilon))
        shift[cell] = min(0.25 * mu, 0.62) if math.isfinite(epsilon) else 0.8
    for decay, accuracy, size in ((1e-3, 0.826, 0.9), (1e-2, 0.816, 0.5), (3e-2, 0.786, 0.3)):
        cell = f"l2(weight_decay={decay:g})"
        rows.append(cell_row(cell, "l2", {"weight_decay": decay}, accuracy))
        shift[cell] = size
    for epochs, accuracy, size in (
        (1, 0.69, 0.06),
        (2, 0.741, 0.12),
        (5, 0.792, 0.3),
        (10, 0.815, 0.6),
    ):
        cell = f"early_stopping(epochs={epochs})"
        rows.append(cell_row(cell, "early_stopping", {"epochs": epochs}, accuracy))
        shift[cell] = size
    for cell, defense, params, size in (
        ("label_only", "label_only", {}, 0.55),
        ("top_k(k=3)", "top_k", {"k": 3}, 0.93),
        ("temperature(t=20)", "temperature", {"t": 20.0}, 0.95),
        ("hamp", "hamp", {"gamma": 0.9}, 0.7),
        ("l2(weight_decay=0.01)+label_only", "l2+label_only", [{"weight_decay": 0.01}, {}], 0.3),
    ):
        accuracy = 0.816 if "l2" in cell else 0.806 if cell == "hamp" else 0.823
        rows.append(cell_row(cell, defense, params, accuracy))
        shift[cell] = size
    reason = "model 3 diverged: weight 'fc1' is not finite after step 412"
    rows.append(cell_row("selena", "selena", {}, math.nan, status="failed", reason=reason))
    return rows, shift


SMALL = (
    *("none", "dp_sgd(epsilon=0.5)", "dp_sgd(epsilon=4)", "dp_sgd(epsilon=inf)"),
    *("l2(weight_decay=0.01)", "hamp", "label_only", "selena"),
)
MASKED = ("label_only", "top_k", "temperature", "hamp", "l2+label_only")


def attack_row(cell, attack, params, *, shift, knowledge="adaptive", access="score", noise=0.0):
    """Returns a done row: rates of a Gaussian shift, with the intervals of about 16 models."""
    advantage = 2 * norm.cdf(shift / 2) - 1 + noise
    row = {
        "cell": cell,
        "attack": attack,
        "attack_params": params,
        "access": access,
        "knowledge": knowledge,
        "advantage": advantage,
        "advantage_low": advantage - 0.006,
        "advantage_high": advantage + 0.006,
        "violates_bound": False,
        "status": "done",
        "reason": "",
    }
    for fpr in (0.01, 0.001):
        tpr = float(norm.cdf(norm.ppf(fpr) + shift))
        row |= {f"tpr_at_fpr_{fpr:g}": tpr}
        row |= {f"tpr_at_fpr_{fpr:g}_low": 0.85 * tpr, f"tpr_at_fpr_{fpr:g}_high": 1.18 * tpr}
    return row


def simulated_run():
    """Returns the run that most tests read: 22 cells, 8 attacks, both kinds of knowledge."""
    cells, shifts = simulated_cells()
    rows, shift = [], {}
    rng = np.random.default_rng(5)
    defense_of = {row["cell"]: row["defense"] for row in cells}
    for cell, size in shifts.items():
        for knowledge in ("adaptive", "static"):
            blind = knowledge == "static" and defense_of[cell] in MASKED
            for attack, params, access, power in ATTACKS:
                text = json.dumps(params)
                if access == "score" and "label_only" in cell:
                    row = attack_row(cell, attack, text, shift=math.nan, knowledge=knowledge)
                    reason = "the cell releases labels only"
                    rows.append(row | {"status": "not_applicable", "reason": reason})
                    continue
                value = size * power * (0.08 if blind and access == "score" else 1.0)
                value *= 0.9 if knowledge == "static" else 1.0
                shift[cell, attack, text, knowledge] = value
                row = attack_row(
                    cell, attack, text, shift=value, knowledge=knowledge, access=access,
                    noise=rng.normal(scale=0.002),
                )  # fmt: skip
                rows.append(row)
            done = [r for r in rows if r["cell"] == cell and r["status"] == "done"]
            best = max(
                (r for r in done if r["knowledge"] == knowledge), key=lambda r: r["advantage"]
            )
            chosen = {"attack": best["attack"], **json.loads(best["attack_params"])}
            rows.append(best | {"attack": "best", "attack_params": json.dumps(chosen)})
    mechanism = {f"dp_sgd(epsilon={epsilon:g})": mu for epsilon, mu in EPSILON_OF_MU.items()}
    return SimulatedRun(pd.DataFrame(cells), pd.DataFrame(rows), shift, mechanism)


def part_of_the_run(cells=SMALL, attacks=("gap", "lira", "best")):
    """Returns the simulated run with some of its cells and attacks."""
    run = simulated_run()
    run.cells = run.cells[run.cells["cell"].isin(cells)].copy()
    kept = run.attacks["cell"].isin(cells) & run.attacks["attack"].isin(attacks)
    run.attacks = run.attacks[kept].copy()
    return run


def _chosen(row):
    """The id of what a `best` row found strongest: its name and the fields off their defaults."""
    if row["attack"] != "best" or row["status"] != "done":
        return ""
    chosen = json.loads(row["attack_params"])
    shown = {"lira": ("mode", "variance")}.get(chosen["attack"], ())
    fields = [f"{name}={chosen[name]}" for name in shown]
    return f"{chosen['attack']}({', '.join(fields)})" if fields else chosen["attack"]


def with_canaries(run):
    """Returns the run with a canary track on which every attack works twice as well."""
    cells = run.cells.assign(
        canary_kind="mislabelled",
        **{
            f"canary_test_accuracy{end}": run.cells[f"test_accuracy{end}"] - 0.01
            for end in ("", "_low", "_high")
        },
        canary_bound_advantage_mechanism=run.cells["bound_advantage_mechanism"],
    )
    ends = ("", "_low", "_high")
    attacks = run.attacks.assign(
        canary_violates_bound=False,
        canary_attack=[_chosen(row) for row in run.attacks.to_dict("records")],
        **{
            f"canary_{name}{end}": (2 * run.attacks[f"{name}{end}"]).clip(upper=1.0)
            for name in ("advantage", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001")
            for end in ends
        },
    )
    return dataclasses.replace(run, cells=cells, attacks=attacks)
